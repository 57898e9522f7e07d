"""Waiting for a tool that may take long, for as long as the run goes on."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from trivet.errors import PlatformError

ENDING = threading.Event()
"""Set while a signal that asked this process to end unwinds it: what waits for a tool in another thread gives up."""

POLL = 0.2
"""Seconds after which the end of the run is noticed."""

Ended = TypeVar("Ended")


def ended(
    wait: Callable[..., Ended], *, what: str, tool: str, stop: threading.Event, seconds: float, remedy: str
) -> Ended:
    """What ``wait`` gives once the tool has ended by itself: its process's ``wait`` or ``communicate``, which take a ``timeout``.

    Raises PlatformError, in which ``what`` completes "could not …", when ``stop`` is set or the tool is still at it after ``seconds``.
    Ending the tool is left to the caller.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return wait(timeout=POLL)
        except subprocess.TimeoutExpired:
            if stop.is_set():
                raise PlatformError(f"could not {what}: the run is ending") from None
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"could not {what}: {tool} was still at it after {seconds:.0f} s", remedy=remedy
                ) from None
