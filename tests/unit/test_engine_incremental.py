"""Runs in which the caller decides the order: one start of the stack, and results that outlive a cluster that is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fakes.scenario_session import FakeFaultClient, FakeSession
from fakes.scenario_session import FakeTarget as FakeCluster
from fakes.target import STACK, FakeTarget, white

from trivet.authoring.scenarios import scenario, symptom_observed, unprotected
from trivet.engine.incremental import IncrementalRun
from trivet.engine.scenarios.incremental import IncrementalScenarioRun
from trivet.errors import PlatformError
from trivet.model.fault import SERVING
from trivet.model.scenario import Case, Verdict
from trivet.toolkit.faults import stopped


def open_run(target: Any) -> IncrementalRun:
    return IncrementalRun(target=target, stack=STACK, profile="core", emit=lambda event: None)


class BrokenTarget(FakeTarget):
    starts = 0

    @contextmanager
    def start(self, stack: Any, emit: Any) -> Iterator[Any]:
        self.starts += 1
        raise PlatformError("no room")
        yield


def test_a_stack_that_does_not_start_is_tried_once_and_every_contract_gets_the_reason() -> None:
    target = BrokenTarget()
    with open_run(target) as run:
        for _ in range(2):
            with pytest.raises(PlatformError, match="no room"):
                run.judge(white)
    assert target.starts == 1


class UnreachableCluster(FakeFaultClient):
    """Nothing can be reverted any more, and the lease cannot be released."""

    @contextmanager
    def lease(self, wait: float = 0.0) -> Iterator[FakeFaultClient]:
        yield self
        raise PlatformError("the cluster cannot be reached")


@scenario(
    title="t",
    happens="h",
    recognise="r",
    remedy="m",
    variants=[unprotected("bare", "as it is"), unprotected("again", "as it is")],
    affected_objects=stopped("features", namespace=SERVING).affected_objects,
)
def incident(faults: FakeFaultClient) -> Iterator[Case]:
    yield Case(
        fault=stopped("features", namespace=SERVING),
        steady_state=lambda: "well",
        symptom=lambda watch: symptom_observed("it hurts"),
    )


def test_a_fault_that_is_left_behind_is_known_although_the_lease_cannot_be_released() -> None:
    there = {"metadata": {"name": "features"}, "spec": {"replicas": 1}, "status": {}}
    faults = UnreachableCluster({("deployment", SERVING, "features"): there})
    faults.stuck = True
    with open_run(FakeCluster(FakeSession(faults=faults))) as run:
        playing = IncrementalScenarioRun(run)
        for variant in incident.variants:
            with pytest.raises(PlatformError, match="cannot be reached"):
                playing.play(incident, variant)
        (result,) = playing.report().scenarios
    first, second = result.variants
    assert (first.verdict, bool(first.cleanup)) == (Verdict.ERROR, True)
    assert second.verdict is Verdict.INCONCLUSIVE
    assert "is not reverted" in second.reason
    assert len(faults.taken) == 1, "nothing more is changed on a cluster with a fault left behind"
