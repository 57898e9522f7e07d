"""What a judge of canaries knows of one kind of bad requests: failed, slower than a bound, or answered with another value than expected.

It accumulates counts and evidence, and decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from trivet.integration.sequential import (
    BURSTS,
    WORSE,
    Bet,
    Dispersion,
    Evidence,
    Excess,
    NotWorse,
    bets,
    burst_seen,
)

ROUNDING = 1e-6
"""Seconds by which times may differ that are the same."""

KEPT = 0.9
"""The part of the recent counts that a window leaves, so that an outage is forgotten after some 15 windows."""

CALM = 5
"""Windows in a row in which the stable revision is within its limit, and the canary is not, after which an earlier outage of both does not
count."""


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
    ``tolerated`` more, without evidence that it is worse; one that is higher by ``increase`` is not to be promoted. One cause may make up
    to ``burst_size`` requests bad, in up to ``burst_windows`` windows in a row, or spans of ``burst_seconds`` if those are longer, and
    affect one revision alone for one such window or span. Without ``promoting`` there is no evidence that the canary is not worse.
    """

    limit: float
    tolerated: float
    increase: float
    ratio: float = 1.0
    burst_size: float = 1.0
    burst_windows: int = 1
    burst_seconds: float = 0.0
    promoting: bool = True

    @property
    def bursts(self) -> Sequence[float]:
        """The sizes of bursts for which a promotion may need evidence."""
        return [burst for burst in BURSTS if burst >= self.burst_size] if self.promoting else []


