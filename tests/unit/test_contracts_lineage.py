"""How a change to a linked object is judged: only one that was read back counts, and it is reverted in every case."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trivet.contracts.lineage import _detected
from trivet.errors import CannotTell
from trivet.model.finding import Finding
from trivet.model.outcome import Outcome


class Run:
    """A run's stage, and how often it was restored."""

    def __init__(self) -> None:
        self.stage = "active"
        self.restored = 0

    def delete(self) -> None:
        self.stage = "deleted"

    def restore(self) -> None:
        self.stage = "active"
        self.restored += 1

    def problems(self) -> list[str]:
        return [] if self.stage == "active" else ["another problem", "run r1 is deleted"]


def judged(
    run: Run, verify: Callable[[], list[str]] | None = None, change: Callable[[], None] | None = None
) -> Finding:
    (finding,) = _detected(
        "the deleted run",
        "r1",
        verify=verify or run.problems,
        change=change or run.delete,
        revert=run.restore,
        reads="lifecycle_stage of run r1",
        read=lambda: run.stage,
        changed="deleted",
    )
    return finding


def test_a_change_that_verify_reports_is_detected_and_reverted() -> None:
    run = Run()
    found = judged(run)
    assert (found.outcome, found.message) == (Outcome.PASSED, "the deleted run is detected: run r1 is deleted")
    assert (run.stage, run.restored) == ("active", 1)


@pytest.mark.parametrize(("problem", "reported"), [([], "no problem"), (["run r2 is deleted"], "run r2 is deleted")])
def test_a_change_that_verify_does_not_report_is_not_detected_and_is_reverted(
    problem: list[str], reported: str
) -> None:
    run = Run()
    found = judged(run, verify=lambda: [] if run.stage == "active" else problem)
    assert found.outcome is Outcome.FAILED
    assert found.message == f"the deleted run is not detected: verify_link reports {reported}"
    assert (run.stage, run.restored) == ("active", 1)


def test_a_change_that_did_not_happen_is_inconclusive_and_is_not_reverted() -> None:
    run = Run()
    found = judged(run, change=lambda: None)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "lifecycle_stage of run r1 is 'active', expected 'deleted'" in found.message
    assert "tracking server" in found.remedy
    assert run.restored == 0


def test_a_change_to_something_else_is_inconclusive_and_is_reverted() -> None:
    run = Run()
    found = judged(run, change=lambda: setattr(run, "stage", "archived"))
    assert (found.outcome, run.restored) == (Outcome.INCONCLUSIVE, 1)
    assert "is 'archived', expected 'deleted'" in found.message


def test_a_link_that_did_not_hold_before_is_not_changed() -> None:
    run = Run()
    with pytest.raises(CannotTell, match="was inconsistent before the change: the version is gone"):
        judged(run, verify=lambda: ["the version is gone"])
    assert (run.stage, run.restored) == ("active", 0)


def test_a_change_is_reverted_when_verifying_it_breaks() -> None:
    run = Run()

    def verify() -> list[str]:
        if run.stage == "deleted":
            raise OSError("connection reset")
        return []

    with pytest.raises(OSError, match="connection reset"):
        judged(run, verify=verify)
    assert (run.stage, run.restored) == ("active", 1)
