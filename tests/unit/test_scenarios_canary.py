"""The scenario of a bad canary: what its two judges decide by the same metrics, and the verdicts on their decisions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakes.scenario_session import bad, good

from trivet.errors import CannotTell
from trivet.integration import ArmCounts, CanaryAspect, CanaryDecision
from trivet.model.scenario import Workload
from trivet.scenarios._deployments import ask_revisions
from trivet.scenarios.bad_canary import (
    FAILING,
    KNOWN,
    NO_TRAFFIC,
    TRIALS,
    WRONG,
    Analysis,
    Check,
    Counts,
    analysed_by_constants,
    analysed_by_windows,
    answering,
    by_constants,
    counted,
    judged,
)

FLOW = Workload(service="c", request={}, models={"stable": [1]})
WELL, ILL = [good(0.0)] * 4, [bad(0.0)] * 4


def decided(decision: CanaryDecision, *failed: CanaryAspect) -> Analysis:
    return Analysis(decision=decision, reason="1 of 1 checks passed", failed=failed, table=[{"outcome": "FAILED"}])


def test_no_data_passes_the_judge_that_knows_constants_only() -> None:
    assert by_constants(lambda query: None, "ns", "c-2") == ("error rate 0.0%, 99th percentile 0.00 s", [])


@pytest.mark.parametrize(
    ("errors", "p99", "aspect"), [(0.03, 0.1, CanaryAspect.ERRORS), (0.0, 0.6, CanaryAspect.LATENCY)]
)
def test_it_sees_errors_and_latency(errors: float, p99: float, aspect: CanaryAspect) -> None:
    _, failed = by_constants(lambda query: p99 if query.startswith("histogram") else errors, "ns", "c-2")
    assert failed == [aspect]


@pytest.mark.parametrize(
    ("checks", "decision", "counts"),
    [
        ([[], [], [], []], CanaryDecision.PROMOTE, "4 of 4 checks passed, 0 failed, 0 inconclusive: seen"),
        ([[], None, [], []], CanaryDecision.PROMOTE, "3 of 4 checks passed, 0 failed, 1 inconclusive: seen"),
        ([["errors"], [], [], []], CanaryDecision.ROLL_BACK, "3 of 4 checks passed, 1 failed, 0 inconclusive: seen"),
        ([None] * 4, CanaryDecision.UNDECIDED, "0 of 4 checks passed, 0 failed, 4 inconclusive: "),
    ],
)
def test_constants_decide_by_the_share_of_the_checks_that_pass(
    checks: Sequence[Sequence[Any] | None], decision: CanaryDecision, counts: str
) -> None:
    answers = iter(checks)

    def check() -> Check:
        failed = next(answers)
        if failed is None:
            raise CannotTell("Prometheus does not answer")
        return "seen", failed

    waited: list[float] = []
    found = analysed_by_constants(check, waited.append)
    assert (found.decision, found.reason, waited) == (decision, counts, [6.0] * 4)


class Windows:
    """Counters that grow by the given counts in each window of six seconds; without ``grows``, ones that do not exist."""

    def __init__(self, canary: ArmCounts | None, stable: ArmCounts) -> None:
        self.grows, self.number = (canary, stable), 0

    def now(self) -> float:
        return 6.0 * self.number

    def wait(self, seconds: float) -> None:
        self.number += 1

    def count(self) -> Counts:
        canary, stable = (
            ArmCounts(
                requests=one.requests * self.number,
                errors=(one.errors or 0) * self.number,
                slower={bound: slow * self.number for bound, slow in one.slower.items()},
            )
            if one
            else ArmCounts(requests=0, errors=0, slower={0.5: 0})
            for one in self.grows
        )
        return canary, stable

    def analysis(self, wrong: int | None = None) -> Analysis:
        def asking() -> Counts:
            canary, stable = (
                ArmCounts(requests=0, errors=None, known_requests=20, unexpected_answers=one) for one in (wrong or 0, 0)
            )
            return canary, stable

        return analysed_by_windows(self.count, None if wrong is None else asking, self.wait, self.now)


FINE, MANY = ArmCounts(requests=24, errors=0, slower={0.5: 0}), ArmCounts(requests=96, errors=0, slower={0.5: 0})


@pytest.mark.parametrize(
    ("windows", "wrong", "decision", "failed", "seconds"),
    [
        (Windows(FINE, MANY), 0, CanaryDecision.PROMOTE, (), 42),
        (Windows(FINE, MANY), 20, CanaryDecision.ROLL_BACK, (CanaryAspect.VALUES,), 18),
        (Windows(replace(FINE, errors=24), MANY), None, CanaryDecision.ROLL_BACK, (CanaryAspect.ERRORS,), 12),
        (
            Windows(
                ArmCounts(requests=6, errors=0, slower={0.5: 6}), ArmCounts(requests=24, errors=0, slower={0.5: 0})
            ),
            0,
            CanaryDecision.ROLL_BACK,
            (CanaryAspect.LATENCY,),
            30,
        ),
        (Windows(None, MANY), None, CanaryDecision.UNDECIDED, (), 72),
    ],
    ids=["sound", "wrong values", "errors", "latency", "no traffic"],
)
def test_the_core_library_decides_each_variant_within_its_time(
    windows: Windows, wrong: int | None, decision: CanaryDecision, failed: Sequence[CanaryAspect], seconds: int
) -> None:
    found = windows.analysis(wrong)
    assert (found.decision, found.failed, windows.now()) == (decision, failed, seconds)
    assert found.table[-1] == {"outcome": decision.value, "reasons": found.reason}


class Counters:
    """A Prometheus with the counters of MLServer."""

    asked: Sequence[str] = ()

    def query(self, promql: str) -> list[tuple[Mapping[str, str], float]]:
        self.asked = [*self.asked, promql]
        requests, bucket = "rest_server_requests_total", "rest_server_request_duration_seconds_bucket"
        return [
            ({"__name__": requests, "status_code": "200"}, 90.0),
            ({"__name__": requests, "status_code": "500"}, 10.0),
            ({"__name__": bucket, "status_code": "200", "le": "0.25"}, 70.0),
            ({"__name__": bucket, "status_code": "200", "le": "0.5"}, 80.0),
            ({"__name__": bucket, "status_code": "200", "le": "+Inf"}, 90.0),
            ({"__name__": bucket, "status_code": "500", "le": "0.5"}, 10.0),
            ({"__name__": bucket, "status_code": "500", "le": "+Inf"}, 10.0),
        ]


def test_the_counters_of_a_revision_are_read_at_one_time() -> None:
    prometheus = Counters()
    canary, stable = counted(prometheus, "ns", ("c-2", "c-1"))  # type: ignore[arg-type]
    assert canary == stable == ArmCounts(requests=100, errors=10, slower={0.5: 10})
    assert [f'revision="{one}"' in promql for one, promql in zip(("c-2", "c-1"), prometheus.asked, strict=True)] == [
        True,
        True,
    ]


def test_a_bad_canary_that_is_promoted_is_the_incident() -> None:
    observation = judged(WRONG, decided(CanaryDecision.PROMOTE), ILL, FLOW, 24.0)
    assert observation.observed
    assert "4 of 4 requests were answered wrongly" in observation.message
    assert judged(NO_TRAFFIC, decided(CanaryDecision.PROMOTE), ILL, FLOW, 24.0).observed


def test_the_right_decision_is_no_incident() -> None:
    assert not judged(
        WRONG, decided(CanaryDecision.ROLL_BACK, CanaryAspect.LATENCY, CanaryAspect.VALUES), WELL, FLOW, 6.0
    ).observed
    assert not judged(NO_TRAFFIC, decided(CanaryDecision.UNDECIDED), ILL, FLOW, 24.0).observed
    assert not judged(TRIALS["sound"], decided(CanaryDecision.PROMOTE), WELL, FLOW, 24.0).observed


@pytest.mark.parametrize("failed", [(CanaryAspect.LATENCY,), (CanaryAspect.LATENCY, CanaryAspect.ERRORS), ()])
def test_the_right_decision_for_another_fault_than_the_canary_s_shows_nothing(failed: Sequence[CanaryAspect]) -> None:
    with pytest.raises(CannotTell, match="by chance: expected values to fail"):
        judged(TRIALS["constants"], decided(CanaryDecision.ROLL_BACK, *failed), WELL, FLOW, 24.0)


def test_a_bad_canary_that_should_be_undecided_and_is_rolled_back_is_no_incident() -> None:
    with pytest.raises(CannotTell, match="neither the right decision nor the incident"):
        judged(NO_TRAFFIC, decided(CanaryDecision.ROLL_BACK, CanaryAspect.LATENCY), WELL, FLOW, 24.0)


def test_a_sound_canary_that_is_rolled_back_is_no_protection() -> None:
    assert judged(TRIALS["sound"], decided(CanaryDecision.ROLL_BACK), WELL, FLOW, 24.0).observed


@pytest.mark.parametrize(
    ("decision", "answers"),
    [(CanaryDecision.UNDECIDED, WELL), (CanaryDecision.PROMOTE, WELL), (CanaryDecision.ROLL_BACK, ILL)],
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
    arms = answering(pods, ("c-2", "c-1"), [1] * len(KNOWN))  # type: ignore[arg-type]
    assert [(arm.known_requests, arm.unexpected_answers) for arm in arms] == [(20, 20), (20, 0)]
    assert "http://c-2.ns.svc.cluster.local/v2/models/judged-classifier/infer" in pods.asked


@pytest.mark.parametrize(
    ("answer", "known"), [([500, "KeyError"], 20), ([200, "no JSON of V2"], 20), ([0, "refused"], 0)]
)
def test_an_error_is_a_wrong_answer_and_no_answer_is_none(answer: Any, known: int) -> None:
    arm, _ = answering(Pods(answer, values(*[1] * 20)), ("c-2", "c-1"), [1] * len(KNOWN))  # type: ignore[arg-type]
    assert (arm.known_requests, arm.unexpected_answers) == (known, known)


@pytest.mark.parametrize("pods", [Pods(pods=0), Pods()], ids=["no pod", "no answer from it"])
def test_revisions_that_could_not_be_asked_show_nothing(pods: Pods) -> None:
    with pytest.raises(CannotTell):
        ask_revisions(pods, "c", ("c-2",), {})  # type: ignore[arg-type]
