"""GitHub workflow commands of a matrix: an annotation for each contract that fails in cells, and the verdict last."""

from __future__ import annotations

from trivet.model.matrix import MatrixReport
from trivet.render.github import annotation
from trivet.render.matrix_table import blocked
from trivet.render.matrix_text import sentence

filename = "github-annotations.txt"


def write(report: MatrixReport) -> str:
    """One command per line."""
    lines = []
    for identifier, found in blocked(report).items():
        for (outcome, reason), cells in found.items():
            names = ", ".join(cell.name for cell, _ in cells)
            lines.append(annotation("error", f"{identifier} {outcome}", f"{reason}\nin {names}", None))
    lines += [
        annotation("error", "trivet: not judged", f"{cell.name}: {cell.error}", None)
        for cell in report.cells
        if cell.error
    ]
    lines.append(annotation("error" if report.exit_code else "notice", "trivet", sentence(report), None))
    return "\n".join(lines) + "\n"
