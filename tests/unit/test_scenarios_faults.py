"""The faults that scenarios are made of, on fakes, and requests that begin under one."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.scenario_session import FakeFaultClient, bad, watched

from trivet.errors import CannotTell, PlatformError
from trivet.integration import is_ready
from trivet.model.fault import PLATFORM, SERVING
from trivet.model.scenario import Case, Workload
from trivet.toolkit.faults import applied, in_turn, restarted, stopped
from trivet.toolkit.watch import FAULT, watching

STORE = ("deployment", PLATFORM, "store")
FLOW = Workload(service="c", request={}, models={"one": [1]}, rate=50.0)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.toolkit.waiting.POLL", 0.01)


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, **metadata}}


def store(replicas: int) -> dict[str, Any]:
    return {"metadata": {"name": "store"}, "spec": {"replicas": 1}, "status": {"replicas": replicas}}


def test_of_faults_in_turn_the_second_is_injected_when_the_first_is_verified() -> None:
    faults = FakeFaultClient({STORE: store(0), ("pod", SERVING, "c-predictor-1"): pod("c-predictor-1")})
    both = in_turn(stopped("store", namespace=PLATFORM), restarted("c", names="c-predictor-", namespace=SERVING))
    injector = faults.injector(both.affected_objects)
    assert not both.verify_injected(injector)
    both.inject(injector)
    assert injector.changed_objects == ["patch store", "delete c-predictor-1"]
    verified = both.verify_injected(injector)
    assert isinstance(verified, str)
    assert "0 replicas" in verified
    assert "c-predictor-1" in verified
    assert [affected.name for affected in both.affected_objects] == ["store", "c-predictor-*"]


def test_of_faults_in_turn_the_second_is_not_injected_when_the_first_does_nothing() -> None:
    faults = FakeFaultClient({STORE: store(1), ("pod", SERVING, "c-predictor-1"): pod("c-predictor-1")})
    first = stopped("store", namespace=PLATFORM, budget=0.05)
    both = in_turn(first, restarted("c", names="c-predictor-", namespace=SERVING))
    injector = faults.injector(both.affected_objects)
    with pytest.raises(CannotTell, match="waiting for the fault to be verified: deployment store is scaled to zero"):
        both.inject(injector)
    assert injector.changed_objects == ["patch store"]
    injector.revert()
    assert faults.objects[STORE] == store(1)


def test_no_more_pods_are_deleted_than_requested_and_a_terminating_one_counts_where_it_drains() -> None:
    keys = {("pod", SERVING, name): pod(name) for name in ("c-1", "c-2")}
    ending = {("pod", SERVING, "c-0"): pod("c-0", deletionTimestamp="now")}
    faults = FakeFaultClient({**ending, **keys})
    for draining in (False, True):
        fault = restarted("c", names="c-", namespace=SERVING, draining=draining)
        injector = faults.injector(fault.affected_objects)
        fault.inject(injector)
        (gone,) = (set(keys) | set(ending)) - set(faults.objects)
        assert gone[2] != "c-0", "it was ending already"
        assert fault.verify_injected(injector)
        faults.objects[gone] = pod(gone[2], deletionTimestamp="now")
        assert bool(fault.verify_injected(injector)) is draining
        faults.objects[gone] = pod(gone[2])
        assert not fault.verify_injected(injector)


def test_without_a_pod_nothing_can_be_deleted() -> None:
    fault = restarted("c", names="c-", namespace=SERVING)
    with pytest.raises(PlatformError, match="there is none"):
        fault.inject(FakeFaultClient({}).injector(fault.affected_objects))


def test_a_created_object_is_verified_by_its_own_condition() -> None:
    document = {"kind": "InferenceService", "metadata": {"name": "c", "namespace": SERVING}}
    fault = applied(document, name="a service", shows="is Ready=True", when=is_ready)
    faults = FakeFaultClient({})
    injector = faults.injector(fault.affected_objects)
    assert not fault.verify_injected(injector)
    fault.inject(injector)
    assert not fault.verify_injected(injector)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    faults.objects["inferenceservice", SERVING, "c"] = {**document, "status": ready}
    assert fault.verify_injected(injector) == "InferenceService c is Ready=True"


# -- traffic that begins under the fault


def test_a_case_without_a_flow_may_send_requests_under_the_fault() -> None:
    watch = watched(bad, FLOW)
    assert watch.outage().lost == watch.outage().requests > 3
    line = watch.timeline()
    assert line is not None
    assert line.rate == FLOW.rate
    assert sum(bucket.requests for bucket in line.buckets) == watch.outage().requests


def test_without_any_requests_nothing_is_known_of_clients() -> None:
    case = Case(fault=stopped("x", namespace=SERVING), steady_state=lambda: "", symptom=lambda watch: None)  # type: ignore[arg-type,return-value]
    with watching(case, None) as watch:
        watch.mark(FAULT)
        with pytest.raises(CannotTell, match="sends no requests"):
            watch.outage()
