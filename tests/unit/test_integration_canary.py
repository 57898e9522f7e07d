"""Judging a canary: against constants and against the stable revision, and never by what was not measured."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from trivet.errors import CannotTell, PlatformError, UsageError
from trivet.integration import Arm, Check, Decision, Limits, Standing, check, judge, measured, observe
from trivet.integration.binomial import at_least
from trivet.integration.canary import Aspect, _fell_to_the_first

GOOD = Arm(requests=400, errors=0, p99=0.05, known=50, right=49)
STABLE = Arm(requests=1600, errors=2, p99=0.05, known=50, right=49)

PASSED, FAILED, UNDECIDED = (Check(standing=standing, reasons=(standing.value,)) for standing in Standing)


def only_reason(canary: Arm, stable: Arm = STABLE, **limits: float) -> tuple[Standing, str, bool]:
    found = check(canary, stable, limits=Limits(**limits))  # type: ignore[arg-type]
    (reason,) = found.reasons
    return found.standing, reason, found.at_once


def test_a_canary_that_is_as_good_as_the_stable_revision_passes_and_says_by_what() -> None:
    found = check(GOOD, STABLE)
    assert (found.standing, found.at_once, found.failed) == (Standing.PASSED, False, ())
    assert "0 of 400 requests of the canary failed, and 2 of 1600 of the stable revision" in found.reasons
    assert len(found.reasons) == 3


@pytest.mark.parametrize(
    "canary",
    [
        Arm(),
        replace(GOOD, requests=0, errors=None, p99=None),
        replace(GOOD, errors=None),
        replace(GOOD, p99=None),
        replace(GOOD, known=None, right=None),
        replace(GOOD, known=0, right=0),
    ],
    ids=["nothing", "no traffic", "errors unknown", "latency unknown", "answers unknown", "no known request"],
)
def test_what_was_not_measured_neither_passes_nor_fails(canary: Arm) -> None:
    assert check(canary, STABLE).standing is Standing.UNDECIDED


@pytest.mark.parametrize("missing", [Arm(), replace(STABLE, p99=None), replace(STABLE, known=None, right=None)])
def test_without_a_baseline_nothing_passes(missing: Arm) -> None:
    assert check(GOOD, missing).standing is Standing.UNDECIDED
    assert "to compare with" in "; ".join(check(GOOD, missing).reasons)


def test_without_a_baseline_a_constant_that_is_broken_still_fails() -> None:
    assert check(replace(GOOD, errors=12), Arm()).standing is Standing.FAILED
    assert check(replace(GOOD, p99=0.7), Arm()).standing is Standing.FAILED


def test_too_few_requests_show_nothing_good() -> None:
    standing, reason, _ = only_reason(replace(GOOD, requests=99))
    assert standing is Standing.UNDECIDED
    assert "only 99 requests of the canary were counted, and 100 are the fewest" in reason


def test_a_few_requests_may_show_something_bad() -> None:
    assert only_reason(replace(GOOD, requests=5, errors=5))[::2] == (Standing.FAILED, True)
    assert only_reason(replace(GOOD, requests=1, errors=1))[0] is Standing.UNDECIDED


def test_errors_above_the_threshold_fail_and_above_three_times_it_at_once() -> None:
    assert only_reason(replace(GOOD, errors=12))[::2] == (Standing.FAILED, False)
    standing, reason, at_once = only_reason(replace(GOOD, errors=25))
    assert (standing, at_once) == (Standing.FAILED, True)
    assert "25 of 400 requests of the canary failed" in reason
    assert "more than 6.0%" in reason


def test_errors_below_the_threshold_fail_where_the_stable_revision_has_hardly_any() -> None:
    standing, reason, _ = only_reason(replace(GOOD, requests=4000, errors=70), replace(STABLE, requests=16000))
    assert standing is Standing.FAILED
    assert "more than by chance" in reason


def test_where_no_error_is_tolerated_a_single_one_takes_a_canary_back() -> None:
    stable, limits = replace(STABLE, errors=0), Limits(error_rate=0.0)
    few = check(replace(GOOD, requests=5, errors=1), stable, limits=limits)
    assert (few.standing, few.at_once) == (Standing.FAILED, True)
    assert check(GOOD, stable, limits=limits).standing is Standing.PASSED


@pytest.mark.parametrize(
    ("name", "value", "use"),
    [
        ("error_rate", 2.0, "a number from 0 to 1"),
        ("error_rate", math.nan, "a number from 0 to 1"),
        ("doubt", -0.1, "a number from 0 to 1"),
        ("passing", True, "a number from 0 to 1"),
        ("at_once", 0.5, "a number from 1 on"),
        ("latency", -1.0, "a number of seconds from 0 on"),
        ("requests", 0, "a whole number from 1 on"),
        ("requests", 99.5, "a whole number from 1 on"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(name: str, value: float, use: str) -> None:
    with pytest.raises(UsageError, match=rf"the limit {name} is {value!r}") as raised:
        Limits(**{name: value})  # type: ignore[arg-type]
    assert raised.value.remedy == f"use {use}"


def test_errors_that_both_revisions_have_are_not_held_against_the_canary() -> None:
    standing, reason, at_once = only_reason(replace(GOOD, errors=40), replace(STABLE, errors=150))
    assert (standing, at_once) == (Standing.UNDECIDED, False)
    assert "not the canary's own doing" in reason


def test_a_canary_much_worse_than_a_stable_revision_that_is_bad_too_is_taken_back() -> None:
    assert only_reason(replace(GOOD, errors=200), replace(STABLE, errors=150))[::2] == (Standing.FAILED, True)


@pytest.mark.parametrize(
    ("canary", "stable", "standing"),
    [
        (0.6, 0.4, Standing.FAILED),
        (0.6, 0.55, Standing.UNDECIDED),
        (2.0, 0.55, Standing.FAILED),
        (0.3, 0.05, Standing.FAILED),
        (0.09, 0.01, Standing.PASSED),
        (0.45, 0.4, Standing.PASSED),
    ],
    ids=["too slow", "both too slow", "far slower", "in time and slower", "slower unnoticed", "as slow"],
)
def test_latency_is_held_against_a_constant_and_against_the_stable_revision(
    canary: float, stable: float, standing: Standing
) -> None:
    assert check(replace(GOOD, p99=canary), replace(STABLE, p99=stable)).standing is standing


def test_wrong_values_fail_though_every_request_was_answered() -> None:
    standing, reason, at_once = only_reason(replace(GOOD, right=0))
    assert (standing, at_once) == (Standing.FAILED, True)
    assert check(replace(GOOD, right=0), STABLE).failed == (Aspect.VALUES,)
    assert check(replace(GOOD, right=0, p99=0.7, errors=12), STABLE).failed == tuple(Aspect)
    assert "0 of 50 known requests were answered as expected by the canary, 49 of 50 by the stable revision" in reason


def test_a_small_loss_of_quality_fails_without_haste_and_a_tolerated_one_passes() -> None:
    many = {"known": 1000, "right": 900}
    stable = replace(STABLE, **many)
    assert check(replace(GOOD, known=1000, right=870), stable).standing is Standing.FAILED
    assert not check(replace(GOOD, known=1000, right=870), stable).at_once
    assert check(replace(GOOD, known=1000, right=880), stable).standing is Standing.PASSED
    assert check(replace(GOOD, known=1000, right=950), stable).standing is Standing.PASSED


@pytest.mark.parametrize(
    ("checks", "decision"),
    [
        ([PASSED] * 9 + [FAILED], Decision.PROMOTE),
        ([PASSED] * 8 + [FAILED] * 2, Decision.ROLL_BACK),
        ([PASSED] * 5 + [UNDECIDED] * 5, Decision.PROMOTE),
        ([PASSED] * 4 + [UNDECIDED] * 6, Decision.UNDECIDED),
        ([UNDECIDED] * 10, Decision.UNDECIDED),
        ([], Decision.UNDECIDED),
        ([PASSED] * 20 + [replace(FAILED, at_once=True)], Decision.ROLL_BACK),
        ([UNDECIDED] * 9 + [FAILED], Decision.ROLL_BACK),
    ],
)
def test_the_decided_checks_decide(checks: list[Check], decision: Decision) -> None:
    found = judge(checks)
    assert found.decision is decision
    assert f"of {len(checks)} checks passed" in found.reason


def test_an_observation_lasts_as_long_as_was_said_and_looks_after_every_interval() -> None:
    waited: list[float] = []
    found = observe(lambda: PASSED, wait=waited.append)
    assert (found.decision, len(found.checks), waited) == (Decision.PROMOTE, 15, [60.0] * 15)


def test_it_ends_at_the_first_check_that_calls_for_it() -> None:
    looks = iter([PASSED, replace(FAILED, at_once=True)])
    found = observe(lambda: next(looks), wait=lambda seconds: None)
    assert (found.decision, len(found.checks)) == (Decision.ROLL_BACK, 2)


@pytest.mark.parametrize("error", [PlatformError("Prometheus is away"), CannotTell("Prometheus is away")])
def test_a_prometheus_that_is_away_leaves_everything_undecided(error: Exception) -> None:
    def look() -> Check:
        raise error

    found = observe(look, wait=lambda seconds: None)
    assert found.decision is Decision.UNDECIDED
    assert "Prometheus is away" in found.reason


def test_an_observation_without_a_check_is_refused() -> None:
    with pytest.raises(UsageError, match="a check every 60 s"):
        observe(lambda: PASSED, seconds=30)


def said(rate: float | None, errors: float | None, p99: float | None) -> Callable[[str], float | None]:
    def ask(query: str) -> float | None:
        assert 'revision="c-2"' in query
        assert "[30s]" in query
        return p99 if query.startswith("histogram") else errors if "5.." in query else rate

    return ask


def test_what_prometheus_says_becomes_counts() -> None:
    assert measured(said(4.0, 0.025, 0.2), "c", "ns", revision="c-2", window=30) == Arm(requests=120, errors=3, p99=0.2)


def test_no_series_and_no_traffic_are_not_zero_errors() -> None:
    assert measured(said(None, None, None), "c", "ns", revision="c-2", window=30) == Arm()
    assert measured(said(0.0, None, None), "c", "ns", revision="c-2", window=30) == Arm(requests=0)


def test_chances_are_the_exact_ones() -> None:
    assert _fell_to_the_first(3, 3, 0, 3) == pytest.approx(1 / math.comb(6, 3))
    assert _fell_to_the_first(0, 10, 5, 10) == pytest.approx(1.0)
    assert at_least(2, 2, 0.5) == pytest.approx(0.25)
    assert at_least(0, 7, 0.1) == pytest.approx(1.0)
    assert (at_least(0, 7, 0.0), at_least(1, 7, 0.0)) == (1.0, 0.0)


def test_of_equal_revisions_hardly_any_canary_is_held_worse() -> None:
    source = random.Random(3)

    def errors(n: int) -> int:
        return sum(source.random() < 0.01 for _ in range(n))

    failed = [
        check(replace(GOOD, requests=500, errors=errors(500)), replace(STABLE, requests=2000, errors=errors(2000)))
        for _ in range(200)
    ]
    assert sum("by chance" in "; ".join(one.reasons) for one in failed) <= 2
