"""A part of a session: made in a thread of the session's pool, at once or when it is first needed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Part(Generic[T]):
    """``submit`` makes the part: it is called once, by :meth:`start`."""

    def __init__(self, submit: Callable[[], Future[T]]) -> None:
        self._submit = submit
        self._future: Future[T] | None = None
        self._lock = threading.Lock()

    def start(self) -> Future[T]:
        """Begin to make the part, unless that has begun; does not wait."""
        with self._lock:
            if self._future is None:
                self._future = self._submit()
            return self._future

    @property
    def started(self) -> bool:
        """Whether somebody needed the part."""
        return self._future is not None

    @property
    def ended(self) -> bool:
        """Whether it has been made, or making it failed."""
        return self._future is not None and self._future.done()

    def result(self, timeout: float | None = None) -> T:
        """The part, waited for, at most ``timeout`` seconds. Raises the exception with which making it failed, and TimeoutError."""
        return self.start().result(timeout)


def start(*parts: Part[Any]) -> None:
    """Begin to make several parts side by side, before the first one is waited for."""
    for part in parts:
        part.start()


def result_or_none(part: Part[T]) -> T | None:
    """A part that somebody needed, waited for; None when nobody did, and when making it failed. Callers of its client get the reason."""
    if part.started:
        with contextlib.suppress(Exception):
            return part.result()
    return None
