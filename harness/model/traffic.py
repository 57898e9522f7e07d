"""Requests sent to a service over time, and slices of them around a mark: what losing no request is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one request.

    ``at`` is the time at which it was due (``time.monotonic``), and ``seconds`` counts from there, so that waiting for a stalled service
    is not hidden. ``status`` is 0, and ``error`` says why, when there was no answer at all.
    """

    at: float
    seconds: float
    status: int
    body: Any = None
    error: str = ""

    def __str__(self) -> str:
        said = self.error or (f"HTTP {self.status}: {str(self.body)[:160]}")
        return f"{said} after {self.seconds:.1f} s"


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Requests that were due at a steady rate, in the order in which they were due. ``marks`` are names of moments in the same time."""

    request: Mapping[str, Any]
    rate: float
    answers: Sequence[Answer]
    marks: Mapping[str, float]

    def between(self, begin: float, end: float) -> list[Answer]:
        """The answers to the requests that were due from ``begin`` to ``end``."""
        return [answer for answer in self.answers if begin <= answer.at <= end]