class BadRequests:
    """The counts of one kind of bad requests, the evidence that the canary has more of them, and the evidence that it has not."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.count = self.recent = self.watched = Count()
        self._worse, self._not_worse = Evidence(), NotWorse(rule.bursts, parts=rule.burst_windows)
        self._dispersion = Dispersion()
        self._largest_burst = 0.0
        self._excess, self._calm = Excess(), Excess()
        self._block = Count()
        self._block_end = -math.inf
        self._balanced = self._ratio = 0.0
        """Of the current block: the bad requests to the stable revision, each times the canary's requests for one to the stable revision in
        the same window, and the most that there were."""
        self._rate = 0.0
        """What is expected of the current block by earlier ones."""

    def compare(self, window: Count, *, start: float, end: float) -> None:
        """Add a window as evidence. A window in which one revision had no requests is none."""
        if not window.comparable:
            return
        if start >= self._block_end - ROUNDING:
            self._close_block()
        if not self._block.comparable:
            self._block_end = start + self.rule.burst_seconds
            # Half a bad request more than were counted, among as many as would make it half of the margin.
            self._rate = (self.recent.bad + self.recent.stable_bad + 0.5) / (
                self.recent.requests + self.recent.stable_requests + 0.5 / self.rule.increase
            )
        self.count += window
        self._block += window
        ratio = window.requests / window.stable_requests
        self._balanced, self._ratio = self._balanced + ratio * window.stable_bad, max(self._ratio, ratio)
        self.recent = self.recent * KEPT + window
        self._worse.add(
            _bets(window.requests, window.stable_requests, self.rule.ratio),
            window.bad,
            window.stable_bad,
            margin=self.rule.tolerated,
        )
        if end >= self._block_end - ROUNDING:
            self._close_block()

    def _close_block(self) -> None:
        block = self._block
        if not block.comparable:
            return
        counts = (block.bad, block.requests, block.stable_bad, block.stable_requests)
        self._worse.close(cap=self._cap)
        # Rates may change together with the shares, so that sums over windows would compare other rates than those of the windows.
        stable = self._balanced / self._ratio, block.requests / self._ratio
        self._not_worse.add(block.bad, block.requests, *stable, margin=self.rule.increase, rate=self._rate)
        self._dispersion = self._dispersion.plus(block.bad, block.stable_bad)
        self._largest_burst = max(self._largest_burst, burst_seen(*counts))
        self._block, self._block_end = Count(), -math.inf
        self._balanced = self._ratio = 0.0

    @property
    def _cap(self) -> float:
        """What the current block can show at most. The canary gets the part n / (n + m) of all bursts, so that one burst is evidence of at
        most the inverse."""
        block = self._block
        return math.log((block.requests + block.stable_requests) / block.requests) if block.comparable else 0.0

    def watch(self, window: Count, *, factor: float) -> None:
        """Add a window to those in a row in which the canary exceeds the service level, and the stable revision, ``factor`` times."""
        if not window.comparable:
            return
        counts, limit = (window.bad, window.requests, window.stable_bad, window.stable_requests), self.rule.limit
        of_late = self.watched.stable_bad / (self.watched.stable_requests or 1.0)
        self._excess.add(*counts, limit=limit, factor=factor, other_rate=of_late)
        if window.stable_bad > limit * window.stable_requests:
            self._calm.reset()
        else:
            self._calm.add(*counts, limit=limit, factor=factor)
        self.watched = self.watched * KEPT + window

    @property
    def measured(self) -> bool:
        """Whether there were requests to both revisions to compare."""
        return self.count.comparable or self.excess.comparable

    @property
    def log_worse(self) -> float:
        """The logarithm of the evidence that the canary has more bad requests than tolerated."""
        dispersion = self._dispersion.plus(self._block.bad, self._block.stable_bad)
        return self._worse.log(dispersion.factor(), cap=self._cap)

    @property
    def burst(self) -> float:
        """The size of bursts that a promotion reckons with: that of the rule, or a larger one that was seen."""
        return max(self.rule.burst_size, self._largest_burst)

    @property
    def log_not_worse(self) -> float:
        """The logarithm of the evidence that the canary's share of bad requests is less than ``rule.increase`` higher, for bursts of up to
        ``burst``, by the blocks that are over; minus infinity when there is none for such bursts."""
        index = self._not_worse.index(self.burst)
        return -math.inf if index is None else self._not_worse.logs[index]

    @property
    def waiting(self) -> bool:
        """Whether no span of ``rule.burst_seconds`` is over yet, so that there is no evidence for a promotion."""
        return self._block.comparable and not any(self._not_worse.logs)

    @property
    def log_excess(self) -> float:
        """The logarithm of the evidence of :meth:`watch`."""
        return self._exceeding.log

    @property
    def excess(self) -> Count:
        """The requests of the windows of :meth:`watch`."""
        one = self._exceeding
        return Count(one.bad, one.requests, one.other_bad, one.other_requests)

    @property
    def _exceeding(self) -> Excess:
        if self._calm.windows >= CALM and self._calm.log > self._excess.log:
            return self._calm
        return self._excess

    def shown(self) -> dict[str, Any]:
        """Counts and evidence for people, as JSON."""
        return {
            "canary": [round(self.count.bad), round(self.count.requests)],
            "stable": [round(self.count.stable_bad), round(self.count.stable_requests)],
            "worse": readable(self.log_worse),
            "not_worse": readable(self.log_not_worse),
            "burst": round(self.burst),
        }

    def to_dict(self) -> dict[str, Any]:
        """The state without the rule, as JSON."""
        return {
            "count": asdict(self.count),
            "recent": asdict(self.recent),
            "watched": asdict(self.watched),
            "worse": self._worse.logs,
            "worse_open": self._worse.open,
            "not_worse": self._not_worse.logs,
            "dispersion": asdict(self._dispersion),
            "largest_burst": self._largest_burst,
            "excess": asdict(self._excess),
            "calm": asdict(self._calm),
            "block": asdict(self._block),
            "balanced": [self._balanced, self._ratio],
            "block_end": None if math.isinf(self._block_end) else self._block_end,
            "rate": self._rate,
        }

    @classmethod
    def from_dict(cls, rule: Rule, state: Mapping[str, Any]) -> BadRequests:
        """Raises KeyError, TypeError or ValueError for what is no state."""
        made = cls(rule)
        made.count, made.recent, made.watched = (Count(**state[name]) for name in ("count", "recent", "watched"))
        made._dispersion = Dispersion(**state["dispersion"])
        made._excess, made._calm = Excess(**state["excess"]), Excess(**state["calm"])
        made._largest_burst, made._rate = float(state["largest_burst"]), float(state["rate"])
        made._block = Count(**state["block"])
        made._balanced, made._ratio = (float(one) for one in state["balanced"])
        made._block_end = -math.inf if state["block_end"] is None else float(state["block_end"])
        made._worse.logs = _logs(state, "worse", len(WORSE))
        made._worse.open = _logs(state, "worse_open", len(WORSE))
        made._not_worse.logs = _logs(state, "not_worse", len(rule.bursts))
        return made


def _logs(state: Mapping[str, Any], name: str, expected: int) -> list[float]:
    logs = [float(log) for log in state[name]]
    if len(logs) != expected:
        raise ValueError(f"{name} has {len(logs)} numbers in place of {expected}")
    return logs


def readable(log: float) -> float:
    """The evidence of a logarithm, with three digits; at most 1e300."""
    return float(f"{math.exp(min(log, 690.0)):.3g}")


@lru_cache(maxsize=16)
def _bets(n: float, m: float, ratio: float) -> list[Bet]:
    return bets(n, m, WORSE, ratio=ratio)
