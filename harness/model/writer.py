"""What a report writer is."""

from __future__ import annotations

from typing import Protocol

from trivet.model.report import ConformanceReport


class Writer(Protocol):
    """Turns a finished report into the text of one file, called ``filename`` below ``--report DIR``.

    Any object with these two names will do; trivet's own writers are modules.
    """

    filename: str

    def write(self, report: ConformanceReport) -> str:
        """The whole file, to be stored as UTF-8."""
