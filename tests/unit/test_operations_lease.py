"""The judge's lease: one holder at a time, expired by what this process saw change, and a record that only the holder can save."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes.kubernetes_api import StoredObjects

from trivet.errors import PlatformError
from trivet.integration.kubernetes_api import LEASES, KubernetesError
from trivet.operations.lease import (
    RECORD,
    JudgeLease,
    LeaseHeld,
    LeaseLost,
    LeaseTimes,
    annotate_lease,
    record_of,
)

TIMES = LeaseTimes(duration=30, renew_interval=10, renew_deadline=20, poll=2)
OWNER = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "m", "uid": "u1"}}


class Clock:
    """A monotonic clock that moves when somebody sleeps; ``during`` is called with the time of each sleep."""

    def __init__(self, during: Callable[[float], object] = lambda now: None) -> None:
        self.time = 1000.0
        self.during = during

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.during(self.time)


@pytest.fixture
def cluster() -> StoredObjects:
    return StoredObjects()


def lease(cluster: StoredObjects, holder: str, clock: Clock | None = None) -> JudgeLease:
    clock = clock or Clock()
    return JudgeLease(cluster, "ml", "l", holder=holder, owner=OWNER, times=TIMES, clock=clock.now, sleep=clock.sleep)


def stored(cluster: StoredObjects) -> dict[str, Any]:
    found = cluster.get(LEASES, "ml", "l")
    assert found is not None
    return found


def change_spec(cluster: StoredObjects, **spec: Any) -> None:
    current = stored(cluster)
    cluster.replace(LEASES, {**current, "spec": {**current["spec"], **spec}})


def test_a_lease_that_nobody_has_is_created_with_its_holder_and_deleted_with_the_service(
    cluster: StoredObjects,
) -> None:
    lease(cluster, "a").acquire(wait=0)

    found = stored(cluster)
    assert found["spec"]["holderIdentity"] == "a"
    assert found["spec"]["leaseDurationSeconds"] == 30
    assert found["metadata"]["ownerReferences"] == [
        {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "m", "uid": "u1"}
    ]


def test_a_lease_that_is_renewed_is_never_taken(cluster: StoredObjects) -> None:
    first = lease(cluster, "a")
    first.acquire(wait=0)
    clock = Clock(during=lambda now: first.renew() if now % 10 == 0 else None)

    with pytest.raises(LeaseHeld, match="a judges this service: it holds the lease ml/l"):
        lease(cluster, "b", clock).acquire(wait=600)


def test_a_lease_that_does_not_change_for_its_duration_is_taken(cluster: StoredObjects) -> None:
    lease(cluster, "a").acquire(wait=0)
    clock = Clock()

    lease(cluster, "b", clock).acquire(wait=60)

    assert 30 <= clock.time - 1000 <= 34
    assert stored(cluster)["spec"]["holderIdentity"] == "b"
    assert stored(cluster)["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize("year", ["1970", "2199"])
def test_the_clock_of_the_other_machine_decides_nothing(cluster: StoredObjects, year: str) -> None:
    first = lease(cluster, "a")
    first.acquire(wait=0)
    change_spec(cluster, renewTime=f"{year}-01-01T00:00:00.000000Z")
    clock = Clock()

    with pytest.raises(LeaseHeld):
        lease(cluster, "b", clock).acquire(wait=20)
    lease(cluster, "b", clock).acquire(wait=60)
    assert clock.time - 1000 >= 20 + 30


def test_the_duration_that_the_holder_states_counts(cluster: StoredObjects) -> None:
    lease(cluster, "a").acquire(wait=0)
    change_spec(cluster, leaseDurationSeconds=120)
    clock = Clock()

    lease(cluster, "b", clock).acquire(wait=300)

    assert clock.time - 1000 >= 120


def test_a_released_lease_is_taken_at_once_with_its_record(cluster: StoredObjects) -> None:
    first = lease(cluster, "a")
    first.acquire(wait=0)
    first.save({"windows": 3})
    first.release()
    clock = Clock()
    second = lease(cluster, "b", clock)

    second.acquire(wait=0)

    assert clock.time == 1000
    assert second.record == {"windows": 3}


def test_of_two_that_find_it_expired_one_gets_it(cluster: StoredObjects) -> None:
    lease(cluster, "a").acquire(wait=0)
    rivals: list[JudgeLease] = []

    def rival(verb: str, plural: str, name: str) -> None:
        if verb == "replace" and not rivals:
            rivals.append(lease(cluster, "c"))
            rivals[0].acquire(wait=60)

    cluster.before = rival
    with pytest.raises(LeaseHeld, match="c judges"):
        lease(cluster, "b").acquire(wait=45)
    assert stored(cluster)["spec"]["holderIdentity"] == "c"


def test_who_lost_the_lease_can_neither_save_nor_renew(cluster: StoredObjects) -> None:
    first, second = lease(cluster, "a"), lease(cluster, "b")
    first.acquire(wait=0)
    first.save({"windows": 1})
    second.acquire(wait=60)
    second.save({"windows": 2})

    attempts: list[Callable[[], None]] = [lambda: first.save({"windows": 9}), first.renew, first.check, first.release]
    for attempt in attempts:
        with pytest.raises(LeaseLost, match="b holds it"):
            attempt()
    assert record_of(stored(cluster)) == {"windows": 2}


def test_a_lease_that_was_taken_and_released_meanwhile_is_lost_too(cluster: StoredObjects) -> None:
    first, second = lease(cluster, "a"), lease(cluster, "b")
    first.acquire(wait=0)
    second.acquire(wait=60)
    second.release()

    with pytest.raises(LeaseLost, match="nobody holds it"):
        first.save({})


def test_a_deleted_lease_is_lost(cluster: StoredObjects) -> None:
    first = lease(cluster, "a")
    first.acquire(wait=0)
    cluster.delete(LEASES, "ml", "l")

    with pytest.raises(LeaseLost, match="it was deleted"):
        first.save({})
    assert cluster.get(LEASES, "ml", "l") is None


def test_an_annotation_that_others_write_meanwhile_stays(cluster: StoredObjects) -> None:
    first = lease(cluster, "a")
    first.acquire(wait=0)
    annotate_lease(cluster, "ml", "l", key="trivet.dev/previous", value="{}", owner=OWNER)

    first.save({"windows": 1})

    assert stored(cluster)["metadata"]["annotations"] == {"trivet.dev/previous": "{}", RECORD: '{"windows": 1}'}
    assert stored(cluster)["spec"]["holderIdentity"] == "a"


def test_a_lease_that_could_not_be_renewed_in_time_counts_as_lost(cluster: StoredObjects) -> None:
    clock = Clock()
    first = lease(cluster, "a", clock)
    first.acquire(wait=0)
    clock.sleep(19)
    first.check()
    clock.sleep(2)

    with pytest.raises(LeaseLost, match="not renewed for 20 s"):
        first.check()


def test_missing_permission_is_an_error_that_names_the_command_that_prints_it(cluster: StoredObjects) -> None:
    def forbidden(verb: str, plural: str, name: str) -> None:
        raise KubernetesError("leases is forbidden", status=403, reason="Forbidden")

    cluster.before = forbidden
    with pytest.raises(KubernetesError, match="trivet canary rbac"):
        lease(cluster, "a").acquire(wait=600)


def test_a_record_that_is_no_object_is_an_error(cluster: StoredObjects) -> None:
    annotate_lease(cluster, "ml", "l", key=RECORD, value="[1]", owner=OWNER)

    with pytest.raises(PlatformError, match="is no JSON object"):
        record_of(stored(cluster))
