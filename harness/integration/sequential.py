"""Tests of two rates that may be looked at after every window: evidence that one rate is worse than the other, or that it is not.

Evidence against a hypothesis is the wealth of a gambler who bets on counts, and to whom the hypothesis gives no advantage: whatever rates
the hypothesis allows, the expectation is at most 1 after each window, so that the evidence reaches 1/α with a probability of at most α,
however often it is looked at and whenever the test stops (Ville's inequality).

Of ``n`` requests to one arm ``bad`` are bad, of ``m`` requests to the other ``other_bad``; numbers and rates, p and q, may differ from
window to window.

**Worse.** A :class:`Bet` multiplies the wealth by ``a ** bad * b ** other_bad * exp(n * margin * (1 - a))`` with a > 1 and
``b = 1 - ratio * (a - 1) * n / m``. If requests fail independently, the expectation of this factor is at most
``exp(n * p * (a - 1) + m * q * (b - 1) + n * margin * (1 - a)) = exp(n * (a - 1) * (p - ratio * q - margin))``, since 1 + u is at most
exp(u). So it is evidence against "p is at most ratio * q + margin", and does not need to know p or q: what both arms suffer in the same
window cancels. The cost of a bet does not depend on the counts. For requests that fail together there are a cap on what one event can show
(:meth:`Evidence.log`), :class:`Dispersion` and :class:`Excess`.

**Not worse.** :class:`NotWorse` bets against "p is at least q + margin" in a way that holds for requests that fail together. Let them fail
in independent bursts of at most B. A bet with the stake c, 0 < c < 1, would multiply the wealth by ``1 - c * s / B`` for each burst of s
requests to the one arm, by ``1 + c * n / m * s / B`` for each of the other, and by ``exp(n * margin * c / B)``: its expectation is at most
``exp((c * n / B) * (margin + q - p))``. Bursts are not seen, only their sums. But the logarithm of ``1 + u * s / B`` is concave in s, so
that of all ways to divide a sum into bursts of at most B the product is least for whole ones and a rest (:func:`in_bursts`), and the bet
that takes this way gains no more. So this is exact for every mixture of sizes up to B, single requests among them, of which each lies in
one window.

A burst of s = B * (x_1 + … + x_k) requests may lie in k windows, whose bets would multiply the wealth by 1 + h_i for a whole one. With
``v_i = k * ((1 + h_i) ** (1 / k) - 1)`` (:func:`in_parts`) the product of all 1 + v_i * x_i is at most ``(1 + sum(v_i * x_i) / k) ** k``,
since a geometric mean is at most the arithmetic one, and this at most ``1 + sum(h_i * x_i)``, by the convexity of the k-th power (Jensen);
for the other arm too, whose h_i are positive. For k = 1 it is the bet above; as k grows, it nears a loss that is linear in the count.
Until all parts of a burst came, it has cost only those that did, and a stake may rest on a part that came.

Sources: Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference" (2023); Turner, Ly, Grünwald,
"Generic E-variables for exact sequential k-sample tests" (2024), whose bets on two Bernoulli rates these are a lower bound of;
Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting" (2024), for stakes that are set by earlier windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WORSE: Sequence[float] = (2.0, 4.0, 10.0)
"""Ratios of rates that are bet on to show that an arm is worse: so many times what the hypothesis allows."""
WORSE_WEIGHTS: Sequence[float] = (0.3, 0.4, 0.3)
"""The parts of the wealth that are bet on them."""
BURSTS: Sequence[float] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e6)
"""The sizes of bursts for which there is evidence that an arm is not worse."""
MOST_STAKED = 0.98
"""The largest stake of a bet that an arm is not worse."""
BY_CHANCE = 15.0
"""Fewer requests are not seen as a burst: independent ones differ as much by chance in some 1 of 10,000 windows."""


@dataclass(frozen=True)
class Bet:
    """A bet on one window, as logarithms: of the factors for a bad request to either arm, and of what a margin of 1 contributes."""

    bad: float
    other_bad: float
    margin: float

    def log_factor(self, bad: float, other_bad: float, margin: float) -> float:
        """The logarithm of the factor of the wealth."""
        return bad * self.bad + other_bad * self.other_bad + margin * self.margin


def bets(n: float, m: float, odds: Sequence[float], *, ratio: float = 1.0) -> list[Bet]:
    """A bet for each of ``odds`` on a window with ``n`` requests to one arm and ``m`` to the other, both above 0."""
    made = []
    for one in odds:
        b = (ratio * n + m) / (one * ratio * n + m)
        a = one * b
        made.append(Bet(bad=math.log(a), other_bad=math.log(b), margin=n * (1.0 - a)))
    return made


class Evidence:
    """The logarithms of a wealth that was divided among bets, WORSE_WEIGHTS, and then grew by each of them alone.

    ``open`` are the factors of the current block of windows, which is as long as one event may last.
    """

    def __init__(self) -> None:
        self.logs = [0.0] * len(WORSE)
        self.open = [0.0] * len(WORSE)

    def add(self, window: Sequence[Bet], bad: float, other_bad: float, *, margin: float) -> None:
        """Bet on a window of the current block."""
        self.open = [log + bet.log_factor(bad, other_bad, margin) for log, bet in zip(self.open, window, strict=True)]

    def close(self, *, cap: float) -> None:
        """End the current block; ``cap`` is the largest logarithm of a factor that it may have."""
        self.logs, self.open = self._capped(cap), [0.0] * len(WORSE)

    def log(self, dispersion: float = 1.0, *, cap: float = math.inf) -> float:
        """The logarithm of the evidence of counts of which ``dispersion``, at least 1, are worth one that is independent.

        Whatever the dispersion, exp of it is at most 1 more than the evidence without one, and reaches 1/α as seldom as that. ``cap`` is
        that of the current block: a lower one makes less evidence, and none that is wrong.
        """
        return log_mean_exp([log / dispersion for log in self._capped(cap)], WORSE_WEIGHTS)

    def _capped(self, cap: float) -> list[float]:
        return [log + min(cap, opened) for log, opened in zip(self.logs, self.open, strict=True)]


def in_bursts(count: float, change: float, burst: float) -> float:
    """The logarithm of what ``count`` bad requests multiply a wealth by, if they came in bursts of at most ``burst`` and one of s requests
    multiplies it by 1 + change * s / burst; the least of all ways in which they may have come. ``change`` is above -1."""
    if count < burst:
        return math.log1p(change * count / burst) if count else 0.0
    whole, rest = divmod(count, burst)
    return whole * math.log1p(change) + math.log1p(change * rest / burst)


def in_parts(change: float, parts: int) -> float:
    """What a whole burst in one window changes the wealth by, so that one in up to ``parts`` windows changes it by at most ``change``."""
    return change if parts == 1 else parts * math.expm1(math.log1p(change) / parts)


class NotWorse:
    """Evidence that an arm is not worse by a margin, for several sizes: as if bad requests came in bursts of at most that size, each of
    which lies in up to ``parts`` windows."""

    def __init__(self, bursts: Sequence[float] = BURSTS, *, parts: int = 1) -> None:
        self.bursts, self.parts = bursts, parts
        self.logs = [0.0] * len(bursts)

    def add(self, bad: float, n: float, other_bad: float, m: float, *, margin: float, rate: float) -> None:
        """Bet on a window. ``rate`` is what earlier windows lead to expect of both arms, above 0: a wrong one makes less evidence, and none
        that is wrong."""
        self.logs = [
            log + self.log_factor(burst, bad, n, other_bad, m, margin=margin, rate=rate, parts=self.parts)
            for log, burst in zip(self.logs, self.bursts, strict=True)
        ]

    @staticmethod
    def log_factor(
        burst: float, bad: float, n: float, other_bad: float, m: float, *, margin: float, rate: float, parts: int = 1
    ) -> float:
        """The logarithm of the factor for a window with n and m requests to the arms, both above 0."""
        ratio = n / m
        # The stake that gains most in expectation when both arms have the rate: for windows in which bursts overlap, and for sparse ones.
        overlap = min(max(n * (rate + margin) / burst, 1.0 / burst), 1.0)
        if parts > 1:
            overlap = 1.0 - (1.0 - overlap) / parts
        # A whole burst in one window must leave something.
        most = MOST_STAKED * (1.0 - (1.0 - 1.0 / parts) ** parts)
        stake = min(most, margin / (margin + rate * (1.0 + ratio) * overlap))
        gain = stake * n * margin / burst
        lost, won = in_parts(-stake, parts), in_parts(stake * ratio, parts)
        return gain + in_bursts(bad, lost, burst) + in_bursts(other_bad, won, burst)

    def index(self, burst: float) -> int | None:
        """The index of the smallest size that is not below ``burst``; None beyond the largest."""
        return next((index for index, one in enumerate(self.bursts) if one >= burst), None)


def burst_seen(bad: float, n: float, other_bad: float, m: float) -> float:
    """The size of bursts that would explain how unevenly the bad requests of a window divide; 0 when it may be chance."""
    ratio = n / m
    variance = bad + ratio * ratio * other_bad
    size = (bad - ratio * other_bad) ** 2 / variance if variance else 0.0
    return size if size >= BY_CHANCE else 0.0


def log_mean_exp(logs: Sequence[float], weights: Sequence[float] = ()) -> float:
    """The logarithm of the mean of ``exp(logs)``, by weights whose sum is 1; without weights by equal ones."""
    top = max(logs)
    powers = [math.exp(one - top) for one in logs]
    if not weights:
        return top + math.log(math.fsum(powers) / len(powers))
    return top + math.log(math.fsum(weight * power for weight, power in zip(weights, powers, strict=True)))


@dataclass(frozen=True)
class Dispersion:
    """By how much the share of one arm in the bad requests varies more from window to window than chance explains.

    Requests that fail in bursts, of one client or one pod, are less evidence than as many that fail independently. Windows are compared by
    how their bad requests divide and not by how many they are, so that what both arms suffer in the same window does not count.
    """

    windows: int = 0
    bad: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, bad: float, other_bad: float) -> Dispersion:
        """With the bad requests of one more window; one without any shows nothing."""
        if not (total := bad + other_bad):
            return self
        return Dispersion(self.windows + 1, self.bad + bad, self.total + total, self.squares + bad * bad / total)

    def factor(self) -> float:
        """Pearson's chi-square of homogeneity, less twice its standard deviation, by its degrees of freedom; at least 1."""
        if self.windows < 2:
            return 1.0
        share, freedom = self.bad / self.total, self.windows - 1
        if not 0 < share < 1:
            return 1.0
        chi_square = (self.squares - 2.0 * share * self.bad + share * share * self.total) / (share * (1.0 - share))
        return max(1.0, (chi_square - 2.0 * math.sqrt(2.0 * freedom)) / freedom)


