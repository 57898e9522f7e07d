"""Evidence by bets: what it is expected to be, by enumeration of all that can happen, and what a cap and dispersion do to it."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest

from trivet.integration.sequential import (
    BURSTS,
    WORSE,
    Dispersion,
    Evidence,
    Excess,
    NotWorse,
    bets,
    burst_seen,
    in_bursts,
    in_parts,
    log_mean_exp,
)


def binomial(n: int, p: float) -> list[float]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def expected(n: int, m: int, p: float, q: float, odds: float, *, margin: float = 0.0, ratio: float = 1.0) -> float:
    """The expectation of the factor of a bet, over all counts that two arms with the rates p and q can have."""
    (bet,) = bets(n, m, [odds], ratio=ratio)
    return math.fsum(
        one * other * math.exp(bet.log_factor(bad, other_bad, margin))
        for (bad, one), (other_bad, other) in product(enumerate(binomial(n, p)), enumerate(binomial(m, q)))
    )


SIZES = [(1, 1), (5, 20), (20, 5), (30, 30)]
RATES = [0.0, 0.001, 0.05, 0.5, 0.97, 1.0]


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("q", RATES)
@pytest.mark.parametrize(("margin", "ratio"), [(0.0, 1.0), (0.01, 1.0), (0.005, 1.5)])
def test_an_arm_as_bad_as_allowed_is_expected_to_gain_nothing_by_any_bet(
    n: int, m: int, q: float, margin: float, ratio: float
) -> None:
    for p in (min(1.0, ratio * q + margin), 0.5 * q):
        for odds in WORSE:
            assert expected(n, m, p, q, odds, margin=margin, ratio=ratio) <= 1 + 1e-12


def in_events(events: int, rate: float, size: int) -> list[tuple[int, float]]:
    """Counts of bad requests and their probabilities: each of ``events`` makes ``size`` requests fail with the probability ``rate``."""
    return [(size * event, probability) for event, probability in enumerate(binomial(events, rate))]


@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 100), (60, 20)])
@pytest.mark.parametrize("q", [0.0, 0.02, 0.3])
@pytest.mark.parametrize(
    ("burst", "size", "other_size"), [(1, 1, 1), (5, 1, 1), (5, 5, 1), (5, 1, 5), (5, 5, 5), (20, 10, 20), (20, 20, 5)]
)
def test_an_arm_worse_by_the_margin_is_expected_to_gain_nothing_by_a_bet_that_it_is_not(
    n: int, m: int, q: float, burst: int, size: int, other_size: int
) -> None:
    """Whatever the bursts are, up to the size that the bet is about, and whatever rate was expected."""
    for p in (q + 0.02, q + 0.3):
        for rate in (0.0001, 0.02, 0.5):
            gained = math.fsum(
                one * other * math.exp(NotWorse.log_factor(burst, bad, n, other_bad, m, margin=0.02, rate=rate))
                for (bad, one), (other_bad, other) in product(
                    in_events(n // size, p, size), in_events(m // other_size, q, other_size)
                )
            )
            assert gained <= 1 + 1e-12


def test_bursts_of_mixed_sizes_up_to_that_of_the_bet_gain_nothing_either() -> None:
    """Of 60 requests 0.6 are expected to be bad, which is the margin: a third of them single, a third in threes, a third in tens."""
    gained = math.fsum(
        one * few * many * math.exp(NotWorse.log_factor(10, bad + some + more, 60, 0, 240, margin=0.01, rate=0.005))
        for (bad, one), (some, few), (more, many) in product(
            in_events(20, 0.2 / 20, 1), in_events(6, 0.2 / 18, 3), in_events(6, 0.2 / 60, 10)
        )
    )
    assert 0.99 < gained <= 1 + 1e-12


def test_larger_bursts_than_those_of_the_bet_may_gain() -> None:
    gained = math.fsum(
        one * math.exp(NotWorse.log_factor(5, bad, 60, 0, 240, margin=0.02, rate=0.001))
        for bad, one in in_events(3, 0.02, 20)
    )
    assert gained > 1.1


def test_bad_requests_are_taken_for_whole_bursts_and_a_rest() -> None:
    assert in_bursts(13, -0.5, 5) == pytest.approx(2 * math.log(0.5) + math.log(1 - 0.5 * 3 / 5))
    assert in_bursts(13, -0.5, 1) == pytest.approx(13 * math.log(0.5))
    for sizes in ([5, 5, 3], [5, 4, 4], [3, 3, 3, 4], [1] * 13):
        for change in (-0.9, 0.7):
            divided = sum(math.log1p(change * size / 5) for size in sizes)
            assert in_bursts(13, change, 5) <= divided + 1e-12


def test_a_burst_is_seen_when_chance_does_not_explain_it() -> None:
    assert burst_seen(20, 60, 0, 240) == pytest.approx(20)
    assert burst_seen(0, 60, 20, 240) == pytest.approx(20)
    assert burst_seen(0, 60, 0, 240) == burst_seen(14, 60, 0, 240) == burst_seen(60, 60, 240, 240) == 0
    assert NotWorse().index(1) == 0
    assert BURSTS[NotWorse().index(20.1) or 0] == 50
    assert NotWorse().index(2 * BURSTS[-1]) is None


def test_a_difference_is_expected_to_gain() -> None:
    assert expected(30, 30, 0.3, 0.02, 6.0) > 5


def test_whenever_one_looks_the_evidence_against_equal_arms_reaches_8_in_at_most_1_of_8() -> None:
    """All courses of five windows, by enumeration: one request to each arm in each, half of them bad."""
    window, reached = bets(1, 1, WORSE), 0.0
    for course in product([(0, 0), (0, 1), (1, 0), (1, 1)], repeat=5):
        evidence = Evidence()
        for bad, other_bad in course:
            evidence.add(window, bad, other_bad, margin=0.0)
            if evidence.log() >= math.log(8):
                reached += 0.25**5
                break
    assert 0 < reached <= 1 / 8


def test_what_both_arms_suffer_is_no_evidence() -> None:
    evidence = Evidence()
    evidence.add(bets(200, 800, WORSE), 60, 240, margin=0.001)
    assert evidence.log() < 0


def test_a_cap_bounds_what_one_block_shows_and_not_what_it_refutes() -> None:
    capped, free = Evidence(), Evidence()
    for bad, other_bad in ((50, 0), (0, 50)):
        for evidence, cap in ((capped, math.log(5)), (free, math.inf)):
            evidence.add(bets(200, 800, WORSE), bad, other_bad, margin=0.0)
            evidence.close(cap=cap)
        assert capped.log() <= free.log()
    assert max(capped.logs) < 0


def test_a_block_shows_no_more_than_one_event_however_many_windows_it_has() -> None:
    evidence = Evidence()
    for _ in range(5):
        evidence.add(bets(200, 800, WORSE), 50, 0, margin=0.0)
    assert evidence.log(cap=math.log(5)) == pytest.approx(math.log(5))
    evidence.close(cap=math.log(5))
    evidence.add(bets(200, 800, WORSE), 50, 0, margin=0.0)
    assert evidence.log(cap=math.log(5)) == pytest.approx(math.log(25))


def test_a_mean_of_logarithms_does_not_overflow() -> None:
    assert log_mean_exp([1000.0, 1000.0]) == pytest.approx(1000.0)
    assert log_mean_exp([1000.0, -1000.0], [0.25, 0.75]) == pytest.approx(1000.0 + math.log(0.25))


def test_dispersion_is_that_of_the_textbook() -> None:
    """Pearson's chi-square of a table with two columns, computed cell by cell."""
    windows = [(10, 0), (0, 12), (3, 9), (8, 1)]
    spread = Dispersion()
    for bad, other_bad in windows:
        spread = spread.plus(bad, other_bad)
    share = sum(bad for bad, _ in windows) / sum(map(sum, windows))
    chi_square = sum(
        (seen - share_of * total) ** 2 / (share_of * total)
        for bad, other_bad in windows
        for total in (bad + other_bad,)
        for seen, share_of in ((bad, share), (other_bad, 1 - share))
    )
    assert spread.factor() == pytest.approx((chi_square - 2 * math.sqrt(6)) / 3)


