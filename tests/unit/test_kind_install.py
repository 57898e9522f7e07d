"""The installation: order of steps, waiting for workloads, and errors with the last observed state."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from trivet.errors import PlatformError
from trivet.host.kubectl import Kubectl, KubectlError
from trivet.model.events import Event, PhaseEnded
from trivet.model.report import Phase
from trivet.provision.kind import limits
from trivet.provision.kind.install import Installation, diagnose, not_ready_reason
from trivet.provision.kind.manifests import KubernetesObject, render, split_stream
from trivet.provision.kind.steps import InstallStep
from trivet.render.phases import Stopwatch, timetable


def workload(name: str, kind: str = "Deployment") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "n"},
        "spec": {"replicas": 1},
    }


def rolled_out(one: Mapping[str, Any]) -> dict[str, Any]:
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    return {**one, "metadata": {**one["metadata"], "generation": 1}, "status": status}


class Server:
    """A fake API server: what was applied, in order; applied workloads are ready unless ``stuck``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.applied: list[str] = []
        self.refuse: Callable[[str], str] = lambda identifier: ""
        self.waiting: Callable[[], str] = lambda: ""
        self.stuck: set[str] = set()
        self._lock = threading.Lock()
        self._objects: list[dict[str, Any]] = []
        monkeypatch.setattr(limits, "POLL", 0.001)
        monkeypatch.setattr(limits, "READY", 0.2)
        monkeypatch.setattr(limits, "APPLY", 0.3)

    def run(self, verb: str, *arguments: str, stdin: str = "", seconds: float = 0) -> str:
        with self._lock:
            match verb:
                case "apply":
                    return self._apply(stdin)
                case "wait":
                    if words := self.waiting():
                        raise KubectlError("kubectl wait", words)
                    self.applied.append(f"established {arguments[-1]}")
                case "get":
                    return json.dumps({"items": self._objects})
            return ""

    def _apply(self, text: str) -> str:
        for document in split_stream(text):
            if words := self.refuse(document.id):
                raise KubectlError("kubectl apply", words)
            self.applied.append(document.id)
            if document.kind == "Deployment":
                one = workload(document.name)
                self._objects.append(one if document.name in self.stuck else rolled_out(one))
        return ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(monkeypatch)
    monkeypatch.setattr(Kubectl, "run", lambda self, *arguments, **options: server.run(*arguments, **options))
    monkeypatch.setattr("trivet.provision.kind.install.diagnose", lambda *_: "  n/pod: CrashLoopBackOff")
    return server


def install(
    steps: Sequence[InstallStep],
    split_stream: Mapping[str, Sequence[KubernetesObject]],
    events: list[Event] | None = None,
) -> list[str]:
    emitted: list[Event] = [] if events is None else events
    return Installation(Kubectl(context="c"), lambda step: split_stream[step.name], emitted.append).run(steps)


def simple(name: str) -> list[KubernetesObject]:
    return [render(workload(name))]


def step(name: str, **given: Any) -> InstallStep:
    return InstallStep(name=name, files={}, **given)


def test_steps_are_applied_in_the_order_of_their_dependencies(server: Server) -> None:
    events: list[Event] = []
    steps = [step("a"), step("b", after=["a"]), step("c", needs=["b"])]
    ready = install(steps, {name: simple(name) for name in "abc"}, events)
    assert ready == ["n/Deployment/a", "n/Deployment/b", "n/Deployment/c"]
    assert server.applied == ["Deployment/a", "Deployment/b", "Deployment/c"]
    assert sorted(event.name for event in events if isinstance(event, PhaseEnded)) == [
        "install a",
        "install b",
        "install c",
    ]


def test_crds_are_established_before_their_objects_are_applied(server: Server) -> None:
    definition = render({"kind": "CustomResourceDefinition", "metadata": {"name": "things.example.com"}})
    namespace = render({"kind": "Namespace", "metadata": {"name": "n"}})
    install([step("a")], {"a": [*simple("a"), definition, namespace]})
    assert server.applied == [
        "CustomResourceDefinition/things.example.com",
        "Namespace/n",
        "established crd/things.example.com",
        "Deployment/a",
    ]


def test_waiting_for_a_crd_without_conditions_is_repeated(server: Server) -> None:
    left = iter([".status.conditions accessor error: <nil> is of the type <nil>, expected []interface{}"])
    server.waiting = lambda: next(left, "")
    definition = render({"kind": "CustomResourceDefinition", "metadata": {"name": "things.example.com"}})
    install([step("a")], {"a": [definition]})
    assert server.applied[-1] == "established crd/things.example.com"


def test_workloads_of_controllers_are_waited_for(server: Server) -> None:
    server.stuck = {"gateway"}
    with pytest.raises(
        PlatformError,
        match=r"timed out after .* s waiting for the workloads of a to be ready: last seen [\s\S]*n/Deployment/envoy: not found",
    ):
        install([step("a", ready=["n/Deployment/envoy"])], {"a": simple("a")})


