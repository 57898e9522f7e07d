"""Reading the logs of processes: which line says why one failed."""

from __future__ import annotations

import re


def first_exception(log: str) -> str:
    """The first exception in a log, in one line; without one, the last line with a word. Later exceptions are mostly consequences."""
    return exception_in(log) or next(
        (line.strip() for line in reversed(log.splitlines()) if re.search(r"\w", line)), ""
    )


def exception_in(log: str) -> str:
    """The first exception in a log, in one line; empty without one."""
    match = re.search(r"^\s*(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)(?:: .*)?$", log, re.MULTILINE)
    return str(match.group(0)).strip() if match else ""
