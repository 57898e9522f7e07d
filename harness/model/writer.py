"""The protocol of a report writer."""

from __future__ import annotations

from typing import Protocol

from trivet.model.report import ConformanceReport


class Writer(Protocol):
    """Converts a report to the text of one file, ``filename`` in ``--report DIR``.

    Any object with these two attributes is a writer; trivet's own writers are modules.
    """

    filename: str

    def write(self, report: ConformanceReport) -> str:
        """The whole file, to be stored as UTF-8."""
