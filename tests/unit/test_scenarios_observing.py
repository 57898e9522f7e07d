"""What is read out of a service's status, its pods and their logs while a model does not load."""

from __future__ import annotations

from typing import Any

import pytest

from trivet.scenarios.observing import cause_of_failure, said, telling

LOG = "Loading\nTraceback (most recent call last):\nModuleNotFoundError: No module named '_loss'\nbye"


class PaperPods:
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
def test_the_cause_is_in_the_log_of_a_container_that_failed_and_is_not_on_its_way_out(
    pods: list[dict[str, Any]], named: bool
) -> None:
    told = cause_of_failure(PaperPods(*pods), "one")  # type: ignore[arg-type]

    assert told == ("kserve-container: ModuleNotFoundError: No module named '_loss'" if named else "")


def test_a_container_that_runs_again_has_its_cause_in_the_log_before() -> None:
    cluster = PaperPods(pod("kserve-container", 1), before="OSError: no space")

    assert cause_of_failure(cluster, "one") == "kserve-container: OSError: no space"  # type: ignore[arg-type]


def test_what_a_service_says_of_itself_is_one_line() -> None:
    status = {
        "conditions": [{"type": "Ready", "status": "False", "reason": "RevisionMissing"}],
        "modelStatus": {"transitionStatus": "InProgress", "lastFailureInfo": {"reason": "ModelLoadFailed"}},
    }

    assert said({"status": status}) == "Ready=False RevisionMissing InProgress ModelLoadFailed"
    assert said({}) == "Ready=unsaid"


def test_a_log_without_an_error_tells_nothing() -> None:
    assert telling("all is well\n") == ""


def test_a_bare_exception_is_told_too() -> None:
    said = "Exception: Cannot recognize storage type for models:/one/1"
    assert (
        telling(
            f"Traceback (most recent call last):\n{said}\n'gs://', 's3://' are the current available storage type.\n"
        )
        == said
    )
