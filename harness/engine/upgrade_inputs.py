"""What an upgrade does to the user's own files and registered models: judged by the old stack, the new one, and those on the way.

Judges by the functions of lint and of fleet that it is given, and starts nothing.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trivet.engine.difference import difference
from trivet.engine.fleet import Selection
from trivet.engine.lint import LintResult
from trivet.model.difference import ChangeKind, ContractChange
from trivet.model.finding import Finding, Location
from trivet.model.fleet import FleetReport, JudgedModel, ModelVerdict
from trivet.model.outcome import Outcome
from trivet.model.report import ConformanceReport
from trivet.model.stack import Stack
from trivet.model.verdict import FileBreak, FilePlace, FilesVerdict, ModelChange, ModelsVerdict

PLACES = 20
"""The places of one contract that a verdict names."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stack on the way, and the step that leads to it; empty for the new stack where no order is known."""

    step: str
    stack: Stack


def judge_files(
    lint: Callable[[Stack], LintResult], paths: Sequence[str], old: Stack, stages: Sequence[Stage]
) -> FilesVerdict:
    """What newly fails in the files, by the first of ``stages`` in which it does; the last of them is the new stack."""
    before = lint(old)
    reports = [lint(stage.stack) for stage in stages]
    changes = [_newly_failed(before.report, one.report) for one in reports]
    breaks: dict[str, FileBreak] = {}
    for stage, result, failing in zip(stages, reports, changes, strict=True):
        for change in failing:
            if change.id not in breaks:
                breaks[change.id] = FileBreak(
                    contract=change.id,
                    title=change.title,
                    step=stage.step,
                    reason=change.reason_after,
                    places=tuple(_places(change, result.report)),
                    lasting=any(change.id == one.id for one in changes[-1]),
                )
    unclear = [f"{', '.join(paths)}: {one}" for one in difference(before.report, reports[-1].report).unclear]
    unclear += [error.message for error in before.errors]
    return FilesVerdict(
        paths=tuple(paths),
        seen=dict(before.counts),
        breaks=tuple(breaks.values()),
        failing_before=tuple(one.id for one in before.report.contracts if one.blocks and one.outcome is Outcome.FAILED),
        unclear=tuple(dict.fromkeys(unclear)),
    )


def _newly_failed(before: ConformanceReport, after: ConformanceReport) -> list[ContractChange]:
    return [
        change
        for change in difference(before, after).contracts
        if change.kind is ChangeKind.NEWLY_FAILED and change.blocks
    ]


def _places(change: ContractChange, report: ConformanceReport) -> list[FilePlace]:
    """The failing findings of a contract; of one that failed before too, those that are new."""
    findings: Sequence[Finding] = next(one.findings for one in report.contracts if one.id == change.id)
    failed = [one for one in findings if one.outcome is Outcome.FAILED and not one.accepted]
    if change.appeared:
        new = {(one.location, one.message) for one in change.appeared}
        failed = [one for one in failed if (str(one.location or ""), one.message) in new]
    return [FilePlace(location=one.location or Location(), message=one.message) for one in failed[:PLACES]]


def judge_models(
    fleet: Callable[[Stack, Selection], FleetReport], server: str, old: Stack, stages: Sequence[Stage]
) -> ModelsVerdict:
    """The registered models whose verdict differs in the last of ``stages``; for those that break there, the first one in which they do."""
    before, after = fleet(old, Selection()), fleet(stages[-1].stack, Selection())
    known = {model.uri: model for model in before.models}
    changed = [
        (known[one.uri], one) for one in after.models if one.uri in known and known[one.uri].blocks is not one.blocks
    ]
    broken = [one for _, one in changed if one.blocks is ModelVerdict.BREAKS]
    steps = dict(_first_broken(fleet, broken, stages))
    errors = [error.message for report in (before, after) for error in report.errors]
    if not after.models:
        errors.append(f"no registered version at {server}")
    return ModelsVerdict(
        server=after.server,
        before=_counts(before),
        after=_counts(after),
        changes=tuple(_change(*pair, steps) for pair in changed),
        errors=tuple(dict.fromkeys(errors)),
    )


def _first_broken(
    fleet: Callable[[Stack, Selection], FleetReport], broken: Sequence[JudgedModel], stages: Sequence[Stage]
) -> Iterator[tuple[str, str]]:
    left = {one.uri: one.name for one in broken}
    for stage in stages[:-1]:
        if not left:
            return
        names = tuple(sorted({glob.escape(name) for name in left.values()}))
        for model in fleet(stage.stack, Selection(models=names)).models:
            if model.uri in left and model.blocks is ModelVerdict.BREAKS:
                del left[model.uri]
                yield model.uri, stage.step
    yield from ((uri, stages[-1].step) for uri in left)


def _change(before: JudgedModel, after: JudgedModel, steps: Mapping[str, str]) -> ModelChange:
    reason = after.reasons[0] if after.reasons else None
    return ModelChange(
        uri=after.uri,
        before=before.blocks.value,
        after=after.blocks.value,
        contract=reason.contract if reason else "",
        reason=reason.message if reason else "",
        step=steps.get(after.uri, ""),
    )


def _counts(report: FleetReport) -> dict[str, int]:
    return {verdict.value: number for verdict, number in report.verdicts.items()}