def test_what_both_arms_suffer_at_the_same_time_disperses_nothing() -> None:
    spread = Dispersion()
    for total in (5, 500, 0, 5000):
        spread = spread.plus(total / 5, total - total / 5)
    assert spread.factor() == 1.0


def test_bursts_that_one_arm_gets_disperse_by_their_size() -> None:
    spread = Dispersion()
    for bad, other_bad in [(20, 0), (0, 20), (0, 20), (0, 20), (0, 20)] * 4:
        spread = spread.plus(bad, other_bad)
    assert 15 < spread.factor() < 25


@pytest.mark.parametrize("bad", [(0, 3), (4, 0)])
def test_one_arm_alone_shows_no_dispersion(bad: tuple[int, int]) -> None:
    spread = Dispersion()
    for _ in range(5):
        spread = spread.plus(*bad)
    assert spread.factor() == 1.0


def test_excess_is_the_product_of_windows_in_a_row() -> None:
    excess = Excess()
    for bad in (10, 50):
        excess.add(bad, 100, 0, 99, limit=0.02, factor=3.0)
    assert excess.log == pytest.approx(math.log(5 * 25))
    assert (excess.bad, excess.requests, excess.other_bad, excess.other_requests) == (60, 200, 0, 198)
    excess.add(6, 100, 0, 99, limit=0.02, factor=3.0)
    assert excess == Excess()


