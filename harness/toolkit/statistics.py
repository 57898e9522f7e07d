"""Exact tests over counts, with their error rates stated beforehand. Not a contract module.

A test is planned (:func:`plan_share`) before anything is observed, and run once: repeating one until it passes would make a share that is
plainly wrong pass in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from trivet.errors import CannotTell, UsageError
from trivet.integration.binomial import at_most


@dataclass(frozen=True, kw_only=True)
class ShareTest:
    """Whether ``count`` of ``n`` independent events may have happened with probability ``share``.

    A right share is refused with a probability of at most ``alpha``. A share that is off by ``visible`` or more, to either side, is
    refused with a probability of at least ``power``. Counts from ``low`` to ``high`` are accepted.
    """

    share: float
    n: int
    alpha: float
    power: float
    low: int
    high: int
    visible: float

    def accepts(self, count: int, n: int) -> bool:
        """Judge ``count`` of ``n`` events. Raises CannotTell when ``n`` is not the planned number of events, for example 0."""
        if n != self.n:
            raise CannotTell(f"the test was planned for {self.n} events, and there were {n}")
        return self.low <= count <= self.high

    def __str__(self) -> str:
        return (
            f"n = {self.n}, accepted {self.low} to {self.high}, α ≤ {self.alpha:g}; "
            f"{self.visible * 100:.1f} points off are seen with power ≥ {self.power:g}"
        )


def plan_share(share: float, *, n: int, alpha: float, power: float) -> ShareTest:
    """Plan the exact two-sided binomial test of ``share``, each side with half of ``alpha``."""
    if not 0 < share < 1 or n < 1 or not 0 < alpha < 1 or not 0 < power < 1:
        raise UsageError(
            f"no test of a share of {share} with n = {n}, alpha = {alpha}, power = {power}",
            remedy="use a share, alpha and power between 0 and 1, and at least one event",
        )
    low, high = _accepted(share, n, alpha)
    return ShareTest(
        share=share, n=n, alpha=alpha, power=power, low=low, high=high, visible=_visible(share, n, low, high, power)
    )


def _accepted(share: float, n: int, alpha: float) -> tuple[int, int]:
    low = 0
    while at_most(low, n, share) <= alpha / 2:
        low += 1
    high = n
    while at_most(n - high, n, 1 - share) <= alpha / 2:
        high -= 1
    return low, high


def _visible(share: float, n: int, low: int, high: int, power: float) -> float:
    """The smallest deviation, in steps of a thousandth, that is refused with ``power`` whichever way it goes; 1 when none is."""
    for thousandths in range(1, 1000):
        deviation = thousandths / 1000
        sides = [side for side in (share - deviation, share + deviation) if 0 <= side <= 1]
        if not sides:
            break
        if all(at_most(low - 1, n, side) + at_most(n - high - 1, n, 1 - side) >= power for side in sides):
            return deviation
    return 1.0
