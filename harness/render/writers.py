"""Writes a report in every registered format."""

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
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for writer in writers.values():
            path = directory / writer.filename
            path.write_text(writer.write(report), encoding="utf-8")
            written.append(path)
        for name, text in report.documents.items():
            path = directory / "handover" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {str(directory)!r}: {error.strerror}",
            remedy="pass a writable directory with enough space",
        ) from error
    return written