def test_a_webhook_that_is_not_ready_yet_is_waited_for(server: Server) -> None:
    left = iter(['failed calling webhook "x": no endpoints available for service'] * 3)
    server.refuse = lambda identifier: next(left, "")
    install([step("a")], {"a": simple("a")})
    assert server.applied == ["Deployment/a"]


def test_a_permanent_error_fails_at_once(server: Server) -> None:
    asked: list[str] = []

    def refuse(identifier: str) -> str:
        asked.append(identifier)
        return 'Error from server (Invalid): Deployment "a" is invalid: unknown field'

    server.refuse = refuse
    with pytest.raises(PlatformError, match=r"install a: .*is invalid"):
        install([step("a")], {"a": simple("a")})
    assert len(asked) == 1


def test_a_failure_names_what_is_not_ready_and_shows_the_pods(server: Server) -> None:
    server.stuck = {"a"}
    with pytest.raises(
        PlatformError, match=r"(?s)n/Deployment/a: not observed by its controller.*CrashLoopBackOff"
    ) as caught:
        install([step("a")], {"a": simple("a")})
    assert "continues the installation" in caught.value.remedy


def test_the_first_failure_is_raised_and_other_steps_are_cancelled(server: Server) -> None:
    server.refuse = lambda identifier: "Error from server (Invalid): no" if identifier == "Deployment/a" else ""
    server.stuck = {"c"}
    with pytest.raises(PlatformError, match="install a"):
        install([step("a"), step("b", needs=["a"]), step("c")], {name: simple(name) for name in "abc"})
    assert "Deployment/b" not in server.applied


def test_objects_that_cannot_be_read_fail_their_step(server: Server) -> None:
    def make(_: InstallStep) -> list[KubernetesObject]:
        raise PlatformError("the module cannot be had")

    with pytest.raises(PlatformError, match="the module cannot be had"):
        Installation(Kubectl(context="c"), make, lambda _: None).run([step("a")])


@pytest.mark.parametrize(
    ("status", "lacking"),
    [
        ({}, "not observed"),
        ({"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 0, "replicas": 1}, "0 of 1 available"),
        ({"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1, "replicas": 2}, "1 of 1 available"),
        ({"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1, "replicas": 1}, ""),
    ],
)
def test_a_deployment_is_ready_when_its_roll_out_is_over(status: dict[str, Any], lacking: str) -> None:
    one = {**workload("a"), "status": status}
    one["metadata"]["generation"] = 1
    assert not_ready_reason(one).startswith(lacking)
    assert bool(not_ready_reason(one)) == bool(lacking)


def test_a_daemon_set_must_be_scheduled_somewhere() -> None:
    one = {**workload("a", "DaemonSet"), "status": {"observedGeneration": 1}}
    assert not_ready_reason(one) == "not scheduled on any node yet"
    one["status"] = {
        "observedGeneration": 1,
        "desiredNumberScheduled": 1,
        "updatedNumberScheduled": 1,
        "numberAvailable": 1,
    }
    assert not_ready_reason(one) == ""


def test_a_diagnosis_has_reasons_log_tails_and_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "status": {
            "containerStatuses": [
                {
                    "name": "c",
                    "ready": False,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                }
            ]
        },
    }
    event = {"type": "Warning", "reason": "BackOff", "message": "again", "involvedObject": {"kind": "Pod", "name": "p"}}
    found = {"pods": [pod], "events": [event, {"type": "Normal"}]}
    monkeypatch.setattr(Kubectl, "objects", lambda self, kind, **_: found[kind])
    monkeypatch.setattr(Kubectl, "logs", lambda self, *_, previous, **__: "panic: no\n" if previous else "")
    assert diagnose(Kubectl(context="c"), ["n"]).splitlines() == [
        "  n/p c: CrashLoopBackOff back-off",
        "    | panic: no",
        "  n: Pod p: BackOff: again",
    ]


def test_the_timetable_shows_where_the_time_went() -> None:
    now = 0.0
    seen: list[Event] = []
    stopwatch = Stopwatch(seen.append, clock=lambda: now)
    now = 10.0
    stopwatch(PhaseEnded(name="cluster", seconds=10.0))
    now = 20.0
    stopwatch(PhaseEnded(name="install a", seconds=5.0))
    stopwatch(PhaseEnded(name="nothing", seconds=0.1))
    assert len(seen) == 3
    assert stopwatch.phases[1] == Phase(name="install a", started=15.0, seconds=5.0)
    assert timetable(stopwatch.phases, stopwatch.seconds).splitlines() == [
        "   10.0 s  cluster    ####################",
        "    5.0 s  install a  ..............................##########",
        "   20.0 s  total",
    ]
