"""One limit of time for a whole call over HTTP, and the pause that a server asks for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

Answer = TypeVar("Answer")


def within(seconds: float, ask: Callable[[], Answer]) -> Answer | None:
    """What ``ask`` returns or raises within ``seconds``, else None: requests limits single reads, not the whole of an answer."""
    answered: list[Answer] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            answered.append(ask())
        except BaseException as error:
            failed.append(error)

    asking = threading.Thread(target=run, daemon=True, name="a request with a deadline")
    asking.start()
    asking.join(max(seconds, 0.0))
    if failed:
        raise failed[0]
    return answered[0] if answered else None


def retry_after(header: str) -> float:
    """The seconds that a ``Retry-After`` header asks for, as a number or as a date; 0 without one."""
    if header.strip().isdigit():
        return float(header)
    try:
        return max(parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return 0.0
