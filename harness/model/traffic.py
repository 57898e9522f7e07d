"""Requests sent to a service over time, with marks: the data for judging whether a request was lost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

QUOTED = 160
"""Maximum number of characters quoted from a body, truncated at a word."""
VALUES = 5
"""Maximum number of values quoted from an output."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of one request.

    ``at`` is the time at which it was due (``time.monotonic``). ``seconds`` counts from there, so that waiting for a stalled service is
    included. Without a response, ``status`` is 0 and ``error`` is the reason.
    """

    at: float
    seconds: float
    status: int
    body: Any = None
    error: str = ""

    def __str__(self) -> str:
        result = self.error or f"HTTP {self.status}: {_summary(self.body)}"
        return f"{result} after {self.seconds:.1f} s"


def _summary(body: Any) -> str:
    """A summary of a body: the message of an error, the values of the V2 protocol's outputs, or the body itself, each shortened."""
    if isinstance(body, Mapping):
        if isinstance(body.get("error"), str):
            return _shortened(body["error"])
        if isinstance(body.get("outputs"), Sequence) and all(isinstance(one, Mapping) for one in body["outputs"]):
            return (
                ", ".join(f"{one.get('name')} = {_values(one.get('data'))}" for one in body["outputs"]) or "no outputs"
            )
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)
    return _shortened(text) or "an empty body"


def _values(data: Any) -> str:
    if not isinstance(data, Sequence) or isinstance(data, str):
        return _shortened(str(data))
    return f"[{', '.join(str(value) for value in data[:VALUES])}{', …' if len(data) > VALUES else ''}]"


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    # textwrap.shorten returns only the placeholder for a text whose first word is too long.
    return (
        shorten(flat, QUOTED, placeholder=" …") if " " in flat[:QUOTED] else flat[:QUOTED] + "…" * (len(flat) > QUOTED)
    )


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Requests at a constant rate (per second), ordered by the time at which they were due. ``marks`` maps names to times on the same
    clock.
    """

    request: Mapping[str, Any]
    rate: float
    answers: Sequence[Answer]
    marks: Mapping[str, float]

    def between(self, begin: float, end: float) -> list[Answer]:
        """The answers to the requests that were due from ``begin`` to ``end``."""
        return [answer for answer in self.answers if begin <= answer.at <= end]
