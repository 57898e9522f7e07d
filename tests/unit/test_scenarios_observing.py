"""What is read out of a service's status, its pods and their logs while a model does not load."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.scenario_session import good, watched

from trivet.model.scenario import Workload
from trivet.scenarios import _service_status
from trivet.scenarios._service_status import (
    ContainerFailure,
    container_failures,
    error_line,
    is_load_error,
    is_not_found,
    summarize_status,
)

LOG = "Loading\nTraceback (most recent call last):\nModuleNotFoundError: No module named '_loss'\nbye"


class FakePods:
    """Pods, and a log that says which of a container's lives it is of."""

    def __init__(self, *pods: dict[str, Any], before: str = "") -> None:
        self._pods = pods
        self._before = before

    def get(self, kind: str, *, selector: str) -> dict[str, Any]:
        assert (kind, selector) == ("pod", "serving.kserve.io/inferenceservice=one")
        return {"items": list(self._pods)}

    def log(self, pod: str, container: str, *, previous: bool) -> str:
        return self._before if previous else LOG if not self._before else "Loading"


def pod(container: str, exit_code: int, **metadata: Any) -> dict[str, Any]:
    ended = {"name": container, "state": {}, "lastState": {"terminated": {"exitCode": exit_code}}}
    return {"metadata": {"name": "p", **metadata}, "status": {"containerStatuses": [ended]}}


@pytest.mark.parametrize(
    ("pods", "named"),
    [
        ([], False),
        ([pod("kserve-container", 1)], True),
        ([pod("kserve-container", 0)], True),
        ([pod("storage-initializer", 0)], False),
        ([pod("queue-proxy", 1)], False),
        ([pod("kserve-container", 1, deletionTimestamp="2026-11-25T00:00:00Z")], False),
    ],
)
def test_the_cause_is_in_the_log_of_a_container_that_failed_and_is_not_terminating(
    pods: list[dict[str, Any]], named: bool
) -> None:
    causes = [str(one) for one in container_failures(FakePods(*pods), "one")]  # type: ignore[arg-type]

    assert causes == (["kserve-container: ModuleNotFoundError: No module named '_loss'"] if named else [])


def test_a_container_that_runs_again_has_its_cause_in_the_log_before() -> None:
    cluster = FakePods(pod("kserve-container", 1), before="OSError: no space")

    assert [str(one) for one in container_failures(cluster, "one")] == ["kserve-container: OSError: no space"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("container", "error", "refused"),
    [
        ("kserve-container", "ModuleNotFoundError: No module named '_loss'", True),
        ("kserve-container", "OOMKilled, exit status 137", False),
        (
            "kserve-container",
            "Worker with PID 12 on default inference pool stopped unexpectedly with exit code 9.",
            False,
        ),
        ("storage-initializer", "EndpointConnectionError: Could not connect to the endpoint URL", False),
    ],
)
def test_a_server_refused_a_model_that_it_had_and_had_memory_for(container: str, error: str, refused: bool) -> None:
    assert is_load_error(ContainerFailure(container=container, error=error)) is refused


@pytest.mark.parametrize(
    ("error", "not_found"),
    [
        ("RuntimeError: Failed to fetch model. No model found in 1/artifacts/model.", True),
        ('storage.initializer ERROR Could not connect to the endpoint URL: "http://store:7070/mlflow"', False),
        ("OOMKilled, exit status 137", False),
    ],
)
def test_a_model_is_not_found_only_where_it_was_looked_for(error: str, not_found: bool) -> None:
    assert is_not_found(ContainerFailure(container="storage-initializer", error=error)) is not_found


class FakeService(FakePods):
    """A service that gets ready at a look at it, while a pod has failed before."""

    def __init__(self, *pods: dict[str, Any], ready: int) -> None:
        super().__init__(*pods)
        self._looks = ready

    def get(self, kind: str, name: str = "", *, selector: str = "") -> dict[str, Any]:
        if kind == "pod":
            return super().get(kind, selector=selector)
        self._looks -= 1
        return {"status": {"conditions": [{"type": "Ready", "status": "False" if self._looks else "True"}]}}


def test_a_cause_that_does_not_count_does_not_end_the_wait_and_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_service_status, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: None))
    watch = watched(good, Workload(service="one", request={}), requests=0)
    hiccup = pod("storage-initializer", 1)

    def loaded(ready: int, **options: Any) -> _service_status.LoadResult:
        return _service_status.watch_loading(FakeService(hiccup, ready=ready), watch, "one", timeout=0.0, **options)  # type: ignore[arg-type]

    assert loaded(50, counts=is_load_error).ready_after is not None
    assert loaded(10_000).failure == ContainerFailure(
        container="storage-initializer", error="ModuleNotFoundError: No module named '_loss'"
    )
    watch.deadline = time.monotonic() + 5.05
    slow = loaded(10**9, counts=is_load_error)
    assert (slow.ready_after, slow.failure, slow.failed) == (None, None, False)
    assert "another error: storage-initializer: ModuleNotFoundError" in slow.message


class FickleService(FakePods):
    """A service that says at each look what ``states`` say in turn, the last one for ever."""

    def __init__(self, *states: tuple[str, str]) -> None:
        super().__init__()
        self._states = list(states)

    def get(self, kind: str, name: str = "", *, selector: str = "") -> dict[str, Any]:
        if kind == "pod":
            return super().get(kind, selector=selector)
        ready, transition = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        conditions = [{"type": "Ready", "status": ready}]
        return {"status": {"conditions": conditions, "modelStatus": {"transitionStatus": transition}}}


def test_a_failure_that_the_service_no_longer_reports_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_service_status, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: None))
    watch = watched(good, Workload(service="one", request={}), requests=0)
    blocked, going = ("Unknown", "BlockedByFailedLoad"), ("Unknown", "InProgress")

    def loaded(*states: tuple[str, str]) -> _service_status.LoadResult:
        watch.deadline = time.monotonic() + 5.05
        return _service_status.watch_loading(FickleService(*states), watch, "one")  # type: ignore[arg-type]

    up = loaded(blocked, going, ("True", "UpToDate"))
    assert (up.ready_after is not None, up.failed) == (True, False)
    assert "before that the InferenceService reported a failed load after 0 s and then withdrew it" in up.message
    assert not loaded(blocked, going).failed
    assert loaded(going, blocked).failed


def test_what_a_service_says_of_itself_is_one_line() -> None:
    status = {
        "conditions": [{"type": "Ready", "status": "False", "reason": "RevisionMissing"}],
        "modelStatus": {"transitionStatus": "InProgress", "lastFailureInfo": {"reason": "ModelLoadFailed"}},
    }

    assert summarize_status({"status": status}) == "Ready=False RevisionMissing InProgress ModelLoadFailed"
    assert summarize_status({}) == "Ready=unset"


def test_a_log_without_an_error_has_no_error_line() -> None:
    assert error_line("all is well\n") == ""


def test_a_line_that_calls_itself_an_error_is_the_error_line() -> None:
    line = (
        "storage.initializer ERROR [initializer-entrypoint:<module>():28] Storage initialization failed: No model found"
    )
    assert error_line(f"storage.initializer INFO Initializing\n{line}\n") == line


def test_a_bare_exception_is_an_error_line_too() -> None:
    line = "Exception: Cannot recognize storage type for models:/one/1"
    assert (
        error_line(
            f"Traceback (most recent call last):\n{line}\n'gs://', 's3://' are the current available storage type.\n"
        )
        == line
    )
