"""What the two revisions of a canary answered in one window, as differences of counters. It neither reads nor judges them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ArmCounts:
    """One revision in one window.

    ``requests`` counts the inference requests that it answered, ``errors`` those of them that ended with a server error; None: the source
    counts no errors. ``slower`` maps a bound in seconds to the number of answers that took longer; empty: latency is not measured.
    ``known_requests`` counts the known requests sent to the revision, ``unexpected_answers`` those of them answered with another value.

    Raises UsageError for counts that cannot be: a negative one, or a part that exceeds its whole.
    """

    requests: int
    errors: int | None
    slower: Mapping[float, int] = field(default_factory=dict)
    known_requests: int = 0
    unexpected_answers: int = 0

    def __post_init__(self) -> None:
        _validate("requests", self.requests)
        _validate("known_requests", self.known_requests)
        _validate("unexpected_answers", self.unexpected_answers, "known_requests", self.known_requests)
        if self.errors is not None:
            _validate("errors", self.errors, "requests", self.requests)
        above, least = "requests", self.requests
        for bound in sorted(self.slower):
            if not 0 <= bound < math.inf:
                raise UsageError(f"the bound {bound!r} of slower is not a time", remedy="use seconds, at least 0")
            _validate(f"slower[{bound:g}]", self.slower[bound], above, least)
            above, least = f"slower[{bound:g}]", self.slower[bound]


@dataclass(frozen=True, kw_only=True)
class CanaryWindow:
    """What both revisions answered from ``start`` to ``end``, in Unix seconds by one clock.

    Raises UsageError when ``end`` is not after ``start``.
    """

    start: float
    end: float
    canary: ArmCounts
    stable: ArmCounts

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and self.start < self.end):
            raise UsageError(
                f"a window from {self.start!r} to {self.end!r}",
                remedy="use Unix seconds by one clock, and an end after the start",
            )


def _validate(name: str, count: int, of: str = "", whole: int | None = None) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise UsageError(f"{name} is {count!r}", remedy="use a whole number, at least 0")
    if whole is not None and count > whole:
        raise UsageError(
            f"{name} is {count}, and {of} is {whole}",
            remedy="take both from the same series at the same times: a part cannot exceed its whole",
        )
