"""What a judge of canaries accumulates, where windows differ from each other."""

from __future__ import annotations

import json

import pytest

from trivet.integration.canary_rates import BadRequests, Count, Rule

RULE = Rule(limit=0.02, tolerated=0.001, increase=0.01)
SOUND = Count(bad=1, requests=200, stable_bad=3, stable_requests=800)


def watched(*windows: Count) -> float:
    bad = BadRequests(RULE)
    for window in windows:
        bad.watch(window, factor=3.0)
        bad = BadRequests.from_dict(RULE, json.loads(json.dumps(bad.to_dict())))
    return bad.log_excess


@pytest.mark.parametrize("rates", [(1.0, 2), (0.5, 5), (0.1, 10)])
def test_after_an_outage_of_both_a_canary_that_goes_on_failing_is_seen_in_five_windows(
    rates: tuple[float, int],
) -> None:
    rate, minutes = rates
    outage = [Count(200 * rate, 200, 800 * rate, 800)] * minutes
    failing = Count(200, 200, 3, 800)
    assert watched(*[SOUND] * 5, *outage, *[failing] * 5) > 6.9
    assert watched(*[SOUND] * 5, *outage, *[failing] * 4) < 6.9
    assert watched(*[SOUND] * 5, *[failing] * 2) > 6.9


def test_a_window_in_which_the_stable_revision_fails_too_ends_the_calm() -> None:
    outage, failing = Count(200, 200, 800, 800), Count(200, 200, 3, 800)
    assert watched(outage, *[failing] * 4, Count(200, 200, 40, 800), *[failing] * 4) == 0


def test_rates_and_shares_that_change_together_are_no_evidence_for_the_canary() -> None:
    """Worse by two points in each of two windows, and by the sums of both as good as the stable revision."""
    logs = []
    for seconds in (0.0, 120.0):
        bad = BadRequests(Rule(limit=0.02, tolerated=0.001, increase=0.01, burst_seconds=seconds))
        bad.compare(Count(6, 50, 95, 950), start=0, end=60)
        bad = BadRequests.from_dict(bad.rule, json.loads(json.dumps(bad.to_dict())))
        assert bad.waiting is (seconds > 0)
        bad.compare(Count(12, 500, 2, 500), start=60, end=120)
        assert not bad.waiting
        logs.append(bad.log_not_worse)
    assert max(logs) < 0


def test_the_sums_of_a_block_whose_shares_stay_are_bet_on_as_those_of_one_window() -> None:
    whole = BadRequests(RULE)
    whole.compare(Count(5, 600, 12, 1600), start=0, end=120)
    halves = BadRequests(Rule(limit=0.02, tolerated=0.001, increase=0.01, burst_seconds=120))
    halves.compare(Count(5, 300, 2, 800), start=0, end=60)
    halves.compare(Count(0, 300, 10, 800), start=60, end=120)
    assert halves.log_not_worse == pytest.approx(whole.log_not_worse)
