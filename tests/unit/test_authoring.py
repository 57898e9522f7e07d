"""What contracts and scenarios are written with, and what is refused where it is declared."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from trivet.authoring.contracts import MUST, contract
from trivet.authoring.scenarios import remedied, scenario, symptom_observed, unprotected
from trivet.errors import DeclarationError
from trivet.model.clients import CLIENTS, declare_client
from trivet.model.fault import SERVING, AffectedObject, Fault, Verb
from trivet.model.feature import FEATURES, declare_feature
from trivet.model.finding import Finding, evidence, passed
from trivet.model.scenario import Budgets, Case, Claim, Verdict, Workload
from trivet.toolkit.faults import stopped

SOUND: dict[str, Any] = {"title": "t", "level": MUST, "seam": ("mlflow", "kserve"), "rationale": "r", "remedy": "m"}


def yields(manifest: object) -> Iterator[Finding]:
    yield passed("")


def refused(declare: Callable[[], object]) -> str:
    """The error by which a declaration is refused. It names this file."""
    with pytest.raises(DeclarationError) as caught:
        declare()
    assert "test_authoring.py:" in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


def test_an_id_is_module_dot_function() -> None:
    @contract(**SOUND)
    def something_holds(manifest: object) -> Iterator[Finding]:
        yield passed("")

    assert something_holds.id == "test_authoring.something_holds"
    assert something_holds.subject == "manifest"
    assert something_holds.static


def test_a_check_over_a_file_and_a_client_is_not_static() -> None:
    @contract(**SOUND)
    def mixed(manifest: object, serving: object) -> Iterator[Finding]:
        yield passed("")

    assert not mixed.static


def test_a_check_over_a_file_that_needs_a_feature_is_not_static() -> None:
    assert not contract(**SOUND, features=("Knative",))(yields).static


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"title": ""}, "title is ''"),
        ({"rationale": None}, "rationale is None"),
        ({"remedy": "  "}, "remedy is '  '"),
        ({"since": 0.1}, "since is 0.1"),
        ({"level": "must"}, "unknown level 'must'\n  remedy: did you mean 'MUST'?"),
        ({"level": "MUST"}, "level is the string 'MUST'\n  remedy: write MUST of trivet.authoring, without quotes"),
        ({"seam": ("mlflow", "kserv")}, "unknown component of a seam 'kserv'\n  remedy: did you mean 'kserve'?"),
        ({"seam": ("mlflow",)}, "seam is ('mlflow',)"),
        ({"seam": "mlflow"}, "seam is 'mlflow'"),
        ({"versions": {"mlflow": "2.x"}}, "the versions of mlflow are '2.x', which is not a version specifier"),
        ({"versions": {"mlflow": "2.12"}}, "the versions of mlflow are '2.12'"),
        ({"versions": {"mlflow": ""}}, "the versions of mlflow are ''"),
        ({"versions": {"mlflow": 2}}, "the versions of mlflow are 2"),
        ({"versions": {"mlfow": ">=2"}}, "unknown component 'mlfow'\n  remedy: did you mean 'mlflow'?"),
        ({"versions": ">=2"}, "versions is '>=2'"),
        ({"features": ("ScaleToZer",)}, "unknown feature 'ScaleToZer'\n  remedy: did you mean 'ScaleToZero'?"),
        ({"features": "Knative"}, "features is 'Knative'"),
        ({"sources": "MLflow's source"}, 'sources is "MLflow\'s source"'),
        ({"sources": ("",)}, "sources holds ''"),
    ],
)
def test_a_contract_is_refused_with_the_value_and_what_is_allowed(wrong: dict[str, Any], words: str) -> None:
    message = refused(lambda: contract(**SOUND | wrong)(yields))
    assert message.startswith("contract test_authoring.yields (")
    assert words in message


def two_files(manifest: object, model_directory: object) -> Iterator[Finding]:
    yield passed("")


def misspelt(manfest: object) -> Iterator[Finding]:
    yield passed("")


def of_a_scenario(variant: str) -> Iterator[Finding]:
    yield passed("")


def nameless(*clients: object) -> Iterator[Finding]:
    yield passed("")


def returns_one(manifest: object) -> Finding:
    return passed("")


def returns_none(manifest: object) -> None:
    passed("")


async def waits(manifest: object) -> None:
    passed("")


async def waits_and_yields(manifest: object) -> AsyncIterator[Finding]:
    yield passed("")


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (
            two_files,
            "it reads more than one of manifest, resource, model_directory, compiled_pipeline: manifest, model_directory",
        ),
        (misspelt, "unknown parameter 'manfest'\n  remedy: did you mean 'manifest'? choose one of: manifest, "),
        (of_a_scenario, "unknown parameter 'variant'"),
        (nameless, "its parameter '*clients' has no name to be given by"),
        (returns_one, "the check is annotated to return Finding\n  remedy: yield findings: write `yield passed(…)`"),
        (returns_none, "the check is annotated to return None"),
        (waits, "the check is asynchronous"),
        (waits_and_yields, "the check is asynchronous"),
        (passed, None),
        (len, "@contract decorates <built-in function len>"),
        (contract(**SOUND)(yields), "@contract decorates Contract("),
    ],
)
def test_a_check_that_cannot_run_is_refused_when_it_is_declared(check: Any, words: str | None) -> None:
    if words is None:
        with pytest.raises(DeclarationError, match="unknown parameter 'message'"):
            contract(**SOUND)(check)
    else:
        assert words in refused(lambda: contract(**SOUND)(check))


def test_a_parameter_may_be_a_client_that_was_declared_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CLIENTS, "_names", dict(CLIENTS))

    def asks(price_list: object) -> Iterator[Finding]:
        yield passed("")

    assert "declare_client" in refused(lambda: contract(**SOUND)(asks))
    declare_client("price_list", "values of features")
    declare_client("price_list", "values of features")
    assert contract(**SOUND)(asks).clients == ("price_list",)


@pytest.mark.parametrize(
    ("name", "meaning", "words"),
    [
        ("serving", "something else", "client 'serving' (.*): it is declared already, and means: the deployed model"),
        ("manifest", "m", "client 'manifest' (.*): that name cannot be used"),
        ("variant", "m", "that name cannot be used"),
        ("feature-store", "m", "that name cannot be used"),
        ("price_list", "", "meaning is ''"),
    ],
)
def test_a_client_is_declared_once_and_under_a_name_that_a_parameter_can_have(
    monkeypatch: pytest.MonkeyPatch, name: str, meaning: str, words: str
) -> None:
    monkeypatch.setattr(CLIENTS, "_names", dict(CLIENTS))
    assert re.search(words.replace("(.*)", r"\(.*\)"), refused(lambda: declare_client(name, meaning)))
    assert dict(CLIENTS) == CLIENTS._names


def test_a_feature_may_be_one_that_was_declared_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FEATURES, "_names", dict(FEATURES))
    declare_feature("Gpu", "a node has a GPU")
    assert contract(**SOUND, features=["Gpu"])(yields).features == ("Gpu",)
    assert "it is declared already" in refused(lambda: declare_feature("Gpu", "no node has a GPU"))


# scenarios

OBJECT = AffectedObject(verb=Verb.PATCH, kind="deployment", name="features", namespace=SERVING)
BARE, MENDED = unprotected("bare", "as it is"), remedied("mended", "with a remedy")
INCIDENT: dict[str, Any] = {
    "title": "t",
    "happens": "h",
    "recognise": "r",
    "remedy": "m",
    "variants": [BARE],
    "affected_objects": [OBJECT],
}
FAULT = Fault(name="f", affected_objects=(OBJECT,), inject=lambda injector: None, verify_injected=lambda injector: "")


def stage(variant: str, cluster: object) -> Iterator[Case]:
    yield Case(fault=FAULT, steady_state=lambda: "", symptom=lambda watch: symptom_observed("it hurts"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"title": ""}, "title is ''"),
        ({"happens": None}, "happens is None"),
        ({"recognise": ""}, "recognise is ''"),
        ({"remedy": 3}, "remedy is 3"),
        ({"variants": []}, "its variants are empty"),
        ({"variants": [MENDED]}, "give it at least one without a remedy"),
        ({"variants": [BARE, BARE]}, "each a name of its own"),
        ({"variants": ["bare"]}, "variants holds 'bare'"),
        ({"affected_objects": OBJECT}, "affected_objects is AffectedObject("),
        ({"affected_objects": ["deployment"]}, "affected_objects holds 'deployment'"),
        ({"budgets": 30}, "budgets is 30"),
        ({"claims": ["x"]}, "claims holds 'x'"),
        (
            {"claims": [Claim(text="t", holds=True, found="f", variants=("bear",))]},
            "unknown variant in a claim 'bear'\n  remedy: did you mean 'bare'?",
        ),
        ({"features": ["ScaleToZer"]}, "unknown feature 'ScaleToZer'\n  remedy: did you mean 'ScaleToZero'?"),
        ({"sources": "KServe"}, "sources is 'KServe'"),
    ],
)
def test_a_scenario_is_refused_with_the_value_and_what_is_allowed(wrong: dict[str, Any], words: str) -> None:
    message = refused(lambda: scenario(**INCIDENT | wrong)(stage))
    assert message.startswith("scenario test_authoring.stage (")
    assert words in message


def misspelt_stage(clustr: object) -> Iterator[Case]:
    yield from ()


def static_stage(manifest: object) -> Iterator[Case]:
    yield from ()


def returning_stage(variant: str) -> Iterator[Case]:
    return iter(())


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (misspelt_stage, "unknown parameter 'clustr'\n  remedy: did you mean 'cluster'?"),
        (static_stage, "unknown parameter 'manifest'"),
        (returning_stage, "it is not a generator function"),
        (3, "@scenario decorates 3"),
    ],
)
def test_a_stage_that_cannot_be_played_is_refused_when_it_is_declared(function: Any, words: str) -> None:
    assert words in refused(lambda: scenario(**INCIDENT)(function))


def test_a_sound_scenario_is_accepted() -> None:
    claims = [Claim(text="t", holds=True, found="f", variants=("bare",))]
    made = scenario(**INCIDENT, claims=claims, features=["Knative"], budgets=Budgets(symptom=1))(stage)
    assert (made.clients, made.features) == (("cluster",), ("Knative",))


CASE: dict[str, Any] = {"fault": FAULT, "steady_state": lambda: "", "symptom": lambda watch: None}


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: AffectedObject(verb="patch", kind="k", name="n", namespace=SERVING), "verb is 'patch'"),  # type: ignore[arg-type]
        (lambda: AffectedObject(verb=Verb.PATCH, kind="", name="n", namespace=SERVING), "kind is ''"),
        (lambda: AffectedObject(verb=Verb.PATCH, kind="k", name="", namespace=SERVING), "name is ''"),
        (
            lambda: AffectedObject(verb=Verb.PATCH, kind="k", name="n", namespace="kube-system"),
            "unknown role of a namespace 'kube-system'\n  remedy: choose one of: pipelines, serving, platform",
        ),
        (lambda: AffectedObject(verb=Verb.PATCH, kind="k", name="n", namespace=SERVING, count=0), "count is 0"),
        (lambda: stopped("features", namespace="servng"), "did you mean 'serving'?"),
        (lambda: replace(FAULT, name=""), "name is ''"),
        (lambda: replace(FAULT, affected_objects=("deployment",)), "affected_objects holds 'deployment'"),  # type: ignore[arg-type]
        (lambda: replace(FAULT, inject=None), "inject is None"),  # type: ignore[arg-type]
        (lambda: replace(FAULT, verify_injected="yes"), "verify_injected is 'yes'"),  # type: ignore[arg-type]
        (lambda: replace(FAULT, budget=0), "budget is 0"),
        (lambda: Budgets(steady_state=0), "steady_state is 0"),
        (lambda: Budgets(symptom=-1), "symptom is -1"),
        (lambda: Budgets(recovery="60"), "recovery is '60'"),  # type: ignore[arg-type]
        (lambda: Budgets(recovery=float("nan")), "recovery is nan"),
        (lambda: Workload(service="", request={}), "service is ''"),
        (lambda: Workload(service="s", request="{}"), "request is '{}'"),  # type: ignore[arg-type]
        (lambda: Workload(service="s", request={}, rate=0), "rate is 0"),
        (lambda: Workload(service="s", request={}, client_timeout=-5), "client_timeout is -5"),
        (lambda: Workload(service="s", request={}, models={"one": 1}), "the values of the model 'one' are 1"),  # type: ignore[dict-item]
        (lambda: Workload(service="s", request={}, models={"one": []}), "the values of the model 'one' are []"),
        (lambda: unprotected("Two Replicas", "t"), "name is 'Two Replicas'"),
        (lambda: unprotected("bare", ""), "text is ''"),
        (lambda: unprotected("bare", "t", expected="VULNERABLE"), "expected is 'VULNERABLE'"),  # type: ignore[arg-type]
        (lambda: unprotected("bare", "t", expected=Verdict.ERROR), "expected is <Verdict.ERROR"),
        (lambda: Claim(text="", holds=True, found="f"), "text is ''"),
        (lambda: Claim(text="t", holds="yes", found="f"), "holds is 'yes'"),  # type: ignore[arg-type]
        (lambda: Claim(text="t", holds=True, found="f", variants="bare"), "variants is 'bare'"),  # type: ignore[arg-type]
        (lambda: Case(**CASE | {"fault": stopped}), "fault is <function stopped"),
        (lambda: Case(**CASE | {"steady_state": ""}), "steady_state is ''"),
        (lambda: Case(**CASE | {"symptom": None}), "symptom is None"),
        (lambda: Case(**CASE | {"afterwards": 3}), "afterwards is 3"),
        (lambda: Case(**CASE | {"workload": "traffic"}), "workload is 'traffic'"),
        (lambda: Case(**CASE | {"gauges": {"memory": 3}}), "the gauge 'memory' is 3"),
        (lambda: symptom_observed(""), "message is ''"),
        (lambda: symptom_observed("it hurts", evidence="log"), "evidence is 'log'"),  # type: ignore[arg-type]
    ],
)
def test_a_part_of_a_scenario_is_refused_where_it_is_made(declare: Callable[[], object], words: str) -> None:
    assert words in refused(declare)


# evidence


@pytest.mark.parametrize(
    "text",
    [
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "password: hunter2",
        '{"token": "hunter2"}',
        "PASSWD=hunter2",
        "ACCE\u017f\u017f_\u212aEY=hunter2",
        "api-key : hunter2",
        "AUTHORIZATION: Basic hunter2",
        "Authorization: Bearer hunter2",
        "postgresql://mlflow:hunter2@db:5432/mlflow",
    ],
)
def test_evidence_holds_no_secret(text: str) -> None:
    assert "hunter2" not in evidence("log", "log", f"before {text} after").text


def test_evidence_keeps_what_is_no_secret() -> None:
    text = "Could not find an MLmodel at s3://bucket/tokenizer/model: 404"
    assert evidence("log", "log", text).text == text


def test_long_evidence_keeps_its_end_and_says_what_is_missing() -> None:
    kept = evidence("log", "log", "x" * 50 + "the cause", limit=9)
    assert kept.text == "[… 50 characters omitted]\nthe cause"
