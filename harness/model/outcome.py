"""The five outcomes and the two levels."""

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


class Level(StrEnum):
    """How binding a contract is, in the sense of RFC 2119. Only a MUST decides conformance."""

    MUST = "MUST"
    SHOULD = "SHOULD"


_WORST_FIRST = (Outcome.FAILED, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.PASSED, Outcome.SKIPPED)


def combine(outcomes: Iterable[Outcome]) -> Outcome:
    """One outcome for several findings of one contract: the worst, and INCONCLUSIVE for none at all (empty is never green)."""
    found = set(outcomes)
    return next((outcome for outcome in _WORST_FIRST if outcome in found), Outcome.INCONCLUSIVE)
