"""Waiting for a tool that may run for minutes, while the run may be stopped."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import AnyStr, Protocol

from trivet.errors import PlatformError

POLL = 0.2
"""Seconds between two checks of the stop flag."""


class StopFlag(Protocol):
    """What says that a run is being stopped: a ``threading.Event``, or ``trivet.host.signals.TERMINATING``."""

    def is_set(self) -> bool:
        """Whether to stop waiting."""


def wait_for_exit(
    process: subprocess.Popen[AnyStr],
    *,
    what: str,
    stop: StopFlag,
    timeout: float,
    remedy: str,
    end: Callable[[], object],
) -> tuple[AnyStr, AnyStr]:
    """Standard output and standard error of a tool, once it has exited by itself; None for each that is not a pipe.

    Raises PlatformError, in which ``what`` completes "cannot …", when ``stop`` is set, or when the tool still runs after ``timeout``
    seconds. On every exception, ``end`` is called first; it ends the tool.
    """
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                return process.communicate(timeout=POLL)
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    raise PlatformError(f"cannot {what}: the run is stopping") from None
                if time.monotonic() > deadline:
                    raise PlatformError(
                        f"cannot {what}: timed out after {timeout:.0f} s waiting for {_name(process)} to exit",
                        remedy=remedy,
                    ) from None
    except BaseException:
        end()
        raise


def _name(process: subprocess.Popen[AnyStr]) -> str:
    arguments = process.args
    first = arguments[0] if isinstance(arguments, Sequence) and not isinstance(arguments, str | bytes) else arguments
    return PurePath(str(first)).name
