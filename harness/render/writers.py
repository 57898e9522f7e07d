"""Writing a report in every format that is registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trivet.errors import UsageError
from trivet.model.report import ConformanceReport
from trivet.model.writer import Writer


def write_files(report: ConformanceReport, directory: Path, writers: Mapping[str, Writer]) -> list[Path]:
    """Write every format's file below ``directory``, made if need be, and the report's documents below ``handover``.

    The answer names the formats' files. Raises UsageError when writing fails.
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
            remedy="name a writable directory with some room",
        ) from error
    return written
