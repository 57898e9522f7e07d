"""GitHub workflow commands of a matrix: what fails in cells, the cells that were not judged, and the verdict last."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.matrix import MatrixReport
from trivet.model.outcome import Outcome
from trivet.render.cases import Case, Weight, workflow_commands
from trivet.render.matrix_table import blocked
from trivet.render.matrix_text import sentence

filename = "github-annotations.txt"


def write(report: MatrixReport) -> str:
    """One command per line."""
    return workflow_commands(_cases(report), sentence(report), report.exit_code)


def _cases(report: MatrixReport) -> Iterator[Case]:
    """One for all cells in which a contract has the same outcome for the same reason: GitHub shows ten annotations of a step."""
    for identifier, found in blocked(report).items():
        for (outcome, reason), cells in found.items():
            names = ", ".join(cell.name for cell, _ in cells)
            weight = Weight.FAILED if outcome == Outcome.FAILED else Weight.INCONCLUSIVE
            yield Case(suite="cells", name=identifier, weight=weight, message=f"{outcome}: {reason}\nin {names}")
    for cell in report.cells:
        if cell.error:
            yield Case(suite="cells", name=cell.name, weight=Weight.INCONCLUSIVE, message=f"not judged: {cell.error}")
