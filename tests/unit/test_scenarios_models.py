"""Incidents about models, played on fakes: what each is shown by, and that nothing is called protected of which nothing was shown."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract_examples.pickles import pickled
from fakes.scenario_session import FakeFaultClient, FakeSession, FakeTarget, bad, good, watched
from fakes.serving import SERVICES, FakeClients, FakeCluster, FakeTrainer, Objects
from fakes.target import STACK

from trivet.authoring.scenarios import symptom_not_observed
from trivet.engine.scenarios import play as playing
from trivet.engine.scenarios.play import run
from trivet.errors import CannotTell, NotOffered
from trivet.integration import Signature
from trivet.model.fault import SERVING
from trivet.model.scenario import Budgets, Case, Observation, Scenario, VariantResult, Verdict, Workload
from trivet.model.traffic import Answer
from trivet.scenarios import (
    _deployments,
    _service_status,
    alias_moved,
    environment_skew,
    signature_changed,
    unlocked_image,
)
from trivet.stacks.read import load_stack
from trivet.toolkit.faults import stopped
from trivet.toolkit.models import ModelMaker
from trivet.toolkit.watch import FAULT, REVERT, Watch

ROOT = "s3://models"
WELL, HURT, UNKNOWN = Verdict.PROTECTED, Verdict.VULNERABLE, Verdict.INCONCLUSIVE


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "LEAD", 0.05)
    monkeypatch.setattr("trivet.toolkit.waiting.POLL", 0.01)
    monkeypatch.setattr("trivet.toolkit.watch.Watch.wait", lambda self, seconds: time.sleep(0.5))
    monkeypatch.setattr(environment_skew, "OBSERVED", 1.5)
    monkeypatch.setattr(environment_skew, "AFTER_FAILURE", 1.0)
    monkeypatch.setattr(
        environment_skew, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda s: time.sleep(s / 4))
    )


@pytest.fixture(autouse=True)
def _resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core library's resolving without a server: a version lies in a directory of its number."""

    def resolve(uri: str, *, tracking: Any, **options: Any) -> str:
        name, _, version = uri.removeprefix("models:/").partition("/")
        return f"{ROOT}/{version or tracking.get_model_version_by_alias(*name.split('@'))['version']}/"

    for module in ("trivet.toolkit.models", "trivet.integration.lineage"):
        monkeypatch.setattr(f"{module}.resolve_storage_uri", resolve)


def models(trainer: FakeTrainer, tracking: Any = None) -> ModelMaker:
    return ModelMaker(trainer, tracking)


def played(scenario: Scenario, variant: str, faults: FakeFaultClient, **clients: Any) -> VariantResult:
    chosen = [one for one in scenario.variants if one.name == variant]
    session = FakeSession(faults=faults, **clients)
    session.features = lambda: dict.fromkeys(scenario.features, "fake")  # type: ignore[method-assign]
    report = run([(scenario, chosen)], target=FakeTarget(session), stack=STACK, emit=lambda event: None)
    return report.scenarios[0].variants[0]


# -- models of a session ----------------------------------------------------------------------------------------------


def test_a_model_is_the_same_for_the_same_arguments_and_registered_with_others_unless_it_has_a_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = FakeTrainer()

    made = models(trainer).make
    aliased, plain = made("plain", register_as="trivet-aliased"), made("plain")
    assert (aliased.registered, plain.registered.startswith("trivet-model-")) == ("trivet-aliased", True)
    assert made("plain") is plain
    assert made("plain", register_as="trivet-aliased") is aliased
    other = made("plain", label_offset=10)
    assert (other.version, other.answer, other.registered) == ("3", [10], plain.registered)


# -- requests that stall ----------------------------------------------------------------------------------------------


class Stalling:
    """Clients of whose requests, one a second, those due in ``stalled`` are known only after ``shows`` looks, or never."""

    def __init__(self, stalled: range, *, shows: int | None = 1) -> None:
        self._stalled = stalled
        self._looks = shows

    @contextmanager
    def background(self, *_: Any, **__: Any) -> Iterator[Any]:
        yield self

    @property
    def answers(self) -> list[Answer]:
        known = self._looks is not None and self._looks <= 0
        self._looks = self._looks and self._looks - 1
        answers = [good(float(at), seconds=12.0 if at in self._stalled else 0.1) for at in range(60)]
        return [one for one in answers if known or one.at not in self._stalled]


