"""fleet.md: a fleet as GitHub's Markdown, for the summary of a job."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.fleet import FleetReport, ModelVerdict
from trivet.render.fleet import MEANING, both, deciding, named, sentence, served_lines
from trivet.render.wording import brief, code_span, prose, waiver_warnings

filename = "fleet.md"

MOST = 200
"""Models and services in the table: a summary holds 1 MiB."""


def write(report: FleetReport) -> str:
    """The verdict as a heading, the number of models by verdict, and those that are not fine, worst first."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: FleetReport) -> Iterator[str]:
    yield f"### {prose(sentence(report))}"
    yield ""
    yield from (f"- {number:,} {verdict}: {MEANING[verdict]}" for verdict, number in report.verdicts.items() if number)
    yield from (f"- {line.strip()}" for line in served_lines(report))
    yield from (f"- error: {prose(error.message)}" for error in report.errors)
    yield from (f"- warning: {prose(text)}" for text in waiver_warnings(report))
    worst_first = list(ModelVerdict)
    shown = sorted(
        (one for one in report.members if one.verdict is not ModelVerdict.FINE or one.blocks is not ModelVerdict.FINE),
        key=lambda member: (worst_first.index(member.blocks), worst_first.index(member.verdict)),
    )
    if shown:
        yield from ("", "| model | verdict | reason |", "|---|---|---|")
    for member in shown[:MOST]:
        reasons = deciding(member)
        reason = reasons[0].message if reasons else MEANING[member.verdict]
        yield f"| {code_span(named(member))} | {both(member)} | {brief(reason)} |"
    if len(shown) > MOST:
        yield from ("", f"{len(shown) - MOST:,} more")
