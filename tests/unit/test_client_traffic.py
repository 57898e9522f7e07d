"""Reading traffic: what counts as lost, how long an outage is, and what a timeline holds."""

from __future__ import annotations

import pytest
from fakes.scenario_session import bad, good
from samples.scenarios import FLOW, stalled

from trivet.errors import CannotTell
from trivet.model.traffic import Answer
from trivet.toolkit.client_traffic import all_known, answered_by, outage, timeline


def test_an_outage_is_counted_in_requests_and_in_seconds() -> None:
    answers = [good(0.0, 1), good(0.2, 1), bad(0.4), bad(0.6), good(0.8, 11), good(1.0, 11)]
    found = outage(answers, FLOW)
    assert (found.requests, found.lost, found.errors, found.seconds) == (6, 2, 2, 0.4)
    assert "HTTP 400" in str(found)


def test_an_answer_that_comes_too_late_is_lost() -> None:
    found = outage([good(0.0, 1), good(0.2, 1, seconds=12.0), good(0.4, 1)], FLOW)
    assert (found.lost, found.errors, found.stall) == (1, 0, 12.0)
    assert found.first == "answered by version 1 after 12.0 s, client timeout 10 s"


def test_a_wrong_value_at_http_200_is_lost() -> None:
    assert outage([good(0.0, 7)], FLOW).lost == 1


def test_an_empty_slice_is_no_outage_of_zero_seconds() -> None:
    with pytest.raises(CannotTell, match="no request was due"):
        outage([], FLOW)


@pytest.mark.parametrize(
    ("due", "known"),
    [
        ([0.0, 0.2, 0.4, 0.6, 0.8], True),
        ([0.0, 0.2, 0.6, 0.8], False),
        ([0.0, 0.2, 0.4, 0.8], False),
        ([0.0, 0.2, 0.4, 0.6], True),
        ([0.0, 0.2, 0.4, 0.6, 1.2], True),
        ([0.0, 0.2, 0.4], False),
        ([], False),
    ],
    ids=["all", "one stalls", "the last one stalls", "no more", "one stalls later", "nothing later", "nothing"],
)
def test_a_request_in_flight_is_a_gap_before_a_later_one(due: list[float], known: bool) -> None:
    assert all_known([good(at) for at in due], FLOW, 0.5) is known


def test_an_answer_is_attributed_to_a_model_by_its_values() -> None:
    assert answered_by(good(0.0, 11), FLOW.models) == "version 2"
    assert answered_by(good(0.0, 3), FLOW.models) == ""
    assert answered_by(good(0.0, 3), {}) == "service"
    assert answered_by(Answer(at=0.0, seconds=0.1, status=200, body="<html>"), FLOW.models) == ""
    assert answered_by(Answer(at=0.0, seconds=0.1, status=0, error="refused"), {}) == ""


def test_a_timeline_counts_each_second_by_what_became_of_its_requests() -> None:
    line = stalled()
    assert len(line.buckets) == 60
    # In the order of the models, in which their revisions are too: on the plot they share a colour.
    assert list(line.buckets[3].answers.items()) == [("version 1", 0), ("version 2", 5)]
    assert (line.buckets[12].lost, line.buckets[12].max_seconds) == (5, 10.1)
    assert line.buckets[40].answers == {"version 1": 5, "version 2": 0}
    assert [mark.name for mark in line.marks] == ["fault", "injected", "revert", "recovered"]
    assert line.gauges[0].points[30] == (30.0, {"revision 1": 1.0, "revision 2": 1.0})


def test_a_gap_in_the_traffic_shows_as_seconds_without_requests() -> None:
    line = timeline([good(0.1, 1), good(4.2, 1)], FLOW, began=0.0, ended=5.0, marks={}, gauges={})
    assert [bucket.requests for bucket in line.buckets] == [1, 0, 0, 0, 1]