def completed(clients: Stalling, *, harmless: bool = False) -> Observation:
    """A observation of no loss, completed after a fault from second 10 to second 30."""
    times = iter([0.0, 10.0])
    case = Case(
        fault=stopped("x", namespace=SERVING), steady_state=lambda: "", symptom=lambda watch: symptom_not_observed("")
    )
    watch = Watch(case, clock=lambda: next(times, 30.0))
    with watch.sending(clients, Workload(service="c", request={}, models={"one": [1]}, rate=1.0, client_timeout=0.2)):  # type: ignore[arg-type]
        watch.mark(FAULT)
        watch.mark(REVERT)
        return _deployments.with_recovery(
            watch, symptom_not_observed("none of 17 requests lost", lost=0), harmless=harmless
        )


def test_requests_that_stalled_under_the_fault_make_an_incident_that_shows_after_it() -> None:
    observation = completed(Stalling(range(27, 30)))

    assert observation.observed
    assert "before the revert 3 of 20 requests lost" in observation.message
    assert observation.measured["lost_late"] == 3


def test_requests_that_stalled_on_the_way_back_are_not_the_fault_s() -> None:
    assert not completed(Stalling(range(31, 34))).observed


def test_requests_that_stalled_beside_a_deployment_that_works_show_nothing_of_it() -> None:
    with pytest.raises(CannotTell, match=r"3 of 20 requests lost.*the deployment cannot be the cause"):
        completed(Stalling(range(27, 30)), harmless=True)
    assert not completed(Stalling(range(0)), harmless=True).observed


def test_while_requests_due_under_the_fault_are_in_flight_nothing_is_known() -> None:
    with pytest.raises(
        CannotTell, match="waiting for every request that was due before mark 'revert' to be answered or lost"
    ):
        completed(Stalling(range(27, 30), shows=None))


def test_a_request_lost_while_a_deployment_was_refused_shows_nothing_of_it() -> None:
    workload = Workload(service="c", request={}, models={"one": [1]}, rate=50.0)

    def observed(answer: Any) -> Observation:
        watch = watched(answer, workload)
        watch.refusal = "too new"
        return _deployments.observe_refused(watch)

    assert not observed(good).observed
    with pytest.raises(CannotTell, match=r"too new.*the refused deployment cannot be the cause"):
        observed(bad)


# -- a signature that changed -----------------------------------------------------------------------------------------


def signed(monkeypatch: pytest.MonkeyPatch, variant: str, *, new_fails: bool) -> VariantResult:
    scenario = signature_changed.promoted_under_clients
    trainer = FakeTrainer()
    objects = Objects(lambda uri: True)
    columns = {f"{ROOT}/1/": ["a", "b", "c"], f"{ROOT}/2/": ["a", "b", "c", "d"]}

    def written(store: Any, of: Any) -> Any:
        return Signature(
            inputs=tuple(_column(name) for name in columns[of.storage_uri]), outputs=(_column("label"),), params={}
        )

    monkeypatch.setattr(signature_changed, "_signature", written)

    def answers(uri: str) -> int | None:
        return 0 if uri == f"{ROOT}/1/" else None if new_fails else 10

    faults = FakeFaultClient(objects)
    return played(
        scenario,
        variant,
        faults,
        cluster=FakeCluster(faults),
        traffic=FakeClients(objects, signature_changed.NAME, answers),
        models=models(trainer),
        store=None,
    )


def _column(name: str) -> Any:
    from trivet.integration import Column

    return Column(name=name, type="double", required=True, spec={})


@pytest.mark.parametrize(
    ("variant", "new_fails", "verdict", "words"),
    [
        ("added-column", True, HURT, "requests lost"),
        ("optional-column", False, WELL, "none of"),
        ("checked", True, WELL, "column 'd' is required"),
    ],
)
def test_a_new_signature_hurts_clients_unless_it_is_compared_first(
    monkeypatch: pytest.MonkeyPatch, variant: str, new_fails: bool, verdict: Verdict, words: str
) -> None:
    result = signed(monkeypatch, variant, new_fails=new_fails)

    assert (result.verdict, words in result.reason) == (verdict, True), result.reason
    assert bool(result.changed_objects) is (variant != "checked")


