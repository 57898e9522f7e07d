"""report.md: a report as GitHub's Markdown, for the summary of a job: the verdict, and a row for each contract that did not pass."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.outcome import Outcome
from trivet.model.report import ConformanceReport, ContractResult
from trivet.render.wording import (
    OUTCOME_WORDINGS,
    baseline_sentence,
    brief,
    code_span,
    counts,
    prose,
    reuse_sentence,
    seam_name,
    verdict_sentence,
    waiver_warnings,
    wording_of,
)

filename = "report.md"


def write(report: ConformanceReport) -> str:
    """The whole text. What is skipped is counted, and has no row."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: ConformanceReport) -> Iterator[str]:
    yield f"### {prose(verdict_sentence(report))}"
    yield ""
    yield from map(prose, filter(None, (counts(report), reuse_sentence(report), baseline_sentence(report))))
    yield from (f"- not judged: {prose(error.message)}" for error in report.errors)
    yield from (f"- warning: {prose(text)}" for text in waiver_warnings(report))
    shown = [one for one in report.contracts if one.outcome not in (Outcome.PASSED, Outcome.SKIPPED)]
    if shown:
        yield from ("", "| | contract | seam | reason | remedy |", "|---|---|---|---|---|")
    yield from map(_row, sorted(shown, key=lambda result: OUTCOME_WORDINGS.index(wording_of(result))))


def _row(result: ContractResult) -> str:
    wording = wording_of(result)
    cells = (
        f"{wording.symbol} {wording.word}",
        code_span(result.id),
        prose(seam_name(result.seam)),
        brief(result.reason),
        brief(result.remedy),
    )
    return f"| {' | '.join(cells)} |"
