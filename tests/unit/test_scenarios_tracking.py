"""The incidents around MLflow, on fakes: what is lost silently makes a platform vulnerable, and nothing else does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.scenario_session import FakeFaultClient, FakeSession, FakeTarget
from fakes.target import STACK

from trivet.engine.scenarios.play import run
from trivet.errors import CannotTell
from trivet.integration import TrackingError
from trivet.model.fault import PLATFORM
from trivet.model.handover import PipelineRun
from trivet.model.network import NetworkPath
from trivet.model.scenario import Observation, Scenario, VariantResult, Verdict
from trivet.render.records import FOLDER, read
from trivet.scenarios import _training_runs, tracking_failure, tracking_unreachable
from trivet.toolkit.faults import idle

PATH = NetworkPath(
    name="pipelines to MLflow",
    namespace="p",
    selector={"a": "b"},
    host="mlflow.trivet-platform",
    port=5000,
    allowed=True,
)
POD = {
    "metadata": {"name": "mlflow-1", "uid": "1", "ownerReferences": [{"controller": True}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.0.0.1"},
}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.toolkit.waiting.POLL", 0.01)


class Platform:
    """MLflow, a cluster and its pipelines in one; a training ends when a fault has been made."""

    images: Mapping[str, str] = {"trainer": "trainer"}
    paths = (PATH,)

    def __init__(
        self, *, green: bool = True, values: int = 60, rounds: int = 60, waited: float = 1.0, longest: float = 1.0
    ) -> None:
        self.green, self.values, self.rounds, self.waited = green, values, rounds, waited
        self.longest = longest
        self.early = 2
        self.refused = 1
        self.last_line = "API request to http://mlflow failed with exception"
        self.versions = 1
        self.runs = 1
        self.over = False
        self.struck = threading.Event()
        self.asked: list[Mapping[str, str]] = []
        self.objects: dict[Any, Any] = {
            ("pod", PLATFORM, "mlflow-1"): POD,
            ("deployment", PLATFORM, "mlflow"): {"spec": {"replicas": 1}},
        }
        self.faults = FakeFaultClient(self.objects)
        self.faults.connection = self.connection

    def connection(self) -> str:
        return "probe: refused" if self.faults.taken[-1].changed_objects else "probe: open"

    # -- pipelines

    def run(self, arguments: Any, environment: Mapping[str, str], pipeline: Path | None = None) -> PipelineRun:
        self.asked.append(environment)
        while not self.struck.is_set() and not (self.faults.taken and self.faults.taken[-1].changed_objects):
            time.sleep(0.01)
        measured = {
            "produced": self.rounds,
            "refused": self.refused,
            "waited": self.waited,
            "longest": self.longest,
            "error": "",
        }
        log = f"x\n    trivet-training {json.dumps(measured)}\n{self.last_line}\n"
        self.over = True
        return PipelineRun(succeeded=self.green, outputs={}, log=log, refused="")

    # -- tracking

    def get_experiment_by_name(self, name: str) -> Mapping[str, Any]:
        if not self.runs:
            raise TrackingError("there is none", code="RESOURCE_DOES_NOT_EXIST")
        return {"experiment_id": "1"}

    def search_runs(self, experiment: str) -> list[Mapping[str, Any]]:
        return [{"info": {"run_id": "r", "status": "FINISHED"}}] * self.runs

    def metric_history(self, run_id: str, key: str) -> list[Mapping[str, Any]]:
        return [{"value": 1.0}] * (self.values if self.over else self.early)

    def search_model_versions(self, filter_string: str) -> list[Mapping[str, Any]]:
        return [{}] * self.versions

    # -- cluster

    def get(self, kind: str, name: str = "", **_: Any) -> Mapping[str, Any]:
        return {"items": [{"metadata": {"name": "trainer-1"}}], "spec": {"clusterIP": "10.9.9.9"}}

    def execute(self, *_: Any, **__: Any) -> tuple[int, str]:
        return 0, "probe: open\n"

    def apply(self, document: Any) -> None:
        pass

    def delete(self, *_: Any, **__: Any) -> None:
        pass


def played(scenario: Scenario, variant: str, platform: Platform, *, control: bool = False) -> VariantResult:
    """The result of one variant; with ``control`` its fault silently does nothing."""
    if control:

        def stage(**given: Any) -> Any:
            case = next(original(**given))
            platform.struck.set()
            yield replace(case, fault=replace(idle(case.fault), budget=0.05))

        original, scenario = scenario.stage, replace(scenario, stage=stage)
    chosen = [one for one in scenario.variants if one.name == variant]
    session = FakeSession(faults=platform.faults, cluster=platform, pipelines=platform, tracking=platform)
    session.features = lambda: {"NetworkPolicyEnforced": "fake"}  # type: ignore[method-assign]
    report = run([(scenario, chosen)], target=FakeTarget(session), stack=STACK, emit=lambda event: None)
    (result,) = report.scenarios
    (one,) = result.variants
    return one


RECORDS = Path(__file__).parents[2] / FOLDER
TROUBLE, CUT = tracking_failure.tracking_fails_during_training, tracking_unreachable.pipeline_succeeds_without_run


@pytest.mark.parametrize(
    ("platform", "verdict"),
    [
        (Platform(values=50), Verdict.VULNERABLE),
        (Platform(values=60), Verdict.PROTECTED),
        (Platform(values=50, green=False), Verdict.PROTECTED),
        (Platform(waited=70.0), Verdict.VULNERABLE),
        (Platform(waited=70.0, longest=9.0), Verdict.VULNERABLE),
        (Platform(waited=70.0, longest=69.0), Verdict.PROTECTED),
    ],
    ids=["lost silently", "complete", "lost and red", "far longer", "twice as long", "one long pause"],
)
def test_a_silent_loss_during_a_training_is_the_incident(platform: Platform, verdict: Verdict) -> None:
    result = played(TROUBLE, "stopped-raising", platform)
    assert result.verdict is verdict, result.reason
    assert f"{platform.values} of 60 values" in result.symptom
    assert result.measured["values_recorded"] == platform.values


def slowly(before: float, waited: float) -> Observation:
    """A training of 60 rounds that lost nothing, ``before`` of them when MLflow became slow."""
    step = {"produced": 60, "refused": 0, "waited": waited, "longest": 1.0, "error": ""}
    run = PipelineRun(succeeded=True, outputs={}, log=f"trivet-training {json.dumps(step)}\n", refused="")
    setup = tracking_failure.SETUPS["slow"]
    return tracking_failure.judged(tracking_failure._ended(run, setup, before), setup, 60, 1, "FINISHED")


def test_a_pace_is_that_of_the_rounds_under_the_fault() -> None:
    assert slowly(40.0, 30.0).observed
    assert not slowly(20.0, 30.0).observed
    assert slowly(20.0, 30.0).measured["rounds_under_fault"] == 40


def test_too_few_rounds_under_the_fault_show_no_pace() -> None:
    with pytest.raises(CannotTell, match="only 5 rounds were under the fault, at least 16 are needed"):
        slowly(55.0, 30.0)


def test_a_model_that_nobody_finds_is_a_silent_loss_too() -> None:
    platform = Platform()
    platform.versions = 0
    assert played(TROUBLE, "stopped-raising", platform).verdict is Verdict.VULNERABLE


def test_a_training_that_ended_before_the_fault_shows_nothing() -> None:
    platform = Platform()
    platform.refused = 0
    platform.struck.set()
    result = played(TROUBLE, "stopped-raising", platform)
    assert (result.verdict, "ended before the fault was injected" in result.reason) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize(("scenario", "variant"), [(TROUBLE, "stopped-raising"), (CUT, "try-except")])
def test_a_fault_that_silently_does_nothing_is_inconclusive(scenario: Scenario, variant: str) -> None:
    result = played(scenario, variant, Platform(), control=True)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "waiting for the fault to be verified" in result.reason


@pytest.mark.parametrize(
    ("runs", "green", "verdict"),
    [(0, True, Verdict.VULNERABLE), (1, True, Verdict.PROTECTED), (0, False, Verdict.PROTECTED)],
    ids=["green without a run", "green with a run", "red"],
)
def test_a_green_pipeline_without_a_run_is_the_incident(runs: int, green: bool, verdict: Verdict) -> None:
    platform = Platform(green=green)
    platform.runs = runs
    result = played(CUT, "try-except", platform)
    assert result.verdict is verdict, result.reason
    assert result.measured["client_seconds"] == 1.0
    assert "API request" in str(result.measured["client_error"])


@pytest.mark.parametrize(("scenario", "variant"), [(TROUBLE, "stopped-raising"), (CUT, "component")])
def test_a_pipeline_that_is_red_for_something_else_shows_nothing(scenario: Scenario, variant: str) -> None:
    platform = Platform(green=False, values=50)
    platform.last_line = "MemoryError: 7 GiB"
    platform.runs = int(scenario is TROUBLE)
    result = played(scenario, variant, platform)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "its log has no error of MLflow's client; its last line: MemoryError: 7 GiB" in result.reason


def test_a_training_that_counts_too_few_values_in_the_end_is_red_for_mlflow() -> None:
    platform = Platform(green=False, values=50)
    platform.last_line = "RuntimeError: MLflow holds 50 of 60 rounds"
    assert played(TROUBLE, "stopped-buffered", platform).verdict is Verdict.PROTECTED


@pytest.mark.parametrize("variant", ["component", "default-retries"])
def test_what_runs_have_shown_of_a_loud_component_shows_that_it_was_for_mlflow(variant: str) -> None:
    kept = read((RECORDS / f"{CUT.id}.json").read_text(encoding="utf-8")).variants[variant]
    platform = Platform(green=False)
    platform.runs, platform.last_line = 0, str(kept.measured["client_error"])
    assert kept.verdict is played(CUT, variant, platform).verdict is Verdict.PROTECTED


def test_every_plan_is_a_variant_s() -> None:
    assert set(tracking_failure.SETUPS) == {variant.name for variant in TROUBLE.variants}


def test_a_client_may_be_given_the_address_of_the_service() -> None:
    platform = Platform()
    played(CUT, "address", platform)
    assert platform.asked[0]["MLFLOW_TRACKING_URI"] == "http://10.9.9.9:5000"


def test_the_last_error_of_the_client_is_found() -> None:
    log = "a\nMax retries exceeded with url: 1\nRun Id r: Failed to log run data: Exception: x\ntrivet-training {}\n"
    assert _training_runs.client_error(log) == "Run Id r: Failed to log run data: Exception: x"
    assert _training_runs.client_error("well\n") == ""
    cause = "Max retries exceeded (Caused by NewConnectionError('<urllib3.connection.HTTPConnection object at 0x7f>: refused'))"
    assert "NewConnectionError('HTTPConnection: refused')" in _training_runs.client_error(cause)