# -- an alias that moved ----------------------------------------------------------------------------------------------


class FakeRegistry:
    """Versions of one model, the tags of their services, and the aliases that the trainer moves."""

    def __init__(self, trainer: FakeTrainer) -> None:
        self._trainer = trainer
        self._tags: dict[str, dict[str, str]] = {}

    def get_model_version_by_alias(self, name: str, alias: str) -> Mapping[str, Any]:
        return self.get_model_version(name, self._trainer.aliases[alias])

    def get_model_version(self, name: str, version: str) -> Mapping[str, Any]:
        tags = [{"key": key, "value": value} for key, value in self._tags.get(version, {}).items()]
        return {"name": name, "version": version, "run_id": f"run{version}", "tags": tags}

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self._tags.setdefault(version, {})[key] = value

    def get_run(self, run_id: str) -> Mapping[str, Any]:
        return {"info": {"lifecycle_stage": "active"}}


@pytest.mark.parametrize(
    ("variant", "verdict", "words"),
    [
        ("resolved-twice", HURT, "the labels name version 1, and 20 of 20 answers are of version 2"),
        ("pinned", WELL, "the labels name version 1, and 20 of 20 answers are of version 1"),
        ("verified", WELL, "the labels name version 2, and 20 of 20 answers are of version 2"),
    ],
)
def test_an_alias_that_moves_makes_a_service_lie_unless_it_is_resolved_once_or_verified(
    monkeypatch: pytest.MonkeyPatch, variant: str, verdict: Verdict, words: str
) -> None:
    trainer = FakeTrainer()
    registry = FakeRegistry(trainer)
    objects = Objects(lambda uri: True)
    faults = FakeFaultClient(objects)
    result = played(
        alias_moved.alias_moved_while_deploying,
        variant,
        faults,
        cluster=FakeCluster(faults),
        traffic=FakeClients(objects, alias_moved.NAME, {f"{ROOT}/1/": 0, f"{ROOT}/2/": 10}.get),
        trainer=trainer,
        tracking=registry,
        models=models(trainer, registry),
    )

    assert (result.verdict, words in result.reason) == (verdict, True), result.reason
    assert trainer.aliases == {alias_moved.ALIAS: "1"}, "the alias is put back"
    assert (SERVICES, SERVING, alias_moved.NAME) not in faults.objects
    assert ("resolves to" in str(result.measured["verify_link"])) is (variant == "resolved-twice")


# -- a trainer that is held to the serving image ----------------------------------------------------------------------


def test_a_stack_whose_trainer_is_not_held_to_its_image_has_no_remedy_to_show() -> None:
    _deployments.require_pinned_trainer(load_stack("2024.11-fixed"))
    _deployments.require_pinned_trainer(load_stack("current"))

    with pytest.raises(NotOffered, match=r"scikit-learn 1\.5\.2 in the trainer, 1\.4\.1"):
        _deployments.require_pinned_trainer(load_stack("2024.11"))


# -- a model of an external trainer -------------------------------------------------------------------------------------------


KILLED = (
    "Worker with PID 12 on default inference pool stopped unexpectedly with exit code 9. Triggering worker restart..."
)
NO_MODULE = "ImportError: No module named '_loss'"


class FakeExternalTrainer:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def of_stack(self, name: str) -> Any:
        return load_stack(name).roles["trainer"]

    def save_model(self, trainer: Any, **_: Any) -> Path:
        versions = {"scikit-learn": trainer.pins["scikit-learn"], "numpy": trainer.pins["numpy"]}
        flavors = (
            "flavors: {python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}, "
            "sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle, "
            f"sklearn_version: {versions['scikit-learn']}}}}}"
        )
        (self._directory / "MLmodel").write_text(f"{flavors}\n")
        (self._directory / "model.pkl").write_bytes(
            pickled("_loss:CyHalfBinomialLoss", sklearn=versions["scikit-learn"])
        )
        (self._directory / "requirements.txt").write_text("".join(f"{n}=={v}\n" for n, v in versions.items()))
        return self._directory

    def predict(self, *_: Any) -> list[int]:
        return [10]


