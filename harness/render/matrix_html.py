"""matrix.html: the matrix as a table that is read at a glance, each cell linked to its evidence. One page without network requests."""

from __future__ import annotations

from trivet.model.matrix import MatrixReport
from trivet.render.matrix_table import blocked, short, table
from trivet.render.matrix_text import cost, sentence
from trivet.render.page import environment
from trivet.render.wording import EXIT_MEANING, NAMES, wording

filename = "matrix.html"


def write(report: MatrixReport) -> str:
    """The whole page. All text of the report is escaped."""
    page = environment().get_template("matrix.html.j2")
    return (
        page.render(
            report=report,
            table=table(report),
            blocked=blocked(report),
            short=short,
            wording=wording,
            names=NAMES,
            moods=("passed", "failed", "inconclusive", "inconclusive"),
            sentence=sentence(report),
            cost=cost(report),
            meaning=EXIT_MEANING[report.exit_code],
        )
        + "\n"
    )
