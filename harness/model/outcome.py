"""The five outcomes, the two levels, and what follows from them: which is worse, and which keeps a report from being conformant."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Outcome(StrEnum):
    """What a check came to. ERROR means that trivet could not do its job; it is never the platform's failure."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"

    @property
    def deviates(self) -> bool:
        """Whether somebody should look at it: neither PASSED nor SKIPPED."""
        return self not in (Outcome.PASSED, Outcome.SKIPPED)


class Level(StrEnum):
    """How binding a contract is, in the sense of RFC 2119. Only a MUST decides conformance."""

    MUST = "MUST"
    SHOULD = "SHOULD"


SEVERITY = (Outcome.FAILED, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.PASSED, Outcome.SKIPPED)
"""Worst first."""


def combine(outcomes: Iterable[Outcome]) -> Outcome:
    """One outcome for several findings of one contract: the worst, and INCONCLUSIVE for none at all (empty is never green)."""
    found = set(outcomes)
    return next((outcome for outcome in SEVERITY if outcome in found), Outcome.INCONCLUSIVE)


def blocks(outcome: Outcome, level: Level) -> bool:
    """Whether a contract's outcome alone keeps the report from being conformant: what must turn a CI red.

    A deviation from a MUST does, and so does an ERROR at any level: trivet did not do its job.
    """
    return outcome is Outcome.ERROR or (level is Level.MUST and outcome.deviates)