@pytest.mark.parametrize(
    ("log", "loads", "verdict", "words"),
    [
        (NO_MODULE, False, HURT, NO_MODULE),
        ("", True, WELL, "3 of 3 answers"),
        (KILLED, False, UNKNOWN, "its server reports no load error"),
    ],
    ids=["not loaded", "loaded", "killed for its memory"],
)
def test_a_rebuilt_image_is_judged_by_what_the_server_says_of_its_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: str, loads: bool, verdict: Verdict, words: str
) -> None:
    monkeypatch.setattr(unlocked_image, "STATUS_TIMEOUT", 0.1)
    monkeypatch.setattr(
        _service_status, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda s: time.sleep(s / 20))
    )
    faults = FakeFaultClient(Objects(lambda uri: loads))
    scenario = replace(
        unlocked_image.rebuilt_without_a_lock, budgets=Budgets(steady_state=0.1, symptom=5.5, recovery=1.0)
    )

    def unsure(*_: Any) -> str:
        raise CannotTell("no contract could judge")

    monkeypatch.setattr(unlocked_image, "refusal", unsure)
    result = played(
        scenario,
        "locked",
        faults,
        cluster=FakeCluster(faults, log=log),
        traffic=FakeClients(faults.objects, unlocked_image.NAME, lambda uri: 10),  # type: ignore[arg-type]
        store=FakeStore(),
        external_trainer=FakeExternalTrainer(tmp_path),
        stack=load_stack("2024.11-fixed"),
    )

    assert (result.verdict, words in result.reason) == (verdict, True), result.reason
    if verdict is not UNKNOWN:
        assert result.measured["before_deployment"] == "unknown: no contract could judge"


class FakeStore:
    def write(self, relative: str, files: Mapping[str, bytes]) -> str:
        assert "MLmodel" in files
        return f"{ROOT}/external"


@pytest.mark.parametrize(
    ("variant", "log", "stays", "answered", "verdict", "words"),
    [
        ("runtime-default", NO_MODULE, False, [], HURT, "requests lost"),
        ("model-probe", NO_MODULE, True, [], WELL, "none of"),
        ("model-probe", "", True, [], UNKNOWN, "neither answered nor failed"),
        ("model-probe", "", False, [], UNKNOWN, "neither answered nor failed"),
        ("model-probe", "", False, [10], WELL, "answers after"),
        ("model-probe", "", False, [None, None, 10], UNKNOWN, "which ready_not_loaded shows"),
        ("gate", "", True, [], WELL, "refused before the deployment: environment.dependencies_fit_the_runtime"),
    ],
    ids=["hurt", "kept from traffic", "slow", "slow to answer", "loads", "loads late", "refused"],
)
def test_a_model_of_an_external_trainer_is_an_incident_where_traffic_goes_to_what_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variant: str,
    log: str,
    stays: bool,
    answered: list[int | None],
    verdict: Verdict,
    words: str,
) -> None:
    """``stays`` is whether traffic stays with the earlier model; ``answered`` what the new one answers, the last one for ever."""
    answers = list(answered)

    def answer(uri: str) -> int | None:
        if uri == f"{ROOT}/1/":
            return 0
        return answers.pop(0) if len(answers) > 1 else next(iter(answers), None)

    trainer = FakeTrainer()
    objects = Objects(lambda uri: "external" not in uri or not stays)
    faults = FakeFaultClient(objects)
    result = played(
        environment_skew.newer_training_packages,
        variant,
        faults,
        cluster=FakeCluster(faults, log=log),
        traffic=FakeClients(objects, environment_skew.NAME, answer),
        models=models(trainer),
        store=FakeStore(),
        external_trainer=FakeExternalTrainer(tmp_path),
        stack=load_stack("2024.11-fixed"),
    )

    assert (result.verdict, words in result.reason) == (verdict, True), result.reason
