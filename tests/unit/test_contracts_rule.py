"""How rules are declared and judged, and what they see of an InferenceService."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from contract_examples.static import stack

from trivet.contracts.rules.rule import (
    KNATIVE,
    MODE_SETTING,
    Companion,
    Rules,
    Service,
    deployment_mode,
    field_names,
    judged,
    kind_of_mode,
    service_of,
    undecided,
)
from trivet.contracts.violation import Violation
from trivet.model.finding import Finding, Replacement
from trivet.model.platform_config import PlatformConfig
from trivet.model.subjects import Keys, Manifest, Resource
from trivet.toolkit.remembered import remembering

ANNOTATION = "serving.kserve.io/deploymentMode"
UNKNOWN = PlatformConfig()


def manifest(spec: Any = None, mode: str | None = None) -> Manifest:
    document = {"kind": "InferenceService", "metadata": {"name": "a"}, "spec": spec}
    if mode is not None:
        document["metadata"] = {"name": "a", "annotations": {ANNOTATION: mode}}
    return Manifest(file="a.yaml", document=document, line=len)


def service(spec: Any = None, mode: str | None = None, under: str = "2024.11") -> Service:
    return Service(manifest=manifest(spec, mode), stack=stack(under), platform=UNKNOWN)


def rules(setting: str = "", modes: tuple[str, ...] = (), versions: str = ">=0", component: str = "kserve") -> Rules:
    """One rule, which everything breaks."""
    made = Rules(component, "project")

    @made.rule("a.go, f", versions=versions, modes=modes)
    def broken(subject: Any) -> Iterator[Violation]:
        yield Violation(("spec", "a"), "a is wrong", setting, Replacement("a", "b"))

    return made


def outcomes(found: Iterator[Finding]) -> list[tuple[str, str, int | None]]:
    return [(str(one.outcome), one.message, one.location.line if one.location else None) for one in found]


def test_a_rule_is_named_after_its_function_and_has_its_source_once() -> None:
    made = rules(versions=">=1", modes=("A",))
    (rule,) = made.rules
    assert (rule.id, rule.source, rule.component) == ("broken", "project a.go, f", "kserve")
    assert (rule.versions, rule.modes) == (">=1", ("A",))
    made.rule("b.go, g")(rule.find)
    made.rule("a.go, f")(rule.find)
    assert made.sources == ("project a.go, f", "project b.go, g")


@pytest.mark.parametrize(
    ("versions", "component", "applies"),
    [
        (">=0.14", "kserve", True),
        (">=0.15", "kserve", False),
        ("<0.15", "kserve", True),
        (">=0.15", "no component", True),
    ],
)
def test_a_rule_applies_to_versions_that_have_it(versions: str, component: str, applies: bool) -> None:
    made = rules(versions=versions, component=component)
    assert made.rules[0].applies(stack("2024.11")) is applies
    assert outcomes(judged([made], service(), "sound")) == (
        [("FAILED", "a is wrong", 2)] if applies else [("PASSED", "sound", 0)]
    )


def test_what_breaks_a_rule_has_its_place_and_its_fix() -> None:
    (found,) = judged([rules()], service(), "sound")
    assert found.fix == Replacement("a", "b")
    resource = Resource(file="a.yaml", document={"kind": "Secret", "metadata": {"name": "s"}}, line=len)
    companion = Companion(resource=resource, stack=stack("2024.11"), platform=UNKNOWN)
    (found,) = judged([rules()], companion, "sound")
    assert str(found.location) == "a.yaml:2 Secret/s"


@pytest.mark.parametrize(
    ("mode", "setting", "modes", "decided", "open_"),
    [
        (KNATIVE, "", (), ("FAILED", "a is wrong", 2), None),
        (KNATIVE, "", (KNATIVE,), ("FAILED", "a is wrong", 2), None),
        ("RawDeployment", "", (KNATIVE,), ("PASSED", "sound", 0), None),
        (None, "", (), ("FAILED", "a is wrong", 2), None),
        (None, "", (KNATIVE, "Other"), ("PASSED", "sound", 0), "in Knative or Other mode a is wrong"),
        (KNATIVE, "x", (), ("PASSED", "sound", 0), "a is wrong: this depends on x"),
        (KNATIVE, "x", (KNATIVE,), ("PASSED", "sound", 0), "a is wrong: this depends on x"),
        ("RawDeployment", "x", (KNATIVE,), ("PASSED", "sound", 0), None),
        (None, "x", (KNATIVE,), ("PASSED", "sound", 0), "a is wrong: this depends on x"),
    ],
)
def test_what_depends_on_the_platform_is_undecided_and_not_judged(
    mode: str | None, setting: str, modes: tuple[str, ...], decided: Any, open_: str | None
) -> None:
    under = "current" if mode == KNATIVE else "2024.11"
    made = [rules(setting, modes)]
    assert outcomes(judged(made, service(mode=mode, under=under), "sound")) == [decided]
    found = list(undecided(made, service(mode=mode, under=under)))
    assert outcomes(iter(found)) == ([("INCONCLUSIVE", open_, 2)] if open_ else [])
    assert [one.remedy for one in found if not setting] == [MODE_SETTING] * (len(found) if not setting else 0)


def test_rules_look_at_a_service_once() -> None:
    calls = []
    made = Rules("kserve", "project")

    @made.rule("a.go")
    def counted(subject: Any) -> Iterator[Violation]:
        calls.append(subject)
        yield from ()

    one = service()
    assert one.violations(made) == one.violations(made) == []
    assert calls == [one]


def test_the_services_of_manifests_that_are_judged_are_kept() -> None:
    first, second = manifest(), manifest()
    under, platform = stack("2024.11"), PlatformConfig()
    with remembering():
        kept = service_of(first, under, platform)
        assert service_of(first, under, platform) is kept
        assert service_of(first, under, PlatformConfig()) is not kept
        assert service_of(first, stack("current"), platform).stack is stack("current")
        assert service_of(second, stack("current"), platform).manifest is second
        assert service_of(first, under, platform) is kept


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("Serverless", "Knative"),
        ("Knative", "Knative"),
        ("RawDeployment", "Standard"),
        ("Standard", "Standard"),
        ("ModelMesh", "ModelMesh"),
        ("", ""),
    ],
)
def test_a_mode_has_one_name(mode: str, kind: str) -> None:
    assert kind_of_mode(mode) == kind


def test_a_mode_that_kserve_does_not_know_is_the_platform_s() -> None:
    platform = PlatformConfig(default_deployment_mode="Serverless")
    assert deployment_mode(manifest(mode="RawDeployment"), stack("2024.11"), platform) == ("RawDeployment", True)
    assert deployment_mode(manifest(mode="Other"), stack("2024.11"), platform) == ("Serverless", False)
    assert deployment_mode(manifest(), stack("2024.11"), platform) == ("Serverless", False)


def test_a_mode_that_is_filled_later_is_unknown_whatever_the_platform_s_is() -> None:
    platform = PlatformConfig(default_deployment_mode="Serverless")
    assert deployment_mode(manifest(mode="${MODE}"), stack("2024.11"), platform) == ("", False)


SPEC = {
    "predictor": {
        "model": {"name": "m"},
        "containers": [{"name": "c"}, "odd"],
        "initContainers": [{"name": "i"}],
        "workerSpec": {"containers": [{"name": "w"}]},
        "volumes": [{"name": "v"}, 5],
    },
    "transformer": {"containers": [{"name": "t"}]},
    "explainer": {"art": {"name": "a"}},
    "canary": [{"predictor": {"model": {"name": "n"}}}, {"predictor": 5}],
}


@pytest.mark.parametrize(
    ("under", "mode", "made", "admitted"),
    [
        ("2024.11", "Serverless", 0, 0),
        ("2024.11", "RawDeployment", 0, 0),
        ("current", "Knative", 0, 1),
        ("current", "Standard", 1, 1),
        ("current", None, 1, 1),
    ],
)
def test_kserve_looks_at_workers_in_every_mode_and_makes_none_in_knative_mode(
    under: str, mode: str | None, made: int, admitted: int
) -> None:
    one = service(SPEC, mode, under)
    assert [container.spec["name"] for container in one.containers].count("w") == made
    assert [container.spec["name"] for container in one.admitted_containers].count("w") == admitted
    assert len(one.admitted_containers) - len(one.containers) == admitted - made


@pytest.mark.parametrize(("under", "workers"), [("2024.11", []), ("current", [("spec", "predictor", "workerSpec")])])
def test_the_pods_of_a_service(under: str, workers: list[Keys]) -> None:
    one = service(SPEC, under=under)
    assert [pod.keys for pod in one.pods] == [
        ("spec", "predictor"),
        ("spec", "transformer"),
        ("spec", "explainer"),
        *workers,
        ("spec", "canary", 0, "predictor"),
    ]
    names = [container.spec["name"] for container in one.containers]
    assert names == ["m", "c", "i", "t", "a", *(["w"] if workers else []), "n"]
    assert [pod.whole for pod in one.pods] == [False, True, True, *(False for _ in workers), False]
    predictor = one.pods[0]
    assert [container.keys[-1] for container in predictor.containers] == ["model", 0]
    assert [container.merged for container in predictor.containers] == [True, False]
    assert predictor.init_containers[0].keys == ("spec", "predictor", "initContainers", 0)
    assert list(predictor.each("volumes")) == [(("spec", "predictor", "volumes", 0), {"name": "v"})]


def test_what_is_no_mapping_is_read_as_an_empty_one() -> None:
    one = service("odd")
    assert (one.spec, one.predictor, one.components, one.pods) == ({}, {}, (), ())
    annotated = Manifest(file="a", document={"metadata": {"annotations": {"a": None, "b": "c"}}}, line=len)
    assert Service(manifest=annotated, stack=stack("2024.11"), platform=UNKNOWN).annotations == {"a": "", "b": "c"}


def test_a_version_since_which_something_is() -> None:
    assert service().since("0.14")
    assert not service().since("0.15")
    assert service().since("1.15", "knative")
    assert not service().since("1.16", "knative")
    assert service().since("99", "no component")


def test_a_rule_is_asked_about_objects_with_one_of_its_fields() -> None:
    made = Rules("kserve", "project")

    @made.rule("a.go", fields=("batcher", "logger"))
    def broken(subject: Any) -> Iterator[Violation]:
        yield Violation(("spec",), "wrong")

    assert service({"predictor": {"model": {}}}).violations(made) == []
    assert len(service({"predictor": [{"logger": None}]}).violations(made)) == 1


def test_the_fields_of_a_document_are_those_of_its_mappings_at_any_depth() -> None:
    shared = {"d": [{"e": 1}]}
    bomb: Any = {"f": 1}
    for _ in range(200):
        bomb = [bomb, bomb]
    assert field_names({"a": {"b": [[{"c": None}]]}, "x": shared, "y": shared, "z": bomb}) == set("abcdefxyz")
    assert field_names("a") == frozenset()


def test_a_rule_that_is_declared_after_the_first_judging_is_asked_too() -> None:
    made = rules()
    assert [rule.id for rule in made.concerning(service())] == ["broken"]

    @made.rule("b.go, g")
    def later(subject: Any) -> Iterator[Violation]:
        yield Violation(("spec", "b"), "b is wrong")

    assert [rule.id for rule in made.concerning(service())] == ["broken", "later"]


def test_the_fields_of_an_object_are_not_collected_for_rules_that_declare_none() -> None:
    subject = service({"a": {"b": 1}})
    rules().concerning(subject)
    assert "fields" not in vars(subject)


@pytest.mark.parametrize(
    ("under", "kinds"), [("2024.05", ["art", "alibi"]), ("2024.08", ["art"]), ("current", ["art"])]
)
def test_the_explainers_that_a_kserve_has(under: str, kinds: list[str]) -> None:
    one = service({"explainer": {"art": {}, "alibi": {}}}, under=under)
    assert [container.keys[-1] for container in one.containers] == kinds
