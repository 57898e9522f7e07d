"""Applying the steps of an installation side by side, each as early as its order allows, and waiting until what they start is ready.

Applying twice changes nothing, so an installation that was cut off is simply run again.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from trivet.errors import PlatformError, TrivetError
from trivet.host.kubectl import FIELD_MANAGER, Kubectl, KubectlError
from trivet.model.events import Emit, phase
from trivet.provision.kind import limits, manifests
from trivet.provision.kind.manifests import Document
from trivet.provision.kind.steps import InstallStep

_FIRST = ("Namespace", "CustomResourceDefinition")
_WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
_NOT_YET = re.compile(
    r"failed calling webhook|connection refused|no endpoints available|no matches for kind|not found in group|"
    r"namespaces? \"[^\"]*\" not found|i/o timeout|EOF|etcdserver|the server is currently unable|InternalError|TLS handshake timeout|"
    r"ServiceUnavailable|Conflict"
)
"""What the API server says while something that an object depends on is still starting."""


class Installation:
    """One run over the steps. ``make`` gives a step's documents; it is called in the step's own thread."""

    def __init__(self, kubectl: Kubectl, make: Callable[[InstallStep], Sequence[Document]], emit: Emit) -> None:
        self._kubectl = kubectl
        self._make = make
        self._emit = emit
        self._workloads = Workloads(kubectl)
        self._stop = threading.Event()
        self._wanted: set[str] = set()
        self._applied: dict[str, Future[None]] = {}
        self._ready: dict[str, Future[None]] = {}

    def run(self, steps: Sequence[InstallStep]) -> list[str]:
        """Install everything; the workloads that are ready then. Raises PlatformError of the first step that failed; the others are
        given up then.
        """
        self._applied = {step.name: Future() for step in steps}
        self._ready = {step.name: Future() for step in steps}
        with ThreadPoolExecutor(max(1, len(steps)), thread_name_prefix="trivet-install") as pool:
            try:
                working = [pool.submit(self._install, step) for step in steps]
                failures = [error for error in (one.result() for one in working) if error is not None]
            finally:
                self._stop.set()
        if failures:
            # A step that another one kept from starting has that one's error; whoever failed first is at the root of it.
            raise min(failures, key=lambda failure: failure.at).error
        return sorted(self._wanted)

    def _install(self, step: InstallStep) -> _Failure | None:
        try:
            for name in step.after:
                self._applied[name].result()
            for name in step.needs:
                self._ready[name].result()
            with phase(self._emit, f"install {step.name}"):
                found = list(self._make(step))
                self._apply(step, found)
                self._applied[step.name].set_result(None)
                wanted = [*_own_workloads(found), *step.ready]
                self._await(step, wanted)
                self._wanted.update(wanted)
            self._ready[step.name].set_result(None)
        except BaseException as error:
            failure = _Failure(at=time.monotonic(), error=error)
            for future in (self._applied[step.name], self._ready[step.name]):
                if not future.done():
                    future.set_exception(error)
            self._stop.set()
            return failure
        return None

    def _apply(self, step: InstallStep, found: Sequence[Document]) -> None:
        first = [one for one in found if one.kind in _FIRST]
        self._apply_all(step, first)
        definitions = [f"crd/{one.name}" for one in first if one.kind == "CustomResourceDefinition"]
        if definitions:
            # kubectl gives up at once on a definition that has no conditions at all yet: then it is asked again.
            self._kubectl.wait_for(
                f"the CustomResourceDefinitions of {step.name} to be established",
                lambda: self._established(definitions),
                timeout=limits.APPLY,
                poll=limits.POLL,
                stop=self._stop,
            )
        self._apply_all(step, [one for one in found if one.kind not in _FIRST])

    def _established(self, definitions: Sequence[str]) -> bool:
        timeout = f"--timeout={limits.APPLY:.0f}s"
        self._kubectl.run("wait", "--for=condition=Established", timeout, *definitions, seconds=limits.APPLY + 10)
        return True

    def _apply_all(self, step: InstallStep, found: Sequence[Document]) -> None:
        if not found:
            return
        text = manifests.stream(found)

        def attempt() -> bool | None:
            try:
                self._kubectl.run(
                    *("apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "-f", "-"),
                    stdin=text,
                    seconds=limits.APPLY,
                )
            except KubectlError as error:
                if _NOT_YET.search(error.stderr):
                    raise
                # Nothing that waiting would change.
                raise PlatformError(f"install {step.name}: {error.message}", remedy=error.remedy) from error
            return True

        self._kubectl.wait_for(
            f"{step.name} to be applied", attempt, timeout=limits.APPLY, poll=limits.POLL, stop=self._stop
        )

    def _await(self, step: InstallStep, wanted: Sequence[str]) -> None:
        if not wanted:
            return
        namespaces = sorted({one.partition("/")[0] for one in wanted})
        deadline = time.monotonic() + limits.READY
        while missing := self._workloads.missing(wanted, self._stop):
            if self._stop.is_set():
                raise PlatformError(f"install {step.name}: given up, because another step failed")
            if time.monotonic() > deadline:
                told = "\n".join(f"  {name}: {state}" for name, state in missing.items())
                raise PlatformError(
                    f"install {step.name}: not ready within {limits.READY:.0f} s:\n{told}\n{trouble(self._kubectl, namespaces)}",
                    remedy="see what keeps the pods from starting; `trivet up` goes on from here",
                )


@dataclass(frozen=True, kw_only=True)
class _Failure:
    at: float
    error: BaseException


class Workloads:
    """The state of every workload of the cluster, asked for once per second for all who wait, however many they are."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._lock = threading.Lock()
        self._asked = 0.0
        self._seen: dict[str, str] = {}

    def missing(self, wanted: Iterable[str], stop: threading.Event) -> dict[str, str]:
        """Those of ``wanted`` (``namespace/Kind/name``) that are not ready, each with what it lacks; looks at most once per second."""
        asked = time.monotonic()
        with self._lock:
            if self._asked < asked:
                stop.wait(max(0.0, self._asked + limits.POLL - asked))
                self._look()
            return {name: state for name in wanted if (state := self._seen.get(name, "not there"))}

    def _look(self) -> None:
        try:
            said = self._kubectl.run("get", "deployments,daemonsets,statefulsets", "--all-namespaces", "-o", "json")
        except TrivetError:
            # The API server of a busy small machine may miss one question; the deadline is what counts.
            self._asked = time.monotonic()
            return
        self._seen = {
            f"{one['metadata']['namespace']}/{one['kind']}/{one['metadata']['name']}": lacks(one)
            for one in json.loads(said)["items"]
        }
        self._asked = time.monotonic()


