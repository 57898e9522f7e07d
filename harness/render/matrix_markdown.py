"""matrix.md: a matrix as GitHub's Markdown, for the summary of a job."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.matrix import MatrixReport
from trivet.render.matrix_table import blocked, short, table
from trivet.render.matrix_text import cost, sentence
from trivet.render.wording import brief, code_span, prose

filename = "matrix.md"


def write(report: MatrixReport) -> str:
    """The verdict as a heading, the table, and each contract that fails with the cells in which it does."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: MatrixReport) -> Iterator[str]:
    shown = table(report)
    yield f"### {prose(f'{report.base}: {sentence(report)}')}"
    yield from ("", prose(cost(report)), "")
    yield f"| {' | '.join(prose(one) for one in (shown.corner, *shown.columns))} |"
    yield f"|{'---|' * (1 + len(shown.columns))}"
    for name, cells in shown.rows:
        yield f"| {' | '.join((prose(name), *(prose(short(cell)) for cell in cells)))} |"
    found = blocked(report)
    if found:
        yield ""
    for identifier, by_reason in found.items():
        for (outcome, reason), failing in by_reason.items():
            names = ", ".join(cell.name for cell, _ in failing)
            yield f"- {code_span(identifier)} {outcome} in {prose(names)}: {brief(reason)}"
    if errors := [cell for cell in report.cells if cell.error]:
        yield from ("", *(f"- {prose(cell.name)}: {brief(cell.error)}" for cell in errors))
