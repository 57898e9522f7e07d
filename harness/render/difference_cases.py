"""The difference of two reports as cases: one for each contract that differs."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.difference import ChangeKind, ContractChange, ReportDifference
from trivet.render.cases import Case, Weight

_ADVICE = (ChangeKind.NEWLY_FAILED, ChangeKind.NEWLY_INCONCLUSIVE, ChangeKind.OTHER_REASON, ChangeKind.ADDED)


def cases(difference: ReportDifference) -> Iterator[Case]:
    """What newly failed decides; what else got worse is advice; what makes it inconclusive is a case of its own."""
    for change in difference.contracts:
        findings = "; ".join(
            f"{one.location}: {one.message}" if one.location else one.message for one in change.appeared
        )
        yield Case(
            suite=change.kind.value, name=change.id, weight=_weight(change), message=findings or change.reason_after
        )
    for reason in difference.unclear:
        yield Case(suite="verdict", name="verdict", weight=Weight.INCONCLUSIVE, message=reason)
    if not difference.contracts and not difference.unclear:
        yield Case(suite="verdict", name="no contract differs")


def _weight(change: ContractChange) -> Weight:
    if change.kind is ChangeKind.NEWLY_FAILED and change.blocks:
        return Weight.FAILED
    worse = change.kind in _ADVICE and change.after is not None and change.after.deviates
    return Weight.ADVICE if worse else Weight.PASSED
