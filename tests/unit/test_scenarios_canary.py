"""The scenario of a bad canary: what its two judges decide by the same metrics, and the verdicts on their decisions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from fakes.scenario_session import bad, good

from trivet.errors import CannotTell
from trivet.integration import CanaryCheck, CanaryDecision, CanaryJudgement, CheckOutcome, RevisionMetrics
from trivet.integration.canary import CanaryAspect
from trivet.model.scenario import Workload
from trivet.scenarios._deployments import ask_revisions
from trivet.scenarios.bad_canary import FAILING, KNOWN, NO_TRAFFIC, TRIALS, WRONG, answering, by_constants, judged

FLOW = Workload(service="c", request={}, models={"stable": [1]})
WELL, ILL = [good(0.0)] * 4, [bad(0.0)] * 4


def decided(decision: CanaryDecision, *failed: CanaryAspect) -> CanaryJudgement:
    checks = [CanaryCheck(outcome=CheckOutcome.FAILED, reasons=(), failed=(aspect,)) for aspect in failed]
    return CanaryJudgement(decision=decision, reason="1 of 1 checks passed", checks=tuple(checks))


def test_no_data_passes_the_judge_that_knows_constants_only() -> None:
    found = by_constants(lambda query: None, "ns", "c-2")
    assert (found.outcome, found.reasons) == (CheckOutcome.PASSED, ("error rate 0.0%, 99th percentile 0.00 s",))


@pytest.mark.parametrize(
    ("errors", "p99", "aspect"), [(0.03, 0.1, CanaryAspect.ERRORS), (0.0, 0.6, CanaryAspect.LATENCY)]
)
def test_it_sees_errors_and_latency(errors: float, p99: float, aspect: CanaryAspect) -> None:
    found = by_constants(lambda query: p99 if query.startswith("histogram") else errors, "ns", "c-2")
    assert (found.outcome, found.failed) == (CheckOutcome.FAILED, (aspect,))
    assert not found.abort


def test_a_bad_canary_that_is_promoted_is_the_incident() -> None:
    observation = judged(WRONG, decided(CanaryDecision.PROMOTE), ILL, FLOW, 24.0)
    assert observation.observed
    assert "4 of 4 requests were answered wrongly" in observation.message
    assert judged(NO_TRAFFIC, decided(CanaryDecision.PROMOTE), ILL, FLOW, 24.0).observed


def test_the_right_decision_is_no_incident() -> None:
    assert not judged(
        WRONG, decided(CanaryDecision.ROLL_BACK, CanaryAspect.LATENCY, CanaryAspect.VALUES), WELL, FLOW, 6.0
    ).observed
    assert not judged(NO_TRAFFIC, decided(CanaryDecision.INCONCLUSIVE), ILL, FLOW, 24.0).observed
    assert not judged(TRIALS["sound"], decided(CanaryDecision.PROMOTE), WELL, FLOW, 24.0).observed


@pytest.mark.parametrize("failed", [(CanaryAspect.LATENCY,), (CanaryAspect.LATENCY, CanaryAspect.ERRORS), ()])
def test_the_right_decision_for_another_fault_than_the_canary_s_shows_nothing(failed: Sequence[CanaryAspect]) -> None:
    with pytest.raises(CannotTell, match="by chance: expected values to fail"):
        judged(TRIALS["constants"], decided(CanaryDecision.ROLL_BACK, *failed), WELL, FLOW, 24.0)


def test_a_bad_canary_that_should_be_inconclusive_and_is_rolled_back_is_no_incident() -> None:
    with pytest.raises(CannotTell, match="neither the right decision nor the incident"):
        judged(NO_TRAFFIC, decided(CanaryDecision.ROLL_BACK, CanaryAspect.LATENCY), WELL, FLOW, 24.0)


def test_a_sound_canary_that_is_rolled_back_is_no_protection() -> None:
    assert judged(TRIALS["sound"], decided(CanaryDecision.ROLL_BACK), WELL, FLOW, 24.0).observed


@pytest.mark.parametrize(
    ("decision", "answers"),
    [(CanaryDecision.INCONCLUSIVE, WELL), (CanaryDecision.PROMOTE, WELL), (CanaryDecision.ROLL_BACK, ILL)],
    ids=["nothing decided", "promoted without harm", "taken back and still ill"],
)
def test_what_shows_nothing_is_neither(decision: CanaryDecision, answers: Sequence[Any]) -> None:
    with pytest.raises(CannotTell):
        judged(FAILING, decided(decision), answers, FLOW, 24.0)


class Pods:
    """A cluster client in whose pods every command prints the given text."""

    namespace = "ns"

    def __init__(self, *lines: Any, pods: int = 1) -> None:
        self.lines, self.pods = lines, pods
        self.asked: Sequence[str] = ()

    def get(self, kind: str, name: str = "", **_: str) -> Mapping[str, Any]:
        return {"items": [{"metadata": {"name": f"pod-{number}"}} for number in range(self.pods)]}

    def execute(self, pod: str, command: Sequence[str], **_: Any) -> tuple[int, str]:
        self.asked = command
        return 0, "\n".join(json.dumps(line) for line in self.lines)


def values(*data: int) -> list[Any]:
    return [200, {"outputs": [{"name": "predict", "shape": [len(data)], "datatype": "INT64", "data": list(data)}]}]


def test_known_requests_are_asked_of_each_revision_at_its_own_service() -> None:
    pods = Pods(values(*[11] * 20), values(*[1] * 20))
    arms = answering(pods, ("c-2", "c-1"), [RevisionMetrics(requests=7), RevisionMetrics(requests=9)], [1] * len(KNOWN))  # type: ignore[arg-type]
    assert arms == [
        RevisionMetrics(requests=7, known_requests=20, expected_answers=0),
        RevisionMetrics(requests=9, known_requests=20, expected_answers=20),
    ]
    assert "http://c-2.ns.svc.cluster.local/v2/models/judged-classifier/infer" in pods.asked


@pytest.mark.parametrize(
    ("answer", "count"), [([500, "KeyError"], 0), ([200, "no JSON of V2"], 0), ([0, "refused"], None)]
)
def test_an_error_is_a_wrong_answer_and_no_answer_is_none(answer: Any, count: int | None) -> None:
    (arm,) = answering(Pods(answer), ("c-2",), [RevisionMetrics()], [1] * len(KNOWN))  # type: ignore[arg-type]
    assert arm.expected_answers == count


@pytest.mark.parametrize("pods", [Pods(pods=0), Pods()], ids=["no pod", "no answer from it"])
def test_revisions_that_could_not_be_asked_show_nothing(pods: Pods) -> None:
    with pytest.raises(CannotTell):
        ask_revisions(pods, "c", ("c-2",), {})  # type: ignore[arg-type]
