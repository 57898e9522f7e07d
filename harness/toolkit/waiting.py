"""Waiting: one loop for everything that becomes so after a while, with one message for what did not in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from trivet.errors import CannotTell, PlatformError, TrivetError

T = TypeVar("T")

POLL = 0.5
"""Seconds between two looks."""


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
    """The first answer of ``look`` of which ``until`` is true; None is never one.

    After ``timeout`` seconds raises ``raises``: "timed out after 45 s waiting for InferenceService x to be Ready: last seen …", where
    ``what`` completes "waiting for" and ``describe`` words the last answer, None included (a text describes itself). An error among
    ``tolerate`` counts as "not yet"; where it comes last it is in the message too, and its cause. Looks once at least, then every ``poll``
    seconds (default: POLL). Raises PlatformError at once when ``stop`` is set.
    """
    deadline = time.monotonic() + timeout
    while True:
        found: T | None = None
        trouble: TrivetError | None = None
        try:
            found = look()
        except tolerate as error:
            trouble = error
        if found is not None and until(found):
            return found
        if time.monotonic() > deadline:
            seen = [one for one in (_described(found, describe), trouble.message if trouble else "") if one]
            text = "\n".join(seen) if any("\n" in one for one in seen) else "; ".join(seen)
            raise raises(
                f"timed out after {_seconds(timeout)} s waiting for {what}" + (f": last seen {text}" if text else ""),
                remedy=remedy,
            ) from trouble
        _pause(what, poll, stop)


def last_answer(
    look: Callable[[], T],
    *,
    until: Callable[[T], object],
    timeout: float,
    poll: float | None = None,
    stop: Event | None = None,
) -> T:
    """What ``look`` answers last: the first answer of which ``until`` is true, or the one when ``timeout`` seconds are over.

    For a caller that judges the last answer. Raises PlatformError at once when ``stop`` is set.
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