MOST = 50.0
"""What one window of an :class:`Excess` counts for at most, so that none decides alone."""


@dataclass
class Excess:
    """Consecutive windows in which a rate exceeds ``limit``, and the other arm's rate, more than ``factor`` times, and their requests.

    ``log`` is the logarithm of the product of the rates, each by the larger of the limit and the other arm's rate. If in each window a rate
    of r times the limit is expected, r < 1, this product over k windows is expected to be at most r ** k, whatever dependence there is
    within a window; so it reaches c in one of w windows with a probability of at most w * r / (1 - r) / c (Markov's inequality).
    """

    log: float = 0.0
    windows: int = 0
    bad: float = 0.0
    requests: float = 0.0
    other_bad: float = 0.0
    other_requests: float = 0.0

    def add(
        self, bad: float, n: float, other_bad: float, m: float, *, limit: float, factor: float, other_rate: float = 0.0
    ) -> None:
        """Add a window in which both arms had requests, n and m. ``other_rate`` is the other arm's of late, because bursts that both arms
        have may come in different windows."""
        # One bad request more than were counted, because few requests may miss trouble that the arms share.
        ratio = bad / n / max(limit, (other_bad + 1) / (m + 1), other_rate)
        if ratio <= factor or bad < 2 or other_rate > factor * limit:
            self.reset()
        else:
            self.log += math.log(min(ratio, MOST))
            self.windows += 1
            self.bad += bad
            self.requests += n
            self.other_bad += other_bad
            self.other_requests += m

    def reset(self) -> None:
        """Begin anew."""
        self.log = self.bad = self.requests = self.other_bad = self.other_requests = 0.0
        self.windows = 0
