"""Tests of two rates that may be looked at after every window: evidence that one rate is worse than the other, or that it is not.

Evidence against a hypothesis is the wealth of a gambler who bets on counts, and to whom the hypothesis gives no advantage: whatever rates
the hypothesis allows, the expectation is at most 1 after each window, so that the evidence reaches 1/α with a probability of at most α,
however often it is looked at and whenever the test stops (Ville's inequality).

Of ``n`` requests to one arm ``bad`` are bad, of ``m`` requests to the other ``other_bad``; numbers and rates may differ from window to
window. A bet multiplies the wealth by ``a ** bad * b ** other_bad * exp(n * margin * (1 - a))`` with ``b = 1 - ratio * (a - 1) * n / m``.
If the rates of the window are p and q, and requests fail independently, the expectation of this factor is at most
``exp(n * p * (a - 1) + m * q * (b - 1) + n * margin * (1 - a)) = exp(n * (a - 1) * (p - ratio * q - margin))``, since 1 + u is at most
exp(u). So a bet with a > 1 is evidence against "p is at most ratio * q + margin", a bet with a < 1 is evidence against "p is at least
ratio * q + margin", and neither needs to know p or q: what both arms suffer in the same window cancels. The cost of a bet does not depend
on the counts.

For dependent requests there are a cap on the factor of each window (:meth:`Evidence.add`), :class:`Dispersion` and :class:`Excess`.
Sources: Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference" (2023); Turner, Ly, Grünwald,
"Generic E-variables for exact sequential k-sample tests" (2024), whose bets on two Bernoulli rates these are a lower bound of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WORSE: Sequence[float] = (1.6, 3.0, 6.0, 15.0)
"""Ratios of rates that are bet on in equal parts to show that an arm is worse: so many times what the hypothesis allows."""
NOT_WORSE: Sequence[float] = (0.85, 0.7, 0.5, 0.35, 0.2, 0.1)
"""The same to show that it is not worse."""


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
    """The logarithms of a wealth that was divided equally among ``parts`` bets, and then grew by each of them alone."""

    def __init__(self, parts: int) -> None:
        self.logs = [0.0] * parts

    def add(self, window: Sequence[Bet], bad: float, other_bad: float, *, margin: float, cap: float = math.inf) -> None:
        """Bet on a window. ``cap`` is the largest logarithm of a factor: a lower one makes less evidence, and none that is wrong."""
        self.logs = [
            log + min(cap, bet.log_factor(bad, other_bad, margin)) for log, bet in zip(self.logs, window, strict=True)
        ]

    def log(self, dispersion: float = 1.0) -> float:
        """The logarithm of the evidence of counts of which ``dispersion``, at least 1, are worth one that is independent.

        Whatever the dispersion, exp of it is at most 1 more than the evidence without one, and reaches 1/α as seldom as that.
        """
        return log_mean_exp([log / dispersion for log in self.logs])


def log_mean_exp(logs: Sequence[float], weights: Sequence[float] = ()) -> float:
    """The logarithm of the mean of ``exp(logs)``, by weights whose sum is 1; without weights by equal ones."""
    top = max(logs)
    powers = [math.exp(one - top) for one in logs]
    if not weights:
        return top + math.log(math.fsum(powers) / len(powers))
    return top + math.log(math.fsum(weight * power for weight, power in zip(weights, powers, strict=True)))


@dataclass
class Dispersion:
    """By how much the share of one arm in the bad requests varies more from window to window than chance explains.

    Requests that fail in bursts, of one client or one pod, are less evidence than as many that fail independently. Windows are compared by
    how their bad requests divide and not by how many they are, so that what both arms suffer in the same window does not count.
    """

    windows: int = 0
    bad: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    even: float = 0.0

    def add(self, bad: float, other_bad: float, *, share: float) -> None:
        """Add the bad requests of a window in which the arm had ``share`` of all requests; one without any bad ones shows nothing."""
        if total := bad + other_bad:
            self.windows += 1
            self.bad += bad
            self.total += total
            self.squares += bad * bad / total
            self.even += total * share

    def factor(self, *, even: bool = False) -> float:
        """Pearson's chi-square of homogeneity, less twice its standard deviation, by its degrees of freedom; at least 1.

        With ``even`` it is that of an arm with its share of the bad requests if it has fewer: it may have missed bursts.
        """
        if self.windows < 2:
            return 1.0
        share, freedom = self.bad / self.total, self.windows - 1
        if even and share < self.even / self.total:
            share, freedom = self.even / self.total, self.windows
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
    bad: float = 0.0
    requests: float = 0.0
    other_bad: float = 0.0
    other_requests: float = 0.0

    def add(self, bad: float, n: float, other_bad: float, m: float, *, limit: float, factor: float) -> None:
        """Add a window in which both arms had requests, n and m."""
        # One bad request more than were counted, because few requests may miss trouble that the arms share.
        ratio = bad / n / max(limit, (other_bad + 1) / (m + 1))
        if ratio <= factor or bad < 2:
            self.log = self.bad = self.requests = self.other_bad = self.other_requests = 0.0
        else:
            self.log += math.log(min(ratio, MOST))
            self.bad += bad
            self.requests += n
            self.other_bad += other_bad
            self.other_requests += m
