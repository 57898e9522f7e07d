"""Compares two verdicts on upgrades: their statements are compared as contracts of reports are (``trivet.engine.difference``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trivet.engine.difference import difference
from trivet.model.difference import ReportDifference
from trivet.model.finding import Finding
from trivet.model.outcome import Level, Outcome
from trivet.model.report import ConformanceReport, ContractResult, StackSummary
from trivet.model.verdict import Compatibility, UpgradeVerdict

ORDER = "a safe order"
_OUTCOMES = {
    Compatibility.COMPATIBLE: Outcome.PASSED,
    Compatibility.INCOMPATIBLE: Outcome.FAILED,
    Compatibility.UNKNOWN: Outcome.INCONCLUSIVE,
}
_OF_MODELS = {"breaks": Outcome.FAILED, "unknown": Outcome.INCONCLUSIVE}


def verdict_difference(old: UpgradeVerdict, new: UpgradeVerdict) -> ReportDifference:
    """What differs in ``new``.

    The order, the seams, files and models decide, as they do in a verdict; what breaks on the way is advice. What only one of the verdicts
    names did not fail in the other one, if that one judged it. It is inconclusive where only the new verdict is, or judged less.
    """
    sides = [{result.id: result for result in _statements(one)} for one in (old, new)]
    for one, side, other in zip((old, new), sides, reversed(sides), strict=True):
        side |= {
            name: _statement(name, result.seam, result.level, Outcome.PASSED, "not among what breaks")
            for name, result in other.items()
            if name not in side and _judges(one, result)
        }
    before, after = (_report(one, side) for one, side in zip((old, new), sides, strict=True))
    found = difference(before, after)
    return replace(found, unclear=(*found.unclear, *_unclear(old, new)))


def _unclear(old: UpgradeVerdict, new: UpgradeVerdict) -> Iterator[str]:
    """What the new verdict cannot tell, and the old one could."""
    for name in ("files", "models"):
        if getattr(old, name) is not None and getattr(new, name) is None:
            yield f"the old verdict judged {name}, and the new one did not"
    known = set(_reasons(old))
    yield from (reason for reason in dict.fromkeys(_reasons(new)) if reason not in known)


def _reasons(verdict: UpgradeVerdict) -> Iterator[str]:
    yield from verdict.unclear
    yield from verdict.files.unclear if verdict.files else ()
    yield from verdict.models.errors if verdict.models else ()


def _report(verdict: UpgradeVerdict, statements: dict[str, ContractResult]) -> ConformanceReport:
    return ConformanceReport(
        target=verdict.target,
        profile="verdict",
        stack=StackSummary(
            name=f"{verdict.old.name} → {verdict.new.name}",
            title="",
            digest=f"{verdict.old.digest} {verdict.new.digest}",
            components=verdict.new.components,
        ),
        contracts=tuple(statements.values()),
        provenance=verdict.provenance,
    )


def _judges(verdict: UpgradeVerdict, result: ContractResult) -> bool:
    """Whether a verdict would name this if it failed."""
    return {"files": verdict.files, "models": verdict.models}.get(result.seam[0], verdict) is not None


def _statements(verdict: UpgradeVerdict) -> Iterator[ContractResult]:
    order = Outcome.PASSED if verdict.order else Outcome.FAILED if verdict.blocked else Outcome.INCONCLUSIVE
    reason = (
        ", then ".join(verdict.order)
        or "; ".join(verdict.unclear)
        or "every order passes through a mix that is refused"
    )
    yield _statement(ORDER, ("order", ""), Level.MUST, order, reason)
    for one in verdict.incompatibilities:
        yield _statement(f"on the way: {one.contract}", one.seam, Level.SHOULD, Outcome.FAILED, one.reason, one.remedy)
    for mix in verdict.mixes:
        if mix.impossible:
            name = f"on the way: {' and '.join(mix.upgraded)} upgraded"
            yield _statement(name, ("mixes", ""), Level.SHOULD, Outcome.FAILED, mix.error)
    for seam in verdict.seams:
        name = f"seam {' → '.join(filter(None, seam.seam))}"
        yield _statement(name, seam.seam, Level.MUST, _OUTCOMES[seam.verdict], seam.reason or seam.verdict.value)
    for broken in verdict.files.breaks if verdict.files else ():
        places = "; ".join(map(str, broken.places)) or broken.reason
        yield _statement(f"files: {broken.contract}", ("files", ""), Level.MUST, Outcome.FAILED, places)
    for model in verdict.models.changes if verdict.models else ():
        outcome = _OF_MODELS.get(model.after, Outcome.PASSED)
        yield _statement(model.uri, ("models", ""), Level.MUST, outcome, model.reason or model.after)


def _statement(
    name: str, seam: tuple[str, str], level: Level, outcome: Outcome, reason: str, remedy: str = ""
) -> ContractResult:
    return ContractResult(
        id=name,
        title=name,
        level=level,
        seam=seam,
        outcome=outcome,
        reason=reason,
        rationale="",
        remedy=remedy,
        findings=(Finding(outcome=outcome, message=reason),),
    )
