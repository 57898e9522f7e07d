"""What a judge of canaries knows of one kind of bad requests: failed, slower than a bound, or answered with another value than expected.

It accumulates counts and evidence, and decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from trivet.integration.sequential import NOT_WORSE, WORSE, Bet, Dispersion, Evidence, Excess, bets

KEPT = 0.9
"""The part of the recent counts that a window leaves, so that an outage is forgotten after some 15 windows."""


@dataclass(frozen=True)
class Count:
    """Bad requests and all requests, to the canary and to the stable revision; fractions where they are expectations."""

    bad: float = 0.0
    requests: float = 0.0
    stable_bad: float = 0.0
    stable_requests: float = 0.0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.bad + other.bad,
            self.requests + other.requests,
            self.stable_bad + other.stable_bad,
            self.stable_requests + other.stable_requests,
        )

    def __mul__(self, part: float) -> Count:
        return Count(self.bad * part, self.requests * part, self.stable_bad * part, self.stable_requests * part)

    @property
    def comparable(self) -> bool:
        """Whether both revisions had requests."""
        return self.requests > 0 and self.stable_requests > 0


@dataclass(frozen=True)
class Rule:
    """How one kind of bad requests is judged.

    ``limit`` is the service level, a share of the requests. The canary's share may be ``ratio`` times the stable revision's, and
    ``tolerated`` more, without evidence that it is worse; one that is higher by ``increase`` is not to be promoted.
    """

    limit: float
    tolerated: float
    increase: float
    ratio: float = 1.0


class BadRequests:
    """The counts of one kind of bad requests, the evidence that the canary has more of them, and the evidence that it has not."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.count = self.recent = Count()
        self._worse, self._not_worse = Evidence(len(WORSE)), Evidence(len(NOT_WORSE))
        self._dispersion = Dispersion()
        self._excess = Excess()

    def compare(self, window: Count) -> None:
        """Add a window as evidence. A window in which one revision had no requests is none."""
        if not window.comparable:
            return
        bad, n, stable_bad, m = window.bad, window.requests, window.stable_bad, window.stable_requests
        worse, not_worse = _bets(n, m, self.rule.ratio)
        self.count += window
        self.recent = self.recent * KEPT + window
        # The canary gets the part n / (n + m) of all bursts, so that one burst is evidence of at most the inverse.
        self._worse.add(worse, bad, stable_bad, margin=self.rule.tolerated, cap=math.log((n + m) / n))
        self._not_worse.add(not_worse, bad, stable_bad, margin=self.rule.increase)
        self._dispersion.add(bad, stable_bad, share=n / (n + m))

    def watch(self, window: Count, *, factor: float) -> None:
        """Add a window to those in a row in which the canary exceeds the service level, and the stable revision, ``factor`` times."""
        if window.comparable:
            self._excess.add(
                window.bad,
                window.requests,
                window.stable_bad,
                window.stable_requests,
                limit=self.rule.limit,
                factor=factor,
            )

    @property
    def measured(self) -> bool:
        """Whether there were requests to both revisions to compare."""
        return self.count.comparable or self.excess.comparable

    @property
    def log_worse(self) -> float:
        """The logarithm of the evidence that the canary has more bad requests than tolerated."""
        return self._worse.log(self._dispersion.factor())

    @property
    def log_not_worse(self) -> float:
        """The logarithm of the evidence that the canary's share of bad requests is less than ``rule.increase`` higher."""
        return self._not_worse.log(self._dispersion.factor(even=True))

    @property
    def log_excess(self) -> float:
        """The logarithm of the evidence of :meth:`watch`."""
        return self._excess.log

    @property
    def excess(self) -> Count:
        """The requests of the windows of :meth:`watch`."""
        one = self._excess
        return Count(one.bad, one.requests, one.other_bad, one.other_requests)

    def shown(self) -> dict[str, Any]:
        """Counts and evidence for people, as JSON."""
        return {
            "canary": [round(self.count.bad), round(self.count.requests)],
            "stable": [round(self.count.stable_bad), round(self.count.stable_requests)],
            "worse": readable(self.log_worse),
            "not_worse": readable(self.log_not_worse),
            "dispersion": round(self._dispersion.factor(even=True), 2),
        }

    def to_dict(self) -> dict[str, Any]:
        """The state without the rule, as JSON."""
        return {
            "count": asdict(self.count),
            "recent": asdict(self.recent),
            "worse": self._worse.logs,
            "not_worse": self._not_worse.logs,
            "dispersion": asdict(self._dispersion),
            "excess": asdict(self._excess),
        }

    @classmethod
    def from_dict(cls, rule: Rule, state: Mapping[str, Any]) -> BadRequests:
        """Raises KeyError, TypeError or ValueError for what is no state."""
        made = cls(rule)
        made.count, made.recent = Count(**state["count"]), Count(**state["recent"])
        made._dispersion, made._excess = Dispersion(**state["dispersion"]), Excess(**state["excess"])
        for evidence, name in ((made._worse, "worse"), (made._not_worse, "not_worse")):
            logs = [float(log) for log in state[name]]
            if len(logs) != len(evidence.logs):
                raise ValueError(f"{name} has {len(logs)} numbers in place of {len(evidence.logs)}")
            evidence.logs = logs
        return made


def readable(log: float) -> float:
    """The evidence of a logarithm, with three digits; at most 1e300."""
    return float(f"{math.exp(min(log, 690.0)):.3g}")


@lru_cache(maxsize=16)
def _bets(n: float, m: float, ratio: float) -> tuple[list[Bet], list[Bet]]:
    return bets(n, m, WORSE, ratio=ratio), bets(n, m, NOT_WORSE)
