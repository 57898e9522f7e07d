"""Requests sent to a service over time, and slices of them around a mark: what losing no request is judged by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

QUOTED = 160
"""Characters of an answer's body that are quoted at most, cut off at a word."""
VALUES = 5
"""Values of an output that are quoted at most."""


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
        said = self.error or f"HTTP {self.status}: {_in_words(self.body)}"
        return f"{said} after {self.seconds:.1f} s"


def _in_words(body: Any) -> str:
    """What a body says: the message of an error, the values of the V2 protocol's outputs, or the body itself, each shortened."""
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
    # A text without a space within reach would be shortened to nothing.
    return (
        shorten(flat, QUOTED, placeholder=" …") if " " in flat[:QUOTED] else flat[:QUOTED] + "…" * (len(flat) > QUOTED)
    )


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
