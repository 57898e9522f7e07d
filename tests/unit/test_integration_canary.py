"""Judging a canary: against constants and against the stable revision, and never by what was not measured."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from trivet.errors import CannotTell, PlatformError, UsageError
from trivet.integration import (
    CanaryCheck,
    CanaryDecision,
    CanaryLimits,
    CheckOutcome,
    RevisionMetrics,
    check_canary,
    judge_canary,
    measure_revision,
    observe_canary,
)
from trivet.integration.binomial import at_least
from trivet.integration.canary import CanaryAspect, _fisher

GOOD = RevisionMetrics(requests=400, errors=0, p99=0.05, known_requests=50, expected_answers=49)
STABLE = RevisionMetrics(requests=1600, errors=2, p99=0.05, known_requests=50, expected_answers=49)

PASSED, FAILED, INCONCLUSIVE = (CanaryCheck(outcome=outcome, reasons=(outcome.value,)) for outcome in CheckOutcome)


def only_reason(
    canary: RevisionMetrics, stable: RevisionMetrics = STABLE, **limits: float
) -> tuple[CheckOutcome, str, bool]:
    found = check_canary(canary, stable, limits=CanaryLimits(**limits))  # type: ignore[arg-type]
    (reason,) = found.reasons
    return found.outcome, reason, found.abort


def test_a_canary_that_is_as_good_as_the_stable_revision_passes_and_says_by_what() -> None:
    found = check_canary(GOOD, STABLE)
    assert (found.outcome, found.abort, found.failed) == (CheckOutcome.PASSED, False, ())
    assert "0 of 400 requests to the canary failed, and 2 of 1600 to the stable revision" in found.reasons
    assert len(found.reasons) == 3


@pytest.mark.parametrize(
    "canary",
    [
        RevisionMetrics(),
        replace(GOOD, requests=0, errors=None, p99=None),
        replace(GOOD, errors=None),
        replace(GOOD, p99=None),
        replace(GOOD, known_requests=None, expected_answers=None),
        replace(GOOD, known_requests=0, expected_answers=0),
    ],
    ids=["nothing", "no traffic", "errors unknown", "latency unknown", "answers unknown", "no known request"],
)
def test_what_was_not_measured_neither_passes_nor_fails(canary: RevisionMetrics) -> None:
    assert check_canary(canary, STABLE).outcome is CheckOutcome.INCONCLUSIVE


@pytest.mark.parametrize(
    "missing",
    [RevisionMetrics(), replace(STABLE, p99=None), replace(STABLE, known_requests=None, expected_answers=None)],
)
def test_without_a_baseline_nothing_passes(missing: RevisionMetrics) -> None:
    assert check_canary(GOOD, missing).outcome is CheckOutcome.INCONCLUSIVE
    assert "to compare with" in "; ".join(check_canary(GOOD, missing).reasons)


def test_without_a_baseline_a_constant_that_is_broken_still_fails() -> None:
    assert check_canary(replace(GOOD, errors=12), RevisionMetrics()).outcome is CheckOutcome.FAILED
    assert check_canary(replace(GOOD, p99=0.7), RevisionMetrics()).outcome is CheckOutcome.FAILED


def test_too_few_requests_show_nothing_good() -> None:
    outcome, reason, _ = only_reason(replace(GOOD, requests=99))
    assert outcome is CheckOutcome.INCONCLUSIVE
    assert "only 99 requests to the canary, and a check needs at least 100" in reason


def test_a_few_requests_may_show_something_bad() -> None:
    assert only_reason(replace(GOOD, requests=5, errors=5))[::2] == (CheckOutcome.FAILED, True)
    assert only_reason(replace(GOOD, requests=1, errors=1))[0] is CheckOutcome.INCONCLUSIVE


def test_errors_above_the_threshold_fail_and_above_three_times_it_abort() -> None:
    assert only_reason(replace(GOOD, errors=12))[::2] == (CheckOutcome.FAILED, False)
    outcome, reason, abort = only_reason(replace(GOOD, errors=25))
    assert (outcome, abort) == (CheckOutcome.FAILED, True)
    assert "25 of 400 requests to the canary failed" in reason
    assert "more than 6.0%" in reason


def test_errors_below_the_threshold_fail_where_the_stable_revision_has_hardly_any() -> None:
    outcome, reason, _ = only_reason(replace(GOOD, requests=4000, errors=70), replace(STABLE, requests=16000))
    assert outcome is CheckOutcome.FAILED
    assert "significantly more than the stable revision" in reason


def test_where_no_error_is_tolerated_a_single_one_takes_a_canary_back() -> None:
    stable, limits = replace(STABLE, errors=0), CanaryLimits(max_error_rate=0.0)
    few = check_canary(replace(GOOD, requests=5, errors=1), stable, limits=limits)
    assert (few.outcome, few.abort) == (CheckOutcome.FAILED, True)
    assert check_canary(GOOD, stable, limits=limits).outcome is CheckOutcome.PASSED


@pytest.mark.parametrize(
    ("name", "value", "use"),
    [
        ("max_error_rate", 2.0, "a number from 0 to 1"),
        ("max_error_rate", math.nan, "a number from 0 to 1"),
        ("significance", -0.1, "a number from 0 to 1"),
        ("min_passed", True, "a number from 0 to 1"),
        ("abort_factor", 0.5, "a number of at least 1"),
        ("max_latency", -1.0, "a number of seconds, at least 0"),
        ("min_requests", 0, "a whole number of at least 1"),
        ("min_requests", 99.5, "a whole number of at least 1"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(name: str, value: float, use: str) -> None:
    with pytest.raises(UsageError, match=rf"the limit {name} is {value!r}") as raised:
        CanaryLimits(**{name: value})  # type: ignore[arg-type]
    assert raised.value.remedy == f"use {use}"


def test_errors_that_both_revisions_have_are_not_held_against_the_canary() -> None:
    outcome, reason, abort = only_reason(replace(GOOD, errors=40), replace(STABLE, errors=150))
    assert (outcome, abort) == (CheckOutcome.INCONCLUSIVE, False)
    assert "both revisions exceed 2.0%" in reason


def test_a_canary_much_worse_than_a_stable_revision_that_is_bad_too_is_rolled_back() -> None:
    assert only_reason(replace(GOOD, errors=200), replace(STABLE, errors=150))[::2] == (CheckOutcome.FAILED, True)


@pytest.mark.parametrize(
    ("canary", "stable", "outcome"),
    [
        (0.6, 0.4, CheckOutcome.FAILED),
        (0.6, 0.55, CheckOutcome.INCONCLUSIVE),
        (2.0, 0.55, CheckOutcome.FAILED),
        (0.3, 0.05, CheckOutcome.FAILED),
        (0.09, 0.01, CheckOutcome.PASSED),
        (0.45, 0.4, CheckOutcome.PASSED),
    ],
    ids=["too slow", "both too slow", "far slower", "in time and slower", "slower unnoticed", "as slow"],
)
def test_latency_is_held_against_a_constant_and_against_the_stable_revision(
    canary: float, stable: float, outcome: CheckOutcome
) -> None:
    assert check_canary(replace(GOOD, p99=canary), replace(STABLE, p99=stable)).outcome is outcome


def test_wrong_values_fail_though_every_request_was_answered() -> None:
    outcome, reason, abort = only_reason(replace(GOOD, expected_answers=0))
    assert (outcome, abort) == (CheckOutcome.FAILED, True)
    assert check_canary(replace(GOOD, expected_answers=0), STABLE).failed == (CanaryAspect.VALUES,)
    assert check_canary(replace(GOOD, expected_answers=0, p99=0.7, errors=12), STABLE).failed == tuple(CanaryAspect)
    assert "the canary answered 0 of 50 known requests as expected, the stable revision 49 of 50" in reason


def test_a_small_loss_of_quality_fails_without_haste_and_a_tolerated_one_passes() -> None:
    many = {"known_requests": 1000, "expected_answers": 900}
    stable = replace(STABLE, **many)
    assert check_canary(replace(GOOD, known_requests=1000, expected_answers=870), stable).outcome is CheckOutcome.FAILED
    assert not check_canary(replace(GOOD, known_requests=1000, expected_answers=870), stable).abort
    assert check_canary(replace(GOOD, known_requests=1000, expected_answers=880), stable).outcome is CheckOutcome.PASSED
    assert check_canary(replace(GOOD, known_requests=1000, expected_answers=950), stable).outcome is CheckOutcome.PASSED


@pytest.mark.parametrize(
    ("checks", "decision"),
    [
        ([PASSED] * 9 + [FAILED], CanaryDecision.PROMOTE),
        ([PASSED] * 8 + [FAILED] * 2, CanaryDecision.ROLL_BACK),
        ([PASSED] * 5 + [INCONCLUSIVE] * 5, CanaryDecision.PROMOTE),
        ([PASSED] * 4 + [INCONCLUSIVE] * 6, CanaryDecision.INCONCLUSIVE),
        ([INCONCLUSIVE] * 10, CanaryDecision.INCONCLUSIVE),
        ([], CanaryDecision.INCONCLUSIVE),
        ([PASSED] * 20 + [replace(FAILED, abort=True)], CanaryDecision.ROLL_BACK),
        ([INCONCLUSIVE] * 9 + [FAILED], CanaryDecision.ROLL_BACK),
    ],
)
def test_the_conclusive_checks_decide(checks: list[CanaryCheck], decision: CanaryDecision) -> None:
    found = judge_canary(checks)
    assert found.decision is decision
    assert f"of {len(checks)} checks passed" in found.reason


def test_an_observation_lasts_as_long_as_asked_and_checks_after_every_interval() -> None:
    waited: list[float] = []
    found = observe_canary(lambda: PASSED, wait=waited.append)
    assert (found.decision, len(found.checks), waited) == (CanaryDecision.PROMOTE, 15, [60.0] * 15)


def test_it_ends_at_the_first_check_that_aborts() -> None:
    checks = iter([PASSED, replace(FAILED, abort=True)])
    found = observe_canary(lambda: next(checks), wait=lambda seconds: None)
    assert (found.decision, len(found.checks)) == (CanaryDecision.ROLL_BACK, 2)


@pytest.mark.parametrize("error", [PlatformError("Prometheus is down"), CannotTell("Prometheus is down")])
def test_a_prometheus_that_is_down_makes_everything_inconclusive(error: Exception) -> None:
    def check() -> CanaryCheck:
        raise error

    found = observe_canary(check, wait=lambda seconds: None)
    assert found.decision is CanaryDecision.INCONCLUSIVE
    assert "Prometheus is down" in found.reason


def test_an_observation_without_a_check_is_refused() -> None:
    with pytest.raises(UsageError, match="a check every 60 s"):
        observe_canary(lambda: PASSED, seconds=30)


def prometheus(rate: float | None, errors: float | None, p99: float | None) -> Callable[[str], float | None]:
    def ask(query: str) -> float | None:
        assert 'revision="c-2"' in query
        assert "[30s]" in query
        return p99 if query.startswith("histogram") else errors if "5.." in query else rate

    return ask


def test_rates_of_prometheus_become_counts() -> None:
    assert measure_revision(prometheus(4.0, 0.025, 0.2), "c", "ns", revision="c-2", window=30) == RevisionMetrics(
        requests=120, errors=3, p99=0.2
    )


def test_no_series_and_no_traffic_are_not_zero_errors() -> None:
    assert measure_revision(prometheus(None, None, None), "c", "ns", revision="c-2", window=30) == RevisionMetrics()
    assert measure_revision(prometheus(0.0, None, None), "c", "ns", revision="c-2", window=30) == RevisionMetrics(
        requests=0
    )


def test_probabilities_are_exact() -> None:
    assert _fisher(3, 3, 0, 3) == pytest.approx(1 / math.comb(6, 3))
    assert _fisher(0, 10, 5, 10) == pytest.approx(1.0)
    assert at_least(2, 2, 0.5) == pytest.approx(0.25)
    assert at_least(0, 7, 0.1) == pytest.approx(1.0)
    assert (at_least(0, 7, 0.0), at_least(1, 7, 0.0)) == (1.0, 0.0)


def test_of_equal_revisions_hardly_any_canary_is_held_worse() -> None:
    source = random.Random(3)

    def errors(n: int) -> int:
        return sum(source.random() < 0.01 for _ in range(n))

    failed = [
        check_canary(
            replace(GOOD, requests=500, errors=errors(500)), replace(STABLE, requests=2000, errors=errors(2000))
        )
        for _ in range(200)
    ]
    assert sum("significantly" in "; ".join(one.reasons) for one in failed) <= 2
