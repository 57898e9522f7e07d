"""The summary of a report as text: one line per contract, a block for each that needs attention, the verdict last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len

from trivet.model.finding import Finding
from trivet.model.outcome import Outcome
from trivet.model.report import PREPARATION, VERDICTS, ConformanceReport, ContractResult
from trivet.render.layout import COLUMNS, STYLES, Line, Span, cut, entry, fit, line, pad, plain, telling, wrap
from trivet.render.wording import (
    NAMES,
    OUTCOME_WORDINGS,
    acceptances,
    baseline_sentence,
    by_seam,
    counts,
    exit_sentence,
    judged_text,
    reuse_sentence,
    seam_name,
    verdict_sentence,
    waiver_warnings,
    wording_of,
)

_OUTCOME = max(len(outcome) for outcome in Outcome)
_ID = 44
"""The maximum width of the column of ids."""
_REASON = 16
"""The minimum width of a useful reason."""
_REASON_LINES = 8
_SHARED_LINES = 24
"""The maximum of lines of a reason shared by many contracts: tools print the cause last, and it must not be cut."""


def summary(report: ConformanceReport) -> str:
    """The whole text, at most :data:`~trivet.render.layout.COLUMNS` wide, without control characters."""
    return plain(list(lines(report)))


def lines(report: ConformanceReport, columns: int = COLUMNS) -> Iterator[Line]:
    """The lines of the summary for a terminal of ``columns``."""
    yield from _header(report, columns)
    width = min(_ID, max((len(result.id) for result in report.contracts), default=0))
    for seam, results in by_seam(report).items():
        yield line()
        yield line(Span(fit(seam_name(seam), columns), "bold"))
        for result in results:
            yield _overview(result, width, columns)
    ranked = sorted(report.contracts, key=lambda result: OUTCOME_WORDINGS.index(wording_of(result)))
    for block in _blocks(result for result in ranked if result.outcome is not Outcome.PASSED):
        yield line()
        yield from _block(block[0], columns) if len(block) == 1 else _shared_block(block, columns)
    yield line()
    yield line(Span("─" * columns, "dim"))
    for error in report.errors:
        yield from (line(Span(text, "bold yellow")) for text in wrap(error.message, columns))
    for warning in waiver_warnings(report):
        yield from (line(Span(text, "yellow")) for text in wrap(f"warning: {warning}", columns))
    yield from (line(text) for text in wrap(baseline_sentence(report), columns))
    yield from (line(text) for text in wrap(counts(report), columns))
    yield from (line(text) for text in wrap(reuse_sentence(report), columns))
    style = ("bold green", "bold red", "bold yellow")[VERDICTS.index(report.verdict)]
    yield from (line(Span(text, style)) for text in wrap(verdict_sentence(report), columns))
    yield line(Span(exit_sentence(report), "dim"))


def _header(report: ConformanceReport, columns: int) -> Iterator[Line]:
    stack = report.stack
    name = fit(stack.name, columns // 2)
    yield line(Span(name, "bold"), "  ", fit(stack.title, columns - cell_len(name) - 2))
    components = " · ".join(f"{NAMES.get(key, key)} {version}" for key, version in stack.components.items())
    yield from (line(text) for text in wrap(components, columns))
    if report.detected:
        found = [fact for fact in report.detected if fact.value]
        declared = [name for name in stack.components if name not in {fact.name for fact in found}]
        stated = " · ".join(f"{NAMES.get(fact.name, fact.name)} {fact.value}" for fact in found)
        rest = f"; declared only: {', '.join(NAMES.get(name, name) for name in declared)}" if declared else ""
        yield from (line(Span(text, "dim")) for text in wrap(f"detected {stated or 'nothing'}{rest}", columns))
    where = (
        f"target {report.target} · profile {report.profile} · {report.provenance.seconds:.1f} s · {stack.digest[:19]}"
    )
    yield line(Span(fit(where, columns), "dim"))
    if preparation := report.handover.get(PREPARATION):
        yield from (line(Span(text, "dim")) for text in wrap(f"cluster {preparation}", columns))


def _word(result: ContractResult) -> Span:
    return Span(pad(result.outcome.value, _OUTCOME), STYLES[wording_of(result).name])


def _overview(result: ContractResult, width: int, columns: int) -> Line:
    name = fit(result.id, columns - _OUTCOME - 4)
    room = columns - _OUTCOME - max(width, cell_len(name)) - 6
    if result.outcome is Outcome.PASSED or room < _REASON:
        return line("  ", _word(result), "  ", name)
    shown = wording_of(result).name
    aside = f"{shown}: " if shown in ("advice", "accepted") else ""
    return line("  ", _word(result), "  ", pad(name, width), "  ", Span(fit(aside + result.reason, room), "dim"))


def _blocks(results: Iterable[ContractResult]) -> list[list[ContractResult]]:
    """A block per contract, but one for all contracts that are inconclusive for the same reason and do, or do not, fail for it."""
    blocks: dict[tuple[str, ...], list[ContractResult]] = {}
    for result in results:
        key = ("", result.reason, str(result.accepted)) if result.outcome is Outcome.INCONCLUSIVE else (result.id,)
        blocks.setdefault(key, []).append(result)
    return list(blocks.values())


def _shared_block(results: Sequence[ContractResult], columns: int) -> Iterator[Line]:
    head = f"{len(results)} contracts for the same reason"
    yield line(_word(results[0]), "  ", Span(head, "bold"))
    yield from entry("reason", results[0].reason, columns=columns, most=_SHARED_LINES)
    if len({result.remedy for result in results}) == 1:
        yield from entry("remedy", results[0].remedy, columns=columns, most=_REASON_LINES)
    yield from entry("contracts", ", ".join(result.id for result in results), columns=columns)


def _block(result: ContractResult, columns: int) -> Iterator[Line]:
    shown = wording_of(result).name
    level = f"{result.level} ({shown})" if shown in ("advice", "accepted") else result.level.value
    head = fit(f"{result.id} · {seam_name(result.seam)} · {level}", columns - _OUTCOME - 2)
    yield line(Span(result.outcome.value, STYLES[wording_of(result).name]), "  ", Span(head, "bold"))
    yield from (line("  ", text) for text in wrap(result.title, columns - 2))
    yield from entry("reason", result.reason, columns=columns, most=_REASON_LINES)
    yield from entry("judged", judged_text(result), columns=columns)
    if result.outcome is Outcome.SKIPPED:
        return
    for number, text in enumerate(acceptances(result)[:3]):
        yield from entry("" if number else "known", text, columns=columns, most=3)
    found = [finding for finding in result.findings if finding.outcome is result.outcome]
    found.sort(key=lambda finding: finding.accepted)
    for finding in found[:1]:
        yield from _place(finding, columns)
    for finding in found[1:4]:
        where = f" ({finding.location})" if finding.location and str(finding.location) else ""
        yield from entry("also", f"{finding.message}{where}", columns=columns, most=3)
    if len(found) > 4:
        yield from entry("also", f"{len(found) - 4} more; see the report", columns=columns)
    yield from entry("remedy", result.remedy, columns=columns, most=_REASON_LINES)
    for finding in found[:1]:
        yield from _evidence(finding, columns)


def _place(finding: Finding, columns: int) -> Iterator[Line]:
    if finding.location:
        yield from entry("where", str(finding.location), columns=columns, most=2)


def _evidence(finding: Finding, columns: int) -> Iterator[Line]:
    for item in finding.evidence[:1]:
        yield from entry("evidence", item.name, columns=columns, most=1)
        for text in telling(item.text, finding.message):
            yield line(" " * 12, Span(f"│ {cut(text, columns - 14)}", "dim"))
