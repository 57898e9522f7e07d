"""Compares two conformance reports: what newly failed, newly passed, fails for another reason, and what the platforms gained and lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from trivet.errors import UsageError
from trivet.model.difference import (
    ChangeKind,
    ComponentChange,
    ContractChange,
    FindingText,
    ReportDifference,
    ReportSummary,
)
from trivet.model.finding import Finding
from trivet.model.fingerprint import fingerprint, place_of
from trivet.model.outcome import Level, Outcome
from trivet.model.report import STATIC, ConformanceReport, ContractResult

JUDGED = (Outcome.PASSED, Outcome.FAILED)
NOT_OBSERVED = ("the target lacks the feature ", " does not offer the client ")
"""Words of the reasons for which a contract is SKIPPED although it applies (``trivet.model.feature.lacking``,
``trivet.engine.run.not_offered``)."""

_SHOWN = 20
"""The findings of one contract that a difference names."""


def difference(old: ConformanceReport, new: ConformanceReport) -> ReportDifference:
    """What differs in ``new``. Raises UsageError when one is a report of lint and the other of a run."""
    if (old.target == STATIC) is not (new.target == STATIC):
        raise UsageError(
            f"one is the report of lint and the other of a run: the targets are {old.target} and {new.target}",
            remedy="compare two reports of runs, or two of lint",
        )
    before = {result.id: result for result in old.contracts}
    after = {result.id: result for result in new.contracts}
    changes = [
        change for name in {**after, **before} if (change := _change(before.get(name), after.get(name))) is not None
    ]
    sides = _summary(old), _summary(new)
    gained, lost = _gained(old, new), _gained(new, old)
    if not all(side.measured for side in sides):
        gained, lost = {}, {}
    order = list(ChangeKind)
    changes.sort(key=lambda change: (order.index(change.kind), not change.blocks))
    return ReportDifference(
        old=sides[0],
        new=sides[1],
        contracts=tuple(changes),
        unchanged=len({**after, **before}) - len(changes),
        components=tuple(_components(old.stack.components, new.stack.components)),
        features_gained=gained,
        features_lost=lost,
        unclear=tuple(_unclear(old, new, changes)),
    )


def _summary(report: ConformanceReport) -> ReportSummary:
    return ReportSummary(
        stack=report.stack.name,
        digest=report.stack.digest,
        target=report.target,
        profile=report.profile,
        trivet=report.provenance.trivet,
        started=report.provenance.started,
        verdict=report.verdict,
        contracts=len(report.contracts),
        measured=not report.contracts or any(result.reused is None for result in report.contracts),
    )


def _gained(old: ConformanceReport, new: ConformanceReport) -> dict[str, str]:
    return {name: how for name, how in new.features.items() if name not in old.features}


def _components(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[ComponentChange]:
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield ComponentChange(name=name, before=old.get(name), after=new.get(name))


def _unclear(old: ConformanceReport, new: ConformanceReport, changes: Iterable[ContractChange]) -> Iterator[str]:
    for name, report in (("old", old), ("new", new)):
        if not any(result.outcome in JUDGED for result in report.contracts):
            yield f"the {name} report has no contract that was judged"
    known = {error.message for error in old.errors}
    yield from (f"not judged in the new report: {error.message}" for error in new.errors if error.message not in known)
    for change in changes:
        if change.kind is ChangeKind.NEWLY_INCONCLUSIVE and change.blocks:
            yield f"{change.id} is {change.after}: {change.reason_after}"
        elif change.level is Level.MUST and change.before in JUDGED:
            if change.kind is ChangeKind.REMOVED:
                yield f"{change.id} was {change.before}, and is missing in the new report"
            elif change.kind is ChangeKind.NO_LONGER_JUDGED and any(one in change.reason_after for one in NOT_OBSERVED):
                yield f"{change.id} was {change.before}, and is no longer judged: {change.reason_after}"


def _change(before: ContractResult | None, after: ContractResult | None) -> ContractChange | None:
    kind = _kind(before, after)
    appeared: Sequence[Finding] = ()
    gone: Sequence[Finding] = ()
    if kind is None and before and after and after.outcome.deviates:
        kind, appeared, gone = _findings_differ(before, after)
    if kind is None:
        return None
    one = after or before
    assert one is not None
    return ContractChange(
        kind=kind,
        id=one.id,
        title=one.title,
        level=one.level,
        before=before.outcome if before else None,
        after=after.outcome if after else None,
        reason_before=before.reason if before else "",
        reason_after=after.reason if after else "",
        blocks=bool(after and after.blocks),
        appeared=tuple(map(_text, appeared[:_SHOWN])),
        gone=tuple(map(_text, gone[:_SHOWN])),
    )


def _state(result: ContractResult) -> str:
    """What a result says: an outcome, where INCONCLUSIVE and ERROR say the same, or that its deviations are accepted."""
    if result.accepted:
        return "accepted"
    return Outcome.INCONCLUSIVE if result.outcome is Outcome.ERROR else result.outcome


_KINDS: Mapping[str, ChangeKind] = {
    Outcome.FAILED: ChangeKind.NEWLY_FAILED,
    Outcome.INCONCLUSIVE: ChangeKind.NEWLY_INCONCLUSIVE,
    "accepted": ChangeKind.NEWLY_ACCEPTED,
    Outcome.PASSED: ChangeKind.NEWLY_PASSED,
    Outcome.SKIPPED: ChangeKind.NO_LONGER_JUDGED,
}
"""How a contract differs by what its new result says."""


def _kind(before: ContractResult | None, after: ContractResult | None) -> ChangeKind | None:
    """How the results differ as a whole; None when they say the same."""
    if after is None:
        return ChangeKind.REMOVED
    if before is None:
        return _KINDS[_state(after)] if after.outcome.deviates else ChangeKind.ADDED
    return None if _state(before) == _state(after) else _KINDS[_state(after)]


def _findings_differ(
    before: ContractResult, after: ContractResult
) -> tuple[ChangeKind | None, list[Finding], list[Finding]]:
    """How the deviations of two results that say the same differ, and those that only one of them has."""
    appeared = _without(_deciding(after), _deciding(before), after.id)
    gone = _without(_deciding(before), _deciding(after), after.id)
    more = Counter(map(place_of, appeared)) - Counter(map(place_of, gone))
    if more:
        return _KINDS[_state(after)], appeared, gone
    if appeared:
        return ChangeKind.OTHER_REASON, appeared, gone
    return (ChangeKind.FEWER_FINDINGS if gone else None), appeared, gone


def _deciding(result: ContractResult) -> list[Finding]:
    """The findings that decide a result that deviates."""
    deviating = [one for one in result.findings if one.outcome.deviates and one.accepted is result.accepted]
    failed = [one for one in deviating if one.outcome is Outcome.FAILED]
    return failed or deviating


def _without(findings: Iterable[Finding], others: Iterable[Finding], contract: str) -> list[Finding]:
    """``findings`` without those that ``others`` have as often."""
    left = Counter(fingerprint(contract, one) for one in others)
    missing = []
    for one in findings:
        key = fingerprint(contract, one)
        if left[key] > 0:
            left[key] -= 1
        else:
            missing.append(one)
    return missing


def _text(finding: Finding) -> FindingText:
    return FindingText(message=finding.message, location=str(finding.location or ""))
