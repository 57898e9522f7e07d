"""fleet.md: a fleet as GitHub's Markdown, for the summary of a job."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.fleet import FleetReport, ModelVerdict
from trivet.render.fleet import MEANING, named, sentence
from trivet.render.wording import brief, code_span, prose, waiver_warnings

filename = "fleet.md"

MOST = 200
"""Models in the table: a summary holds 1 MiB."""


def write(report: FleetReport) -> str:
    """The verdict as a heading, the number of models by verdict, and those that are not fine, worst first."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: FleetReport) -> Iterator[str]:
    yield f"### {prose(sentence(report))}"
    yield ""
    yield from (f"- {number:,} {verdict}: {MEANING[verdict]}" for verdict, number in report.verdicts.items() if number)
    yield from (f"- error: {prose(error.message)}" for error in report.errors)
    yield from (f"- warning: {prose(text)}" for text in waiver_warnings(report))
    shown = [
        model
        for verdict in ModelVerdict
        for model in report.models
        if model.verdict is verdict is not ModelVerdict.FINE
    ]
    if shown:
        yield from ("", "| model | verdict | reason |", "|---|---|---|")
    for model in shown[:MOST]:
        reason = model.reasons[0].message if model.reasons else MEANING[model.verdict]
        yield f"| {code_span(named(model))} | {model.verdict} | {brief(reason)} |"
    if len(shown) > MOST:
        yield from ("", f"{len(shown) - MOST:,} more")