def lacks(workload: Mapping[str, Any]) -> str:
    """What a Deployment, DaemonSet or StatefulSet lacks to be rolled out; empty when it is."""
    spec, status = workload.get("spec", {}), workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 1):
        return "not looked at by its controller yet"
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
        if wanted == 0:
            return "scheduled on no node yet"
    else:
        wanted = spec.get("replicas", 1)
        updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted or available < wanted or status.get("replicas", wanted) > wanted:
        return f"{available} of {wanted} available, {updated} updated"
    return ""


def trouble(kubectl: Kubectl, namespaces: Sequence[str]) -> str:
    """What is wrong in these namespaces, in a few lines: pods that are not ready, their recent output, and warnings."""
    lines: list[str] = []
    for namespace in namespaces:
        try:
            for pod in kubectl.objects("pods", namespace=namespace):
                lines += _pod_trouble(kubectl, pod)
            events = kubectl.objects("events", namespace=namespace)
        except TrivetError as error:
            lines.append(f"  {namespace}: {error.message}")
            continue
        warnings = [one for one in events if one.get("type") == "Warning"]
        for one in sorted(warnings, key=lambda one: str(one.get("lastTimestamp") or ""))[-5:]:
            about = one.get("involvedObject", {})
            lines.append(
                f"  {namespace}: {about.get('kind')} {about.get('name')}: {one.get('reason')}: {one.get('message')}"
            )
    return "\n".join(lines) or "  no pod and no event says why"


def _own_workloads(found: Iterable[Document]) -> list[str]:
    return [f"{one.namespace or 'default'}/{one.kind}/{one.name}" for one in found if one.kind in _WORKLOADS]


def _pod_trouble(kubectl: Kubectl, pod: Mapping[str, Any]) -> list[str]:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    status = pod.get("status", {})
    lines = []
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = one.get("state", {})
        ended = state.get("terminated", {})
        if one.get("ready") or ended.get("reason") == "Completed":
            continue
        waiting = state.get("waiting", {})
        told = waiting.get("reason") or ended.get("reason") or "running, not ready"
        lines.append(f"  {namespace}/{name} {one['name']}: {told} {waiting.get('message', '')}".rstrip())
        for previous in (True, False):
            log = kubectl.logs(name, namespace=namespace, container=one["name"], previous=previous, tail=8)
            if log.strip():
                lines += [f"    | {line}" for line in log.strip().splitlines()]
                break
    if not lines and status.get("phase") == "Pending":
        conditions = status.get("conditions", ())
        lines = [
            f"  {namespace}/{name}: {one.get('reason')}: {one.get('message')}"
            for one in conditions
            if one.get("message")
        ]
    return lines
