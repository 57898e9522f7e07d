"""The formats of a matrix, and its files."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from trivet.model.matrix import MatrixReport
from trivet.render import matrix_github, matrix_html, matrix_json, matrix_junit, matrix_markdown
from trivet.render.writers import write_texts

WRITERS: dict[str, ModuleType] = {
    "json": matrix_json,
    "junit": matrix_junit,
    "html": matrix_html,
    "markdown": matrix_markdown,
    "github": matrix_github,
}


def write_matrix(report: MatrixReport, directory: Path) -> list[Path]:
    """Write the file of every format to ``directory``. Raises UsageError when writing fails."""
    return write_texts({writer.filename: writer.write(report) for writer in WRITERS.values()}, directory)
