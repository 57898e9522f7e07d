"""A cluster in memory and a session on it, for tests of the scenario engine: what its injector changes is visible."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trivet.authoring.scenarios import symptom_not_observed
from trivet.errors import NotOffered, PlatformError, UsageError
from trivet.model.events import Emit
from trivet.model.fault import BACKEND, PIPELINES, PLATFORM, SERVING, AffectedObject
from trivet.model.scenario import Case, Workload
from trivet.model.stack import Stack
from trivet.model.traffic import Answer, Stream
from trivet.toolkit.faults import stopped
from trivet.toolkit.merge_patch import reverse
from trivet.toolkit.waiting import eventually
from trivet.toolkit.watch import FAULT, Watch, watching

REQUEST: Mapping[str, Any] = {"inputs": []}


class FakeInjector:
    """Keeps what it changed; ``stuck`` leaves a change that cannot be reverted."""

    def __init__(self, faults: FakeFaultClient, affected_objects: Sequence[AffectedObject]) -> None:
        self._faults = faults
        self.namespaces = faults.namespaces
        self.affected_objects = affected_objects
        self.changed_objects: list[str] = []
        self._reverts: list[Callable[[], object]] = []

    def get(self, kind: str, name: str, *, namespace: str) -> Mapping[str, Any] | None:
        return self._faults.objects.get((kind.lower(), namespace, name))

    def find(self, kind: str, *, namespace: str, selector: str = "") -> Sequence[Mapping[str, Any]]:
        return [one for key, one in self._faults.objects.items() if key[:2] == (kind.lower(), namespace)]

    def execute(self, pod: str, command: Sequence[str], **_: Any) -> tuple[int, str]:
        return 0, self._faults.connection()

    def create(self, document: Mapping[str, Any]) -> None:
        metadata = document["metadata"]
        key = (str(document["kind"]).lower(), metadata["namespace"], metadata["name"])
        self._reverts.append(lambda: self._faults.objects.pop(key, None))
        self._faults.objects[key] = document
        self.changed_objects.append(f"create {key[2]}")

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str) -> None:
        key = (kind.lower(), namespace, name)
        before = self._faults.objects[key]
        back = reverse(patch, before)
        self._reverts.append(lambda: self._faults.objects.__setitem__(key, _merged(self._faults.objects[key], back)))
        self._faults.objects[key] = _merged(before, patch)
        self.changed_objects.append(f"patch {name}")

    def delete_pod(self, pod: str, *, namespace: str) -> None:
        self._faults.objects.pop(("pod", namespace, pod))
        self.changed_objects.append(f"delete {pod}")

    def change(self, what: str, apply: Callable[[], object], revert: Callable[[], object]) -> None:
        self._reverts.append(revert)
        self.changed_objects.append(what)
        apply()

    def crash(self, pod: str, container: str, *, namespace: str) -> None:
        key = ("pod", namespace, pod)
        ended = {"containerStatuses": [{"name": container, "restartCount": 0, "state": {"terminated": {}}}]}
        self._faults.objects[key] = _merged(self._faults.objects[key], {"status": ended})
        self.changed_objects.append(f"crash {pod}")

    def revert(self) -> Sequence[tuple[str, str]]:
        if self._faults.stuck:
            return (("it does not go", "kubectl delete it"),)
        for revert in reversed(self._reverts):
            revert()
        self._reverts.clear()
        return ()


class FakeFaultClient:
    """Fault injectors for a cluster whose ``objects`` are (kind, namespace's role, name) → object."""

    def __init__(
        self, objects: dict[tuple[str, str, str], Mapping[str, Any]] | None = None, *, owned: bool = True
    ) -> None:
        self.objects = {} if objects is None else objects
        self.owned = owned
        self.context = "fake"
        self.namespaces: Mapping[str, str] = {
            PIPELINES: "p",
            SERVING: "s",
            **({PLATFORM: "trivet-platform", BACKEND: "kubeflow"} if owned else {}),
        }
        self.stuck = False
        self.leased = 0
        self.lost = ""
        self.verify: Callable[[], None] = lambda: None
        self.taken: list[FakeInjector] = []
        self.connection: Callable[[], str] = lambda: "open"

    @contextmanager
    def lease(self, wait: float = 0.0) -> Iterator[FakeFaultClient]:
        if self.leased:
            raise UsageError("another run plays scenarios on this cluster")
        self.leased += 1
        yield self
        self.leased -= 1

    def injector(self, affected_objects: Sequence[AffectedObject]) -> FakeInjector:
        injector = FakeInjector(self, affected_objects)
        self.taken.append(injector)
        return injector


class FakeTraffic:
    """Clients that ask ``answer`` for what becomes of a request due at a time."""

    def __init__(self, answer: Callable[[float], Answer]) -> None:
        self._answer = answer
        self.answers: list[Answer] = []

    def send(
        self, service: str, request: Mapping[str, Any], *, times: int, concurrency: int = 4, timeout: float = 30.0
    ) -> list[Answer]:
        return [self._answer(0.0) for _ in range(times)]

    @contextmanager
    def background(
        self, service: str, request: Mapping[str, Any], *, rate: float, timeout: float = 60.0
    ) -> Iterator[FakeBackground]:
        workload = FakeBackground(self._answer, rate, self.answers)
        ticking = threading.Thread(target=workload.run)
        ticking.start()
        try:
            yield workload
        finally:
            workload.ended.set()
            ticking.join()


class FakeBackground:
    def __init__(self, answer: Callable[[float], Answer], rate: float, answers: list[Answer]) -> None:
        self.answers = answers
        self.ended = threading.Event()
        self._answer, self._rate = answer, rate

    @property
    def stream(self) -> Stream:
        return Stream(request=REQUEST, rate=self._rate, answers=self.answers, marks={})

    def mark(self, name: str) -> float:
        return time.monotonic()

    def run(self) -> None:
        while not self.ended.wait(1 / self._rate):
            self.answers.append(self._answer(time.monotonic()))


class FakeSession:
    def __init__(self, documents: Mapping[str, Path] | None = None, **clients: Any) -> None:
        self.clients = clients
        self.collected = 0
        self._documents = documents or {}

    def client(self, name: str) -> Any:
        if name not in self.clients:
            raise NotOffered(f"no client {name}")
        if isinstance(self.clients[name], PlatformError):
            raise self.clients[name]
        return self.clients[name]

    def subjects(self, kind: str) -> Sequence[Any]:
        return ()

    def features(self) -> Mapping[str, str]:
        return {"Knative": "fake"}

    def describe(self) -> Mapping[str, str]:
        return {"context": "fake"}

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        self.collected += everything
        return self._documents


class FakeTarget:
    def __init__(self, session: FakeSession, name: str = "kind") -> None:
        self.session, self.name, self.owns_cluster = session, name, name == "kind"
        self.clients = frozenset(session.clients)
        self.started = False

    def plan(self, stack: Stack) -> Sequence[str]:
        return ()

    @contextmanager
    def start(self, stack: Stack, emit: Emit) -> Iterator[FakeSession]:
        self.started = True
        yield self.session


def good(at: float, value: int = 1, seconds: float = 0.01) -> Answer:
    """An answer of the model that answers ``value``."""
    body = {"outputs": [{"name": "predict", "shape": [1], "datatype": "INT64", "data": [value]}]}
    return Answer(at=at, seconds=seconds, status=200, body=body)


def bad(at: float, seconds: float = 0.01) -> Answer:
    """A model that is not loaded."""
    return Answer(at=at, seconds=seconds, status=400, body={"error": "Model is not ready yet."})


def watched(answer: Callable[[float], Answer], workload: Workload, requests: int = 5) -> Watch:
    """The watch after that many requests of traffic that began under a fault."""
    traffic = FakeTraffic(answer)
    case = Case(
        fault=stopped("x", namespace=SERVING), steady_state=lambda: "", symptom=lambda watch: symptom_not_observed("")
    )
    with watching(case, None) as watch:
        watch.mark(FAULT)
        with watch.sending(traffic, workload):
            eventually("the requests to be sent", lambda: len(traffic.answers) >= requests, timeout=120, poll=0.005)
    return watch


def _merged(now: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    result = dict(now) if isinstance(now, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
