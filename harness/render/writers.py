"""What a report writer is."""

from __future__ import annotations

from typing import Protocol

from trivet.model.report import ConformanceReport


class Writer(Protocol):
    """Turns a finished report into the text of one file, called ``filename`` below ``--report DIR``."""

    filename: str

    def write(self, report: ConformanceReport) -> str:
        """The whole file."""
