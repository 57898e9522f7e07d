"""Exact tests over counts: error rates as stated, and none of the ways in which such tests elsewhere cannot fail."""

from __future__ import annotations

import random

import pytest

from trivet.errors import CannotTell, UsageError
from trivet.integration.binomial import at_most
from trivet.toolkit.statistics import plan_share

SPLIT = plan_share(0.2, n=1000, alpha=0.001, power=0.99)


def refused(share: float) -> float:
    """The probability that SPLIT refuses counts which really come with ``share``."""
    return at_most(SPLIT.low - 1, SPLIT.n, share) + 1 - at_most(SPLIT.high, SPLIT.n, share)


@pytest.mark.parametrize(("count", "n", "share", "expected"), [(0, 3, 0.5, 0.125), (1, 3, 0.5, 0.5), (3, 3, 0.5, 1.0)])
def test_probabilities_are_the_binomial_ones(count: int, n: int, share: float, expected: float) -> None:
    assert at_most(count, n, share) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_certain_events_are_counted_without_logarithms_of_zero(share: float, expected: float) -> None:
    assert at_most(9, 10, share) == expected


def test_a_right_share_is_refused_no_more_often_than_alpha_says() -> None:
    assert 0 < refused(0.2) <= SPLIT.alpha


def test_the_acceptance_region_is_as_narrow_as_alpha_allows() -> None:
    assert at_most(SPLIT.low, SPLIT.n, 0.2) > SPLIT.alpha / 2
    assert 1 - at_most(SPLIT.high - 1, SPLIT.n, 0.2) > SPLIT.alpha / 2


def test_the_visible_deviation_is_refused_with_the_stated_power_and_a_smaller_one_is_not() -> None:
    for side in (-1, 1):
        assert refused(0.2 + side * SPLIT.visible) >= SPLIT.power
    assert min(refused(0.2 + side * (SPLIT.visible - 0.001)) for side in (-1, 1)) < SPLIT.power


def test_simulated_splits_come_out_as_planned() -> None:
    source = random.Random(5)
    plan = plan_share(0.3, n=200, alpha=0.05, power=0.9)

    def accepted(share: float) -> int:
        return sum(plan.accepts(sum(source.random() < share for _ in range(200)), 200) for _ in range(400))

    assert accepted(0.3) >= 360
    assert accepted(0.3 + plan.visible) <= 70


def test_a_split_that_a_tolerance_of_five_points_with_ten_retries_lets_through_is_refused() -> None:
    # 62/38 instead of 70/30, over as many requests as a peer's conformance test sends: 500, each attempt ±5 points.
    attempt = 1 - at_most(324, 500, 0.62)
    assert 1 - (1 - attempt) ** 10 > 0.5
    plan = plan_share(0.7, n=1000, alpha=0.001, power=0.99)
    assert at_most(plan.high, 1000, 0.62) - at_most(plan.low - 1, 1000, 0.62) < 0.02


@pytest.mark.parametrize(("count", "n"), [(0, 0), (200, 999)])
def test_no_events_or_others_than_planned_are_no_answer(count: int, n: int) -> None:
    with pytest.raises(CannotTell, match=f"planned for 1000 events, and there were {n}"):
        SPLIT.accepts(count, n)


def test_a_sample_too_small_to_see_anything_says_so() -> None:
    assert plan_share(0.5, n=3, alpha=0.001, power=0.99).visible == 1.0


@pytest.mark.parametrize("share", [0.0, 1.0, 1.2])
def test_shares_that_leave_nothing_to_test_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match="no test of a share"):
        plan_share(share, n=100, alpha=0.01, power=0.9)
