"""Judging a canary: by what it and the stable revision answered, window by window, and never by what was not measured."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from trivet.errors import UsageError
from trivet.integration import (
    ArmCounts,
    CanaryAspect,
    CanaryDecision,
    CanaryJudge,
    CanaryJudgement,
    CanaryLimits,
    CanaryWindow,
    expected_decision_time,
)

GOOD = ArmCounts(requests=400, errors=2, slower={0.1: 40, 0.5: 1}, known_requests=50, unexpected_answers=0)
STABLE = ArmCounts(requests=1600, errors=8, slower={0.1: 160, 0.5: 4}, known_requests=50, unexpected_answers=0)


def window(number: int, canary: ArmCounts = GOOD, stable: ArmCounts = STABLE, *, seconds: float = 60.0) -> CanaryWindow:
    return CanaryWindow(start=number * seconds, end=(number + 1) * seconds, canary=canary, stable=stable)


def judged(arms: Iterable[tuple[ArmCounts, ArmCounts]], judge: CanaryJudge | None = None) -> CanaryJudgement:
    """The judgement after as many windows as it takes."""
    judge = judge or CanaryJudge()
    for number, (canary, stable) in enumerate(arms):
        if judge.add(window(number, canary, stable)).decision is not CanaryDecision.CONTINUE:
            break
    return judge.judgement


def always(canary: ArmCounts = GOOD, stable: ArmCounts = STABLE) -> Iterator[tuple[ArmCounts, ArmCounts]]:
    while True:
        yield canary, stable


def minutes(judgement: CanaryJudgement) -> float:
    return float(judgement.evidence["seconds"] / 60)


def test_a_canary_that_is_as_good_is_promoted_when_it_was_observed_long_enough_and_says_by_what() -> None:
    found = judged(always())
    assert (found.decision, minutes(found), found.failed, found.gaps) == (CanaryDecision.PROMOTE, 20, (), ())
    assert "36 of 7200 requests to the canary failed, and 144 of 28800 to the stable revision" in found.reason
    assert "the canary answered 1000 of 1000 known requests as expected" in found.reason
    assert found.evidence["errors"]["not_worse"] > 100 > 1 >= found.evidence["worse"]
    assert found.evidence["errors"]["burst"] == 10


def test_a_promotion_takes_as_many_requests_as_the_bursts_that_it_holds_for() -> None:
    none: dict[str, Any] = {"errors": 0, "slower": {0.5: 0}, "known_requests": 0}
    arms = replace(GOOD, **none), replace(STABLE, **none)
    taken = {}
    for burst in (1, 10, 50):
        limits = CanaryLimits(burst_size=burst, min_seconds=0)
        taken[burst] = minutes(judged(always(*arms), CanaryJudge(limits)))
    # About 4.6 * burst / 0.01 requests, of which a window has 400, after two minutes that count for nothing.
    assert taken == {1: 4, 10: 15, 50: 61}


def test_a_larger_burst_that_was_seen_is_reckoned_with_in_either_revision() -> None:
    for burst in ((replace(GOOD, errors=42), STABLE), (GOOD, replace(STABLE, errors=208))):
        judge = CanaryJudge()
        found = judged([(GOOD, STABLE)] * 5 + [burst] + [(GOOD, STABLE)] * 15, judge)
        assert found.decision is CanaryDecision.CONTINUE
        assert found.evidence["errors"]["burst"] > 25
        assert "in bursts of up to" in found.reason
        assert ", as was seen" in found.reason


def test_a_promotion_takes_more_requests_when_bursts_may_lie_in_several_windows() -> None:
    none: dict[str, Any] = {"errors": 0, "slower": {0.5: 0}, "known_requests": 0}
    arms = replace(GOOD, **none), replace(STABLE, **none)
    taken = [
        minutes(judged(always(*arms), CanaryJudge(CanaryLimits(burst_windows=number, min_seconds=0))))
        for number in (1, 2, 3)
    ]
    assert taken == [15, 19, 20]


def test_it_says_that_no_span_of_burst_seconds_is_over() -> None:
    found = judged([(GOOD, STABLE)] * 20, CanaryJudge(CanaryLimits(burst_seconds=3600)))
    assert found.decision is CanaryDecision.CONTINUE
    assert "no span of 3600 s (burst_seconds) is over" in found.reason


def test_what_one_cause_does_for_minutes_is_one_event_when_it_may_last_so_long() -> None:
    arms = [(replace(GOOD, errors=20), STABLE)] * 8 + [(GOOD, STABLE)] * 10
    assert judged(arms).decision is CanaryDecision.ROLL_BACK
    patient = CanaryLimits(burst_seconds=600)
    assert judged(arms, CanaryJudge(patient)).decision is CanaryDecision.CONTINUE
    assert 1 < judged(arms[:8], CanaryJudge(patient)).evidence["worse"] <= 5


def test_it_is_not_rolled_back_at_once_while_the_stable_revision_exceeds_its_service_level_as_much() -> None:
    bad = [
        (replace(GOOD, errors=120), replace(STABLE, errors=0)),
        (replace(GOOD, errors=0), replace(STABLE, errors=600)),
    ]
    found = judged([bad[1]] + [bad[0]] * 3)
    assert found.decision is CanaryDecision.CONTINUE


def test_the_first_two_minutes_are_no_evidence() -> None:
    cold = replace(GOOD, slower={0.1: 400, 0.5: 300}, errors=20)
    found = judged([(cold, STABLE)] * 2 + [(GOOD, STABLE)] * 20)
    assert found.decision is CanaryDecision.PROMOTE
    assert judged([(cold, STABLE)] * 2).reason == (
        "the first 120 s count only for rolling back at once, and slow answers in them not at all"
    )


@pytest.mark.parametrize(
    ("bad", "aspect", "words"),
    [
        ({"errors": 20}, CanaryAspect.ERRORS, "significantly more than the stable revision (p <= 0.01)"),
        ({"slower": {0.1: 120, 0.5: 1}}, CanaryAspect.LATENCY, "answers of the canary took more than 0.1 s"),
        ({"slower": {0.1: 60, 0.5: 30}}, CanaryAspect.LATENCY, "answers of the canary took more than 0.5 s"),
    ],
)
def test_a_canary_that_is_worse_is_rolled_back_in_minutes(
    bad: dict[str, Any], aspect: CanaryAspect, words: str
) -> None:
    found = judged(always(replace(GOOD, **bad)))
    assert (found.decision, found.failed) == (CanaryDecision.ROLL_BACK, (aspect,))
    assert 4 <= minutes(found) <= 8
    assert words in found.reason


def test_a_difference_within_the_limit_is_significant_when_there_are_enough_requests() -> None:
    few = replace(GOOD, requests=150, errors=3, slower={})
    found = judged(always(few, replace(STABLE, requests=600, errors=1, slower={})))
    assert found.decision is CanaryDecision.ROLL_BACK
    assert "within 2.0%, but significantly more than the stable revision (p <= 0.01)" in found.reason


def test_wrong_values_are_seen_though_every_request_was_answered() -> None:
    found = judged(always(replace(GOOD, unexpected_answers=50), replace(STABLE, unexpected_answers=0)))
    assert (found.decision, found.failed, minutes(found)) == (CanaryDecision.ROLL_BACK, (CanaryAspect.VALUES,), 2)
    assert found.reason.startswith(
        "the canary answered 0 of 100 known requests as expected, the stable revision 100 of"
    )


def test_a_canary_that_fails_altogether_is_rolled_back_after_two_windows_even_the_first() -> None:
    found = judged(always(replace(GOOD, errors=400)))
    assert (found.decision, found.failed, minutes(found)) == (CanaryDecision.ROLL_BACK, (CanaryAspect.ERRORS,), 2)
    assert found.reason.startswith(
        "800 of 800 requests to the canary failed, and 16 of 3200 to the stable revision: more than 6.0%"
    )


def test_an_outage_of_both_is_not_the_canary_s_even_where_the_stable_revision_has_few_requests() -> None:
    most = ArmCounts(requests=920, errors=276, slower={0.5: 300})
    found = judged(always(most, ArmCounts(requests=80, errors=24, slower={0.5: 26})))
    assert (found.decision, minutes(found)) == (CanaryDecision.UNDECIDED, 120)
    assert found.reason.startswith(
        "of late 2760 of 9200 requests to the canary failed, and 240 of 800 to the stable revision: both revisions exceed"
    )


def test_an_outage_of_both_for_some_minutes_delays_a_promotion_only() -> None:
    out = (replace(GOOD, errors=40), replace(STABLE, errors=160))
    found = judged([(GOOD, STABLE)] * 5 + [out] * 3 + [(GOOD, STABLE)] * 52)
    assert found.decision is CanaryDecision.PROMOTE
    assert minutes(found) > 15


def test_after_an_outage_of_both_a_canary_that_fails_altogether_is_rolled_back_in_five_windows() -> None:
    down = replace(GOOD, errors=400), replace(STABLE, errors=1600)
    found = judged([(GOOD, STABLE)] * 5 + [down] * 2 + [(replace(GOOD, errors=400), STABLE)] * 30)
    assert (found.decision, minutes(found)) == (CanaryDecision.ROLL_BACK, 5 + 2 + 5)
    assert found.reason.startswith("2000 of 2000 requests to the canary failed, and 40 of 8000")


def test_a_burst_is_one_event_however_many_requests_it_has() -> None:
    found = judged([(replace(GOOD, errors=120), STABLE), (GOOD, STABLE)] * 2 + [(GOOD, STABLE)] * 3)
    assert found.decision is CanaryDecision.CONTINUE
    assert found.evidence["worse"] < 100


def test_few_requests_decide_nothing() -> None:
    few = ArmCounts(requests=2, errors=0, slower={0.5: 0})
    found = judged(always(few, ArmCounts(requests=8, errors=0, slower={0.5: 0})))
    assert (found.decision, minutes(found)) == (CanaryDecision.UNDECIDED, 120)
    assert "0 of 236 requests to the canary failed" in found.reason
    assert "too few to show a difference below 1 points in bursts of up to 10" in found.reason


def test_no_request_decides_nothing() -> None:
    nothing = ArmCounts(requests=0, errors=0)
    found = judged(always(nothing, STABLE))
    assert (found.decision, found.reason) == (CanaryDecision.UNDECIDED, "no request to the canary was counted")


def test_without_a_stable_revision_to_compare_with_nothing_is_decided() -> None:
    found = judged(always(replace(GOOD, errors=400), ArmCounts(requests=0, errors=0)))
    assert found.decision is CanaryDecision.UNDECIDED
    assert "errors were not measured of both revisions" in found.reason


@pytest.mark.parametrize(
    ("absent", "gap"),
    [({"errors": None}, "errors were not measured"), ({"slower": {}}, "slow answers were not measured")],
)
def test_what_is_not_measured_is_a_gap_and_promotes_nothing(absent: dict[str, Any], gap: str) -> None:
    found = judged(always(replace(GOOD, **absent), replace(STABLE, **absent)))
    assert found.decision is CanaryDecision.UNDECIDED
    assert found.reason.startswith(gap)
    assert gap in found.gaps[0]


def test_answers_to_known_requests_are_optional_and_their_absence_is_reported() -> None:
    found = judged(always(replace(GOOD, known_requests=0, unexpected_answers=0)))
    assert found.decision is CanaryDecision.PROMOTE
    assert found.gaps == (
        "no known request was answered by the canary, and errors and latency do not show wrong values",
    )
    assert found.gaps[0] in found.reason


def test_latency_is_judged_by_bounds_around_the_limit_and_what_was_measured_later_is_left_out() -> None:
    slower = {0.005: 400, 0.1: 40, 0.4: 1, 0.75: 1, 2.5: 1}
    judge = CanaryJudge()
    judge.add(window(0, replace(GOOD, slower=slower), replace(STABLE, slower={**slower, 0.3: 1})))
    judge.add(window(1))
    assert [bound for bound, _ in judge.to_dict()["slow"]] == [0.1, 0.4, 0.75]


def test_a_judge_that_is_stored_and_read_after_each_window_comes_to_the_same() -> None:
    source = random.Random(5)
    limits = CanaryLimits(significance=0.02, burst_seconds=150)
    one, other = CanaryJudge(limits), CanaryJudge(limits)
    for number in range(12):
        seen = window(number, replace(GOOD, errors=source.randrange(9)), replace(STABLE, errors=source.randrange(30)))
        assert other.add(seen) == one.add(seen)
        other = CanaryJudge.from_dict(json.loads(json.dumps(other.to_dict())))
        assert (other.to_dict(), other.judgement, other.limits) == (one.to_dict(), one.judgement, one.limits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "the state of the judge has version 1, and this trivet reads version 4"),
        ({"limits": {"max_errors": 1}}, "this is not the state of a judge: TypeError"),
        ({"errors": {}}, "this is not the state of a judge: KeyError: 'count'"),
        ({"judgement": {"decision": "PERHAPS"}}, "this is not the state of a judge: ValueError"),
        ({"times": [1, 2]}, "this is not the state of a judge: ValueError"),
    ],
)
def test_a_state_of_something_else_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        CanaryJudge.from_dict({**CanaryJudge().to_dict(), **change})
    assert refused.value.message.startswith(message)
    assert refused.value.remedy


def test_a_state_with_other_bets_is_refused() -> None:
    state = CanaryJudge().to_dict()
    state["errors"]["worse"].pop()
    with pytest.raises(UsageError, match="worse has 2 numbers in place of 3"):
        CanaryJudge.from_dict(state)


def test_a_window_that_overlaps_the_last_one_would_count_twice() -> None:
    judge = CanaryJudge()
    judge.add(window(0))
    with pytest.raises(UsageError, match=r"a window starts 60\.000 s before the end of the last one"):
        judge.add(window(0))
    judge.add(window(2))


def test_after_a_decision_there_is_nothing_to_judge() -> None:
    judge = CanaryJudge()
    judged(always(replace(GOOD, errors=400)), judge)
    with pytest.raises(UsageError, match="the canary is decided: ROLL_BACK"):
        judge.add(window(9))


@pytest.mark.parametrize(
    ("name", "value", "use"),
    [
        ("max_error_rate", 2.0, "a number from 0 to 1"),
        ("max_error_rate", math.nan, "a number from 0 to 1"),
        ("max_error_increase", 0.0, "a number above 0 and below 1"),
        ("max_quality_loss", 1.0, "a number above 0 and below 1"),
        ("significance", -0.1, "a number above 0 and below 1"),
        ("significance", True, "a number above 0 and below 1"),
        ("abort_factor", 0.5, "a number of at least 1"),
        ("max_latency", -1.0, "a number of seconds, at least 0"),
        ("burst_size", 0, "a number from 1 to 1e+06"),
        ("burst_seconds", -1.0, "a number of seconds, at least 0"),
        ("burst_seconds", 7200.0, "a number of seconds below deadline"),
        ("burst_windows", 0, "a whole number from 1 to 100"),
        ("burst_windows", 1.5, "a whole number from 1 to 100"),
        ("warm_up", "2m", "a number of seconds, at least 0"),
        ("deadline", 900.0, "a number of seconds above min_seconds"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(name: str, value: Any, use: str) -> None:
    with pytest.raises(UsageError, match=rf"the limit {name} is {value!r}") as raised:
        CanaryLimits(**{name: value})
    assert raised.value.remedy == f"use {use}"


def test_the_time_to_a_decision_follows_from_the_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    single = expected_decision_time(requests_per_minute=100, canary_share=0.2, limits=CanaryLimits(burst_size=1))
    sound = expected_decision_time(requests_per_minute=100, canary_share=0.2)
    assert single.decision is sound.decision is CanaryDecision.PROMOTE
    assert 30 < single.minutes < 60
    assert 5 * single.minutes < sound.minutes < 300
    assert sound.canary_requests == round(sound.minutes * 20)
    assert (
        str(sound)
        == f"PROMOTE after about {sound.minutes:.0f} minutes and {sound.canary_requests} requests to the canary"
    )
    worse = expected_decision_time(requests_per_minute=100, canary_share=0.2, canary_error_rate=0.05)
    assert worse.decision is CanaryDecision.ROLL_BACK
    assert worse.minutes < 15
    monkeypatch.setattr("trivet.integration.canary.LONGEST", 50)
    none = expected_decision_time(requests_per_minute=100, canary_share=0.2, error_rate=0.03, interval=600)
    assert none.decision is CanaryDecision.UNDECIDED


@pytest.mark.parametrize(
    ("name", "value"), [("requests_per_minute", 0.0), ("canary_share", 1.0), ("error_rate", 2.0), ("interval", -1.0)]
)
def test_a_time_for_traffic_that_cannot_be_is_refused(name: str, value: float) -> None:
    arguments: dict[str, Any] = {"requests_per_minute": 100, "canary_share": 0.2}
    with pytest.raises(UsageError, match=rf"{name} is {value!r}"):
        expected_decision_time(**{**arguments, name: value})


def test_a_window_takes_no_longer_with_more_requests() -> None:
    """No sum over requests: ten billion of them would take hours."""
    huge = ArmCounts(requests=10**10, errors=10**9, slower={0.1: 10**9, 0.5: 10**7})
    assert judged([(huge, huge)] * 5).decision is CanaryDecision.CONTINUE
