"""Polls a condition until it is met or times out; the error of a timeout says what was awaited and what was seen last."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from trivet.errors import CannotTell, PlatformError, TrivetError

T = TypeVar("T")

POLL = 0.5
"""Seconds between two polls."""


def eventually(
    what: str,
    look: Callable[[], T | None],
    *,
    timeout: float,
    until: Callable[[T], object] = bool,
    describe: Callable[[T | None], str] | None = None,
    tolerate: type[TrivetError] | tuple[type[TrivetError], ...] = (),
    raises: type[TrivetError] = CannotTell,
    remedy: str = "",
    poll: float | None = None,
    stop: Event | None = None,
) -> T:
    """Poll ``look`` until ``until`` is true of its result, and return that result; None never counts as one.

    ``look`` is called at least once, then every ``poll`` seconds (default: POLL). After ``timeout`` seconds raises ``raises``: "timed out
    after 45 s waiting for InferenceService x to be Ready: last seen …". ``what`` completes "waiting for"; ``describe`` gives the text of
    the last result, which may be None (by default a string is its own text, and other results have none). An error in ``tolerate`` counts
    as a result of None; when the last poll raised one, it is in the message too, and its cause. Raises PlatformError at once when ``stop``
    is set.
    """
    deadline = time.monotonic() + timeout
    while True:
        found: T | None = None
        failure: TrivetError | None = None
        try:
            found = look()
        except tolerate as error:
            failure = error
        if found is not None and until(found):
            return found
        if time.monotonic() > deadline:
            seen = [one for one in (_described(found, describe), failure.message if failure else "") if one]
            text = "\n".join(seen) if any("\n" in one for one in seen) else "; ".join(seen)
            raise raises(
                f"timed out after {_seconds(timeout)} s waiting for {what}" + (f": last seen {text}" if text else ""),
                remedy=remedy,
            ) from failure
        _pause(what, poll, stop)


def last_answer(
    look: Callable[[], T],
    *,
    until: Callable[[T], object],
    timeout: float,
    poll: float | None = None,
    stop: Event | None = None,
) -> T:
    """Poll ``look`` until ``until`` is true of its result or ``timeout`` seconds have passed, and return the last result in both cases.

    For a caller that judges the last result. Raises PlatformError at once when ``stop`` is set.
    """
    deadline = time.monotonic() + timeout
    while not until(found := look()) and time.monotonic() <= deadline:
        _pause("a condition", poll, stop)
    return found


def _pause(what: str, poll: float | None, stop: Event | None) -> None:
    seconds = POLL if poll is None else poll
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise PlatformError(f"the session ended while waiting for {what}")


def _described(found: T | None, describe: Callable[[T | None], str] | None) -> str:
    if describe is None:
        return found if isinstance(found, str) else ""
    try:
        return describe(found)
    except TrivetError as error:
        return error.message


def _seconds(timeout: float) -> str:
    return f"{timeout:.0f}" if timeout >= 10 else f"{max(0.0, timeout):.2g}"
