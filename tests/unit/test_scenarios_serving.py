"""What the scenarios of serving read and decide: pods that fail, memory that is counted, and when nothing was shown."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.scenario_session import FakeFaultClient, bad, good, watched

from trivet.errors import CannotTell
from trivet.model.handover import ServableModel
from trivet.model.scenario import Verdict, Workload
from trivet.model.traffic import Answer
from trivet.scenarios import out_of_memory, ready_not_loaded, store_outage
from trivet.scenarios._service_status import StatusLog, container_failures, unready_containers

FLOW = Workload(service="c", request={}, models={"one": [1]}, rate=50.0)


def pod(
    name: str, *, init: Mapping[str, Any] | None = None, server: Mapping[str, Any] | None = None, **metadata: Any
) -> dict[str, Any]:
    """A pod with the statuses of its two containers."""
    return {
        "metadata": {"name": name, "uid": name, **metadata},
        "status": {
            "initContainerStatuses": [{"name": "storage-initializer", "ready": True, **(init or ended(0))}],
            "containerStatuses": [
                {"name": "kserve-container", "ready": False, **(server or {"state": {"running": {}}})}
            ],
        },
    }


def ended(status: int, reason: str = "Error", restarts: int = 0, *, before: bool = False) -> dict[str, Any]:
    """The status of a container that ended so, now or before its last start."""
    end = {"terminated": {"exitCode": status, "reason": reason}}
    now = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": end} if before else {"state": end}
    return {**now, "restartCount": restarts}


def test_a_batch_is_verified_when_the_server_was_reached() -> None:
    for status, reached in ((0, False), (500, True), (200, True)):
        batch: list[Answer] = []
        answers = [Answer(at=0.0, seconds=0.1, status=status)] * 2
        traffic: Any = SimpleNamespace(send=lambda *_, found=answers, **__: found)
        fault = out_of_memory.large_batch(traffic, batch)
        injector = FakeFaultClient({}).injector(fault.affected_objects)
        assert not fault.verify_injected(injector), "nothing was asked yet"
        fault.inject(injector)
        assert bool(fault.verify_injected(injector)) is reached


# -- what pods and control groups say


def test_containers_that_are_not_ready_are_reported_with_how_they_ended() -> None:
    well = pod("a", server={"ready": True, "state": {"running": {}}})
    assert unready_containers(well) == ""
    crashing = pod("a", init=ended(1, restarts=2, before=True))
    assert unready_containers(crashing) == (
        "storage-initializer waiting CrashLoopBackOff restarted 2×, last state terminated Error 1, kserve-container running"
    )
    assert unready_containers({"metadata": {"name": "pending"}}) == ""


def test_an_initializer_has_failed_when_it_ended_with_a_status_now_or_before() -> None:
    assert store_outage.initializer_failed(pod("a", init=ended(1)))
    assert store_outage.initializer_failed(pod("a", init=ended(1, before=True)))
    assert not store_outage.initializer_failed(pod("a", init=ended(0, "Completed")))
    assert not store_outage.initializer_failed(pod("a", init={"state": {"running": {}}}))


def test_a_killed_server_is_recognised_by_the_current_or_the_last_state_of_its_pod() -> None:
    assert out_of_memory.oom_killed(pod("a", server=ended(137, "OOMKilled"))) == "OOMKilled 137"
    assert out_of_memory.oom_killed(pod("a", server=ended(0, "OOMKilled", 3, before=True))) == "OOMKilled 0"
    assert not out_of_memory.oom_killed(pod("a", server=ended(0, "Completed")))
    assert not out_of_memory.oom_killed(pod("a", init=ended(137, "OOMKilled")))


@pytest.mark.parametrize(
    ("counters", "found"),
    [
        ("1073741824\nlow 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n", (1024.0, 2)),
        ("536870912\noom_kill_disable 0\nunder_oom 0\noom_kill 0\n", (512.0, 0)),
    ],
)
def test_both_versions_of_control_groups_are_read(counters: str, found: tuple[float, int]) -> None:
    assert out_of_memory.parse_counters(counters) == found


@pytest.mark.parametrize("counters", ["", "max\n", "12\n", "cat: not found\noom_kill 1"])
def test_a_control_group_with_other_content_is_an_error(counters: str) -> None:
    with pytest.raises(CannotTell, match="memory counters of the container's cgroup are"):
        out_of_memory.parse_counters(counters)


def test_a_log_has_an_entry_for_each_change() -> None:
    log = StatusLog(time.monotonic())
    for status in ("a", "a", "b", "a"):
        log.record(status)
    assert [status for _, status in log.entries] == ["a", "b", "a"]


# -- what is shown, and when nothing is


class Cluster:
    """Pods of one service, their logs, and what their control groups count."""

    namespace = "s"

    def __init__(self, *pods: Mapping[str, Any], log: str = "", peak: int = 600, killed: int = 0) -> None:
        self.pods = pods
        self._log = log
        self._counts = f"{peak * 2**20}\noom_kill {killed}\n"

    def get(self, kind: str, name: str = "", **_: Any) -> Mapping[str, Any] | None:
        return {"items": self.pods} if kind == "pod" else None

    def log(self, pod: str, container: str, *, previous: bool = False, **_: Any) -> str:
        return "" if previous else self._log

    def execute(self, pod: str, command: Sequence[str], **_: Any) -> tuple[int, str]:
        return 0, self._counts


KILLED = (
    "Worker with PID 12 on default inference pool stopped unexpectedly with exit code 9. Triggering worker restart..."
)


def after_a_batch(cluster: Cluster, *statuses: int, answer: Any = good, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    monkeypatch.setattr(out_of_memory, "AFTER", 0.0)
    watch = watched(answer, FLOW)
    batch = [Answer(at=0.0, seconds=0.1, status=status) for status in statuses]
    observation = out_of_memory._observe(watch, cluster, batch)  # type: ignore[arg-type]
    return Verdict.VULNERABLE if observation.observed else Verdict.PROTECTED


def test_requests_lost_to_a_killed_worker_are_the_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    for cluster in (
        Cluster(pod("a"), log=KILLED, killed=1),
        Cluster(pod("a"), killed=1),
        Cluster(pod("a", server=ended(137, "OOMKilled", before=True))),
    ):
        assert after_a_batch(cluster, 500, 500, answer=bad, monkeypatch=monkeypatch) is Verdict.VULNERABLE


def test_a_batch_that_is_answered_from_enough_memory_is_protected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert after_a_batch(Cluster(pod("a"), peak=1500), 200, 200, monkeypatch=monkeypatch) is Verdict.PROTECTED


def test_a_batch_that_took_no_memory_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotTell, match="used less memory than the 1024 MiB"):
        after_a_batch(Cluster(pod("a"), peak=600), 200, 200, monkeypatch=monkeypatch)


def test_requests_lost_to_something_else_show_nothing_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotTell, match="no process was OOM-killed"):
        after_a_batch(Cluster(pod("a")), 500, 500, answer=bad, monkeypatch=monkeypatch)


def test_the_memory_of_a_service_without_a_pod_is_unknown() -> None:
    with pytest.raises(CannotTell, match="no container of c"):
        out_of_memory.memory(Cluster(), "c")  # type: ignore[arg-type]


def test_a_killed_container_is_the_cause() -> None:
    cluster = Cluster(pod("a", server=ended(137, "OOMKilled", before=True)))
    assert [str(one) for one in container_failures(cluster, "c")] == ["kserve-container: OOMKilled, exit status 137"]  # type: ignore[arg-type]
    worker = Cluster(pod("a", server=ended(0, "Completed")), log=KILLED)
    (cause,) = container_failures(worker, "c")  # type: ignore[arg-type]
    assert cause.error.endswith("Triggering worker restart...")


def test_while_no_new_pod_has_failed_the_outage_of_the_store_shows_nothing() -> None:
    watch = watched(good, FLOW)
    watch.deadline = time.monotonic() + 0.05
    with pytest.raises(CannotTell, match="the storage initializer of a new pod to fail"):
        store_outage._observe(watch, Cluster(pod("a")))  # type: ignore[arg-type]


def test_a_service_is_probed_as_its_variant_has_it() -> None:
    model = ServableModel(name="m", registered="r", version="1", storage_uri="s3://b/m/", answer=[1])
    cluster: Any = Cluster()
    probes = {
        variant.name: ready_not_loaded.service(cluster, model, variant.name)["spec"]["predictor"]["model"].get(
            "readinessProbe"
        )
        for variant in ready_not_loaded.answers_not_ready.variants
    }
    assert probes["runtime-default"] is None
    assert probes["model-probe"]["httpGet"]["path"] == f"/v2/models/{ready_not_loaded.NAME}/ready"
    assert probes["server-probe"]["httpGet"]["path"] == "/v2/health/ready"
