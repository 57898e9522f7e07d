"""How a recorded roll-out is judged: what loses a request, what shows nothing, and what is never taken for a pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from samples.rollouts import LENGTH, NEW, OLD, answer, service, sound

from trivet.contracts.rollout import (
    promotion_loses_no_request,
    ready_means_loaded,
    rollback_loses_no_request,
    status_names_the_serving_revisions,
    traffic_split_matches_the_request,
)
from trivet.errors import CannotTell
from trivet.model.contract import Contract
from trivet.model.outcome import Outcome, combine
from trivet.model.rollout import Rollout, RolloutChange, RolloutStep
from trivet.model.traffic import Answer, Stream

ALL = (
    ready_means_loaded,
    traffic_split_matches_the_request,
    promotion_loses_no_request,
    rollback_loses_no_request,
    status_names_the_serving_revisions,
)
PROMOTION = 3 * LENGTH


def judged(contract: Contract, rollout: Rollout) -> tuple[Outcome, str]:
    findings = list(contract.check(rollout=rollout))
    outcome = combine(finding.outcome for finding in findings)
    return outcome, "\n".join(finding.message for finding in findings if finding.outcome is outcome)


def with_answers(rollout: Rollout, *spoilt: Answer) -> Rollout:
    """The roll-out with these answers in its stream, in place of those that were due at the same time."""
    assert rollout.stream
    times = {each.at for each in spoilt}
    kept = [each for each in rollout.stream.answers if each.at not in times]
    answers = sorted([*kept, *spoilt], key=lambda each: each.at)
    return replace(rollout, stream=replace(rollout.stream, answers=answers))


def with_step(rollout: Rollout, name: str, **changes: Any) -> Rollout:
    steps: list[RolloutStep] = [replace(step, **changes) if step.name == name else step for step in rollout.steps]
    return replace(rollout, steps=steps)


@pytest.mark.parametrize("contract", ALL, ids=lambda contract: contract.id)
def test_a_sound_roll_out_passes(contract: Contract) -> None:
    assert judged(contract, sound())[0] is Outcome.PASSED


@pytest.mark.parametrize("contract", ALL, ids=lambda contract: contract.id)
def test_a_roll_out_in_which_nothing_was_asked_is_never_a_pass(contract: Contract) -> None:
    assert sound().stream is not None
    nothing = Stream(request={}, rate=4.0, answers=[], marks={})
    try:
        outcome, _ = judged(contract, replace(sound(), first=(), split=(), stream=nothing))
    except CannotTell:
        return
    assert outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("contract", ALL[1:], ids=lambda contract: contract.id)
def test_a_roll_out_that_got_stuck_is_inconclusive_and_names_the_step(contract: Contract) -> None:
    with pytest.raises(CannotTell, match=r"did not reach its step .*: no room for a pod"):
        judged(contract, replace(sound(), steps=(), split=(), failure="no room for a pod"))


def test_a_request_that_is_answered_too_early_by_a_model_not_loaded_is_found() -> None:
    first = [answer(-4.8, 0, status=400), *sound().first[1:]]
    outcome, message = judged(ready_means_loaded, replace(sound(), first=first))
    assert outcome is Outcome.FAILED
    assert "1 of the first 10 requests after Ready=True failed: HTTP 400" in message


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (answer(PROMOTION + 1, 0, status=503), "HTTP 503"),
        (answer(PROMOTION + 1, 5), "HTTP 200"),
        (answer(PROMOTION + 1, 11, seconds=11), "after 11.0 s"),
        (Answer(at=PROMOTION + 1, seconds=60, status=0, error="timed out"), "timed out"),
        (Answer(at=PROMOTION + 1, seconds=0.1, status=200, body="<html>"), "<html>"),
    ],
)
def test_one_request_lost_in_the_window_of_a_promotion_is_a_failure(lost: Answer, words: str) -> None:
    outcome, message = judged(promotion_loses_no_request, with_answers(sound(), lost))
    assert outcome is Outcome.FAILED
    assert (
        "1 of 45 requests in the 11 s around promotion were lost, sent from +1.0 s to +1.0 s relative to it" in message
    )
    assert words in message


def test_what_is_lost_outside_of_a_slice_is_another_statements_matter() -> None:
    rollout = with_answers(sound(), answer(PROMOTION + 1, 0, status=503))
    assert judged(rollback_loses_no_request, rollout)[0] is Outcome.PASSED


def test_a_slice_of_a_few_requests_shows_nothing() -> None:
    rollout = with_step(sound(), RolloutChange.PROMOTED, ended=PROMOTION + 1)
    outcome, message = judged(promotion_loses_no_request, rollout)
    assert (outcome, "only 13 requests in the 3 s around promotion" in message) == (Outcome.INCONCLUSIVE, True)


def test_a_promotion_that_never_came_about_is_no_lossless_one() -> None:
    rollout = replace(with_step(sound(), RolloutChange.PROMOTED, settled=None), failure="within 180 s nothing moved")
    outcome, message = judged(promotion_loses_no_request, rollout)
    assert (outcome, message) == (Outcome.INCONCLUSIVE, "promotion did not complete: within 180 s nothing moved")


@pytest.mark.parametrize("canaries", [0, 120, 280, 1000])
def test_another_split_than_asked_for_is_found(canaries: int) -> None:
    split = [answer(5.0, 11 if number < canaries else 1) for number in range(1000)]
    outcome, message = judged(traffic_split_matches_the_request, replace(sound(), split=split))
    assert outcome is Outcome.FAILED
    assert f"{canaries} of 1000 answers" in message
    assert "20 % were requested (n = 1000, accepted 159 to 243, α ≤ 0.001; 7.7 points off" in message


def test_fewer_answers_than_planned_are_not_judged_at_all() -> None:
    with pytest.raises(CannotTell, match="planned for 1000 events, and there were 990"):
        judged(traffic_split_matches_the_request, replace(sound(), split=sound().split[:990]))


def test_errors_count_for_neither_side_of_a_split() -> None:
    split = [answer(5.0, 0, status=400), *sound().split[1:]]
    outcome, message = judged(traffic_split_matches_the_request, replace(sound(), split=split))
    assert (outcome, "1 of 1000 answers are of neither model" in message) == (Outcome.INCONCLUSIVE, True)


def test_a_status_that_names_the_new_model_while_the_old_one_answers_is_found() -> None:
    tail = [answer(PROMOTION + 4 + quarter / 4, OLD.answer[0]) for quarter in range(24)]
    outcome, message = judged(status_names_the_serving_revisions, with_answers(sound(), *tail))
    assert outcome is Outcome.FAILED
    assert message == "after promotion the status names version 2 (c-00002 at 100 %), but version 1 answered"


def test_a_status_without_traffic_names_nobody() -> None:
    rollout = with_step(sound(), RolloutChange.PROMOTED, service=service({}))
    assert judged(status_names_the_serving_revisions, rollout) == (
        Outcome.INCONCLUSIVE,
        "after promotion there is no traffic in the status",
    )


def test_a_revision_whose_model_is_not_known_is_not_taken_for_the_right_one() -> None:
    outcome, message = judged(status_names_the_serving_revisions, replace(sound(), uris={}))
    assert outcome is Outcome.FAILED
    assert f"but {OLD.name} and {NEW.name} answered" in message


def test_a_roll_out_that_ended_before_its_last_step_is_no_answer() -> None:
    rollout = sound()
    cut = replace(rollout, steps=rollout.steps[:-1], failure="no room for a pod")
    with pytest.raises(CannotTell, match="rollback by a new revision"):
        judged(rollback_loses_no_request, cut)


def test_a_rollback_by_a_new_revision_needs_no_second_one() -> None:
    rollout = sound()
    short = with_step(replace(rollout, steps=rollout.steps[:-2]), RolloutChange.ROLLED_BACK, change={"spec": {}})
    assert judged(rollback_loses_no_request, short)[0] is Outcome.PASSED


def race(at: float) -> Answer:
    """What KServe 0.14.1 answered while the runtime closed an idle connection, nothing else being amiss."""
    body = "readfrom tcp 127.0.0.1:39208->127.0.0.1:8080: write tcp 127.0.0.1:39208->127.0.0.1:8080: use of closed network connection\n"
    return Answer(at=at, seconds=0.1, status=502, body=body)


def test_a_single_connection_that_was_just_closed_is_stated_and_several_are_a_loss() -> None:
    outcome, message = judged(promotion_loses_no_request, with_answers(sound(), race(PROMOTION + 1)))
    assert outcome is Outcome.PASSED
    assert "44 requests in the 11 s around promotion were answered" in message
    assert "1 more hit a connection that the runtime was closing" in message
    outcome, message = judged(
        promotion_loses_no_request, with_answers(sound(), race(PROMOTION + 1), race(PROMOTION + 1.25))
    )
    assert (outcome, "2 of 45 requests" in message) == (Outcome.FAILED, True)


def test_a_connection_that_was_just_closed_says_nothing_of_the_split() -> None:
    """MLServer 1.5.0 under KServe 0.20.0, on two busy cores."""
    split = [race(5.0), *sound().split[1:]]
    outcome, message = judged(traffic_split_matches_the_request, replace(sound(), split=split))
    assert outcome is Outcome.PASSED
    assert "1 more hit a connection that the runtime was closing, 20 % were requested" in message


@pytest.mark.parametrize(
    ("canaries", "races", "outcome"),
    [
        (159, 3, Outcome.PASSED),
        (157, 3, Outcome.INCONCLUSIVE),
        (155, 3, Outcome.FAILED),
        (240, 3, Outcome.PASSED),
        (242, 3, Outcome.INCONCLUSIVE),
        (244, 3, Outcome.FAILED),
        (200, 11, Outcome.INCONCLUSIVE),
    ],
)
def test_closed_connections_may_have_been_of_either_model(canaries: int, races: int, outcome: Outcome) -> None:
    answered = [answer(5.0, 11 if number < canaries else 1) for number in range(1000 - races)]
    split = [*(race(5.0) for _ in range(races)), *answered]
    assert judged(traffic_split_matches_the_request, replace(sound(), split=split))[0] is outcome


def test_a_closed_connection_is_no_answer_of_a_model_that_the_status_does_not_name() -> None:
    split = [race(5.0), *sound().split[1:]]
    outcome, message = judged(status_names_the_serving_revisions, replace(sound(), split=split))
    assert outcome is Outcome.PASSED
    assert "which 999 answers confirm, 1 more hit a connection that the runtime was closing" in message


def test_many_closed_connections_are_answers_of_neither_model() -> None:
    split = [*(race(5.0) for _ in range(11)), *sound().split[11:]]
    outcome, message = judged(status_names_the_serving_revisions, replace(sound(), split=split))
    assert (outcome, "neither model and" in message) == (Outcome.FAILED, True)
