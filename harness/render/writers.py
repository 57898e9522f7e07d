"""Writes reports to files: one in every registered format, and texts by their paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trivet.errors import UsageError
from trivet.model.report import ConformanceReport
from trivet.model.writer import Writer


def write_files(report: ConformanceReport, directory: Path, writers: Mapping[str, Writer]) -> list[Path]:
    """Write the file of every format to ``directory``, which is created if missing, and the report's documents to ``handover`` in it.

    Returns the files of the formats. Raises UsageError when writing fails.
    """
    written = []
    for writer in writers.values():
        written += write_texts({writer.filename: writer.write(report)}, directory)
    write_texts({f"handover/{name}": text for name, text in report.documents.items()}, directory)
    return written


def write_texts(texts: Mapping[str, str], directory: Path) -> list[Path]:
    """Write ``texts`` by their paths below ``directory``, which is created if missing. Raises UsageError when writing fails."""
    written = []
    try:
        for name, text in texts.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {str(directory)!r}: {error.strerror}",
            remedy="pass a writable directory with enough space",
        ) from error
    return written
