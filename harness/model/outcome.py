"""The five outcomes and the two levels, their order of severity, and which of them make a report not conformant."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of a finding or contract. ERROR means that trivet failed; it is never a failure of the platform."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"

    @property
    def deviates(self) -> bool:
        """Whether it needs attention: neither PASSED nor SKIPPED."""
        return self is not Outcome.PASSED and self is not Outcome.SKIPPED


class Level(StrEnum):
    """How binding a contract is, in the sense of RFC 2119. Only a MUST decides conformance."""

    MUST = "MUST"
    SHOULD = "SHOULD"


SEVERITY = (Outcome.FAILED, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.PASSED, Outcome.SKIPPED)
"""Worst first."""


def combine(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of a contract by those of its findings: the worst; INCONCLUSIVE without findings."""
    found = set(outcomes)
    return next((outcome for outcome in SEVERITY if outcome in found), Outcome.INCONCLUSIVE)


def blocks(outcome: Outcome, level: Level, *, accepted: bool = False) -> bool:
    """Whether a contract's outcome alone makes the report not conformant, and so fails CI.

    A deviation from a MUST does unless it is ``accepted``, and an ERROR does at any level and in any case, because trivet failed.
    """
    return outcome is Outcome.ERROR or (level is Level.MUST and outcome.deviates and not accepted)