def test_excess_counts_only_beyond_the_other_arm() -> None:
    excess = Excess()
    excess.add(90, 100, 30, 100, limit=0.02, factor=3.0)
    assert excess == Excess()
    excess.add(1, 1, 0, 0, limit=0.02, factor=1.0)
    assert excess == Excess()


@pytest.mark.parametrize("parts", [2, 3, 20])
def test_a_burst_in_several_windows_gains_nothing_by_bets_that_allow_for_it(parts: int) -> None:
    """Whatever the parts are, and the stakes: the product is at most what the bet on whole bursts allows."""
    source = random.Random(parts)
    for _ in range(500):
        cuts = sorted(source.random() ** 2 for _ in range(parts))
        shares = [after - before for before, after in zip([0.0, *cuts], cuts, strict=False)]
        for lowest, highest in ((-(1 - (1 - 1 / parts) ** parts), 0.0), (0.0, 3.0)):
            changes = [source.uniform(lowest, highest) for _ in shares]
            product_of_parts = math.prod(1 + in_parts(h, parts) * x for h, x in zip(changes, shares, strict=True))
            assert product_of_parts <= 1 + math.fsum(h * x for h, x in zip(changes, shares, strict=True)) + 1e-12


def test_a_burst_in_two_windows_gains_by_bets_on_whole_ones_and_not_by_those_that_allow_for_it() -> None:
    """The canary is worse by the margin of a point, all in bursts of ten, of which each window gets a half."""
    gained = {
        parts: math.fsum(
            chance * math.exp(2 * NotWorse.log_factor(10, bad / 2, 60, 0, 240, margin=0.01, rate=0.001, parts=parts))
            for bad, chance in in_events(12, 0.01, 10)
        )
        for parts in (1, 2, 3)
    }
    assert gained[1] > 1.02
    assert max(gained[2], gained[3]) <= 1


def test_a_bet_leaves_something_whatever_the_parts_are() -> None:
    for parts in (1, 2, 3, 100):
        assert NotWorse.log_factor(10, 10, 60, 0, 240, margin=0.01, rate=1e-6, parts=parts) > -20
