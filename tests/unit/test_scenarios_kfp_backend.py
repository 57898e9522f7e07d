"""The incidents of KFP's backend, on fakes: what a platform would not notice makes it vulnerable, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from fakes.scenario_session import FakeFaultClient, FakeSession, FakeTarget
from fakes.target import STACK

from trivet.engine.scenarios.play import run
from trivet.integration import TrackingError
from trivet.model.fault import BACKEND
from trivet.model.pipeline_runs import BackendRun, BackendTask
from trivet.model.scenario import Scenario, VariantResult, Verdict
from trivet.scenarios import kfp_backend
from trivet.toolkit.faults import idle

FIRST, LATER = "a" * 32, "b" * 32


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.toolkit.waiting.POLL", 0.01)
    monkeypatch.setattr(kfp_backend, "ENDED", 0.05)
    monkeypatch.setattr(kfp_backend, "LEFT", 0.0)


class Platform:
    """KFP's API server and MLflow in one.

    ``again`` says whether the second run of a pipeline has its recording step, ``green`` how a run ends, ``recorded`` whether a step's run
    arrives in MLflow, ``on_end`` the status of the MLflow run once the step has ended or was ended.
    """

    experiment = "trivet-x"

    def __init__(
        self,
        *,
        green: bool = True,
        again: bool = True,
        recorded: bool = True,
        on_end: str = "FINISHED",
        log: str = "",
        uri: str = "",
    ) -> None:
        self.green, self.again, self.recorded, self.on_end, self.log, self.uri = (
            green,
            again,
            recorded,
            on_end,
            log,
            uri,
        )
        self.begun = True
        self.terminated = False
        self.ended: list[str] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.started: list[str] = []
        self.polled = 0
        self.faults = FakeFaultClient({("deployment", BACKEND, kfp_backend.API_SERVER): {"spec": {"replicas": 1}}})

    # -- KFP's API server

    def compile(self, pipeline: str) -> str:
        return pipeline

    def upload(self, compiled: str) -> Mapping[str, Any]:
        return {"pipeline_id": "p"}

    def start(self, pipeline: str, arguments: Any = None, *, environment: Any = None, service_account: str = "") -> str:
        self.started.append(pipeline)
        trains = len(self.started) == 1 or self.again
        if trains and self.begun and self.recorded:
            self.runs[LATER if self.runs else FIRST] = {"status": "RUNNING", "lifecycle_stage": "active"}
        return str(len(self.started))

    def wait(self, run_id: str, *, until: Callable[[BackendRun], bool] | None = None) -> BackendRun:
        first = run_id == "1"
        container = {"name": "main", "env": [{"name": "MLFLOW_TRACKING_URI", "value": self.uri}]}
        recording = f"recording {FIRST if first else LATER}\n" if self.begun else ""
        task = BackendTask(
            name="record", pods=[{"spec": {"containers": [container]}}], log=recording + self.log, outputs={}
        )
        tasks = {"record": task} if first or self.again else {"require-run": replace(task, log=self.log)}
        seen = BackendRun(run_id=run_id, state="RUNNING", tasks=tasks, pods=())
        if self.terminated:
            return replace(seen, state="FAILED")
        if until is not None and until(seen):
            return seen
        prepared = first and kfp_backend.CACHED.get("cached") in self.started and len(self.started) == 1
        state = "SUCCEEDED" if self.green or prepared else "FAILED"
        if until is None:
            self._end()
        return replace(seen, state=state)

    def terminate(self, run_id: str) -> None:
        self.terminated = True
        self._end()

    def _end(self) -> None:
        for one in self.runs.values():
            if one["status"] == "RUNNING":
                one["status"] = self.on_end

    # -- MLflow

    def get_experiment_by_name(self, name: str) -> Mapping[str, Any]:
        if not self.runs:
            raise TrackingError("there is none", code="RESOURCE_DOES_NOT_EXIST")
        return {"experiment_id": "1"}

    def search_runs(self, experiment: str) -> list[Mapping[str, Any]]:
        return [self.get_run(name) for name, one in self.runs.items() if one["lifecycle_stage"] == "active"]

    def get_run(self, run_id: str) -> Mapping[str, Any]:
        self.polled += 1
        if self.polled > 3 and kfp_backend.ENDINGS["api-server-uncached"] in self.started and self.faults.taken:
            self._end()
        return {"info": {"run_id": run_id, **self.runs[run_id]}}

    def delete_run(self, run_id: str) -> None:
        self.runs[run_id]["lifecycle_stage"] = "deleted"

    def restore_run(self, run_id: str) -> None:
        self.runs[run_id]["lifecycle_stage"] = "active"

    def end_run(self, run_id: str, status: str = "KILLED") -> None:
        self.runs[run_id]["status"] = status


def played(scenario: Scenario, variant: str, platform: Platform, *, control: bool = False) -> VariantResult:
    """The result of one variant; with ``control`` its fault silently does nothing."""
    if control:

        def stage(**given: Any) -> Any:
            case = next(original(**given))
            yield replace(case, fault=replace(idle(case.fault), budget=0.05))

        original, scenario = scenario.stage, replace(scenario, stage=stage)
    chosen = [one for one in scenario.variants if one.name == variant]
    session = FakeSession(faults=platform.faults, pipeline_backend=platform, tracking=platform)
    session.features = lambda: {"PipelineBackend": "fake"}  # type: ignore[method-assign]
    report = run([(scenario, chosen)], target=FakeTarget(session), stack=STACK, emit=lambda event: None)
    (result,) = report.scenarios
    (one,) = result.variants
    return one


CACHED, UNSET = kfp_backend.cached_run_is_gone, kfp_backend.tracking_uri_is_unset
TERMINATED, AWAY = kfp_backend.terminated_while_recording, kfp_backend.part_away_as_a_step_ends


@pytest.mark.parametrize(
    ("platform", "variant", "verdict"),
    [
        (Platform(again=False), "cached", Verdict.VULNERABLE),
        (Platform(), "uncached", Verdict.PROTECTED),
    ],
    ids=["answered from the cache", "trained again"],
)
def test_a_green_pipeline_whose_run_was_deleted_is_the_incident(
    platform: Platform, variant: str, verdict: Verdict
) -> None:
    result = played(CACHED, variant, platform)
    assert result.verdict is verdict, result.reason
    assert result.measured["runs_recorded"] == (verdict is Verdict.PROTECTED)
    assert {one["lifecycle_stage"] for one in platform.runs.values()} == {"active"}, "the deleted run is restored"


def test_a_cached_pipeline_that_is_red_without_the_run_protects() -> None:
    platform = Platform(again=False)
    start = platform.start

    def second_is_red(*given: Any, **named: Any) -> str:
        platform.green = not platform.started
        platform.log = f"RuntimeError: MLflow's run {FIRST} is deleted\n"
        return start(*given, **named)

    platform.start = second_is_red  # type: ignore[method-assign]
    assert played(CACHED, "required", platform).verdict is Verdict.PROTECTED


def test_a_first_run_that_records_nothing_shows_nothing() -> None:
    platform = Platform()
    platform.begun = False
    result = played(CACHED, "cached", platform)
    assert (result.verdict, "the first run recorded nothing" in result.reason) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize(
    ("recorded", "green", "verdict"),
    [(False, True, Verdict.VULNERABLE), (True, True, Verdict.PROTECTED), (False, False, Verdict.PROTECTED)],
    ids=["green without a run", "green with a run", "red"],
)
def test_a_green_step_without_a_tracking_uri_whose_run_nobody_has_is_the_incident(
    recorded: bool, green: bool, verdict: Verdict
) -> None:
    result = played(
        UNSET,
        "by-default",
        Platform(recorded=recorded, green=green, log="RuntimeError: MLFLOW_TRACKING_URI is not set\n"),
    )
    assert result.verdict is verdict, result.reason
    assert result.measured.get("step_error", "") == ("" if green else "RuntimeError: MLFLOW_TRACKING_URI is not set")


@pytest.mark.parametrize(("scenario", "variant"), [(CACHED, "cached"), (UNSET, "by-default")])
def test_a_pipeline_that_is_red_for_something_else_shows_nothing(scenario: Scenario, variant: str) -> None:
    platform = Platform(
        green=False, again=False, log="MemoryError: 7 GiB\nfailed to execute component: exit status 1\n"
    )
    result = played(scenario, variant, platform)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "its error: MemoryError: 7 GiB" in result.reason


def test_a_step_that_has_a_tracking_uri_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    original = UNSET.stage

    def stage(**given: Any) -> Any:
        case = next(original(**given))
        yield replace(case, fault=replace(case.fault, budget=0.05))

    result = played(replace(UNSET, stage=stage), "by-default", Platform(recorded=False, uri="http://mlflow"))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "no step without a tracking URI has a pod" in result.reason


@pytest.mark.parametrize(
    ("on_end", "variant", "verdict"),
    [
        ("RUNNING", "plain", Verdict.VULNERABLE),
        ("RUNNING", "handler", Verdict.VULNERABLE),
        ("KILLED", "handler", Verdict.PROTECTED),
        ("RUNNING", "swept", Verdict.PROTECTED),
    ],
)
def test_a_run_that_is_running_for_ever_is_the_incident(on_end: str, variant: str, verdict: Verdict) -> None:
    result = played(TERMINATED, variant, Platform(on_end=on_end))
    assert result.verdict is verdict, result.reason


@pytest.mark.parametrize(
    ("green", "on_end", "verdict"),
    [
        (False, "FINISHED", Verdict.VULNERABLE),
        (True, "FINISHED", Verdict.PROTECTED),
        (False, "FAILED", Verdict.INCONCLUSIVE),
    ],
    ids=["trained and red", "trained and green", "not trained"],
)
def test_a_red_pipeline_whose_training_finished_is_the_incident(green: bool, on_end: str, verdict: Verdict) -> None:
    platform = Platform(green=green, on_end=on_end, log="failed to execute component: Run not found")
    result = played(AWAY, "api-server-uncached", platform)
    assert result.verdict is verdict, result.reason
    assert ("failed to execute component" in result.reason) is False
    assert ("Run not found" in result.reason) is not green
    assert result.changed_objects == (f"patch {kfp_backend.API_SERVER}",)


def test_a_step_that_had_ended_before_its_part_was_away_shows_nothing() -> None:
    platform = Platform()
    begin = platform.start

    def over(*given: Any, **named: Any) -> str:
        started = begin(*given, **named)
        platform._end()
        return started

    platform.start = over  # type: ignore[method-assign]
    result = played(AWAY, "api-server-uncached", platform)
    assert (result.verdict, "had ended its MLflow run" in result.reason) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize(
    ("scenario", "variant"),
    [(CACHED, "cached"), (UNSET, "by-default"), (TERMINATED, "plain"), (AWAY, "api-server")],
)
def test_a_fault_that_silently_does_nothing_is_inconclusive(scenario: Scenario, variant: str) -> None:
    result = played(scenario, variant, Platform(), control=True)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "waiting for the fault to be verified" in result.reason


def test_every_plan_is_a_variant_s() -> None:
    for scenario, plans in (
        (CACHED, kfp_backend.CACHED),
        (UNSET, kfp_backend.UNSET),
        (TERMINATED, kfp_backend.TERMINATED),
        (AWAY, kfp_backend.ENDINGS),
    ):
        assert set(plans) == {variant.name for variant in scenario.variants}
