"""Exact probabilities of counts."""

from __future__ import annotations

import math


def log_choose(n: int, k: int) -> float:
    """The natural logarithm of the number of ways to choose ``k`` out of ``n``."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def at_most(count: int, n: int, share: float) -> float:
    """The probability of ``count`` or fewer out of ``n``, each with probability ``share``."""
    if count < 0:
        return 0.0
    return min(1.0, math.fsum(_mass(k, n, share) for k in range(min(count, n) + 1)))


def _mass(k: int, n: int, share: float) -> float:
    if share in (0.0, 1.0):
        return float(k == n * share)
    return math.exp(log_choose(n, k) + k * math.log(share) + (n - k) * math.log1p(-share))
