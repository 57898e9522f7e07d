"""What a report writer is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from trivet.errors import UsageError
from trivet.model.report import ConformanceReport


class Writer(Protocol):
    """Turns a finished report into the text of one file, called ``filename`` below ``--report DIR``.

    Any object with these two names will do; trivet's own writers are modules.
    """

    filename: str

    def write(self, report: ConformanceReport) -> str:
        """The whole file, to be stored as UTF-8."""


def write_files(report: ConformanceReport, directory: Path, writers: Mapping[str, Writer]) -> list[Path]:
    """Write every format's file below ``directory``, made if need be. Raises UsageError when that cannot be done."""
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for writer in writers.values():
            path = directory / writer.filename
            path.write_text(writer.write(report), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {str(directory)!r}: {error.strerror}",
            remedy="name a writable directory with some room",
        ) from error
    return written
