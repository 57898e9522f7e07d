"""Applies the steps of an installation in parallel, each as soon as its dependencies allow, and waits until their workloads are ready.

Applying is idempotent, so an interrupted installation is run again from the start.
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
from trivet.provision.kind.manifests import KubernetesObject
from trivet.provision.kind.steps import InstallStep
from trivet.toolkit.waiting import eventually

_FIRST = ("Namespace", "CustomResourceDefinition")
_WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
_RETRYABLE = re.compile(
    r"failed calling webhook|connection refused|no endpoints available|no matches for kind|not found in group|"
    r"namespaces? \"[^\"]*\" not found|i/o timeout|EOF|etcdserver|the server is currently unable|InternalError|TLS handshake timeout|"
    r"ServiceUnavailable|Conflict"
)
"""Errors of the API server while something that an object depends on is still starting."""


class Installation:
    """One installation. ``make`` returns the objects of a step; it is called in the step's thread."""

    def __init__(self, kubectl: Kubectl, make: Callable[[InstallStep], Sequence[KubernetesObject]], emit: Emit) -> None:
        self._kubectl = kubectl
        self._make = make
        self._emit = emit
        self._workloads = Workloads(kubectl)
        self._stop = threading.Event()
        self._names: set[str] = set()
        self._applied: dict[str, Future[None]] = {}
        self._ready: dict[str, Future[None]] = {}

    def run(self, steps: Sequence[InstallStep]) -> list[str]:
        """Install all steps and return the names of their workloads, which are ready. Raises the PlatformError of the first step that
        fails, and cancels the others.
        """
        self._applied = {step.name: Future() for step in steps}
        self._ready = {step.name: Future() for step in steps}
        with ThreadPoolExecutor(max(1, len(steps)), thread_name_prefix="trivet-install") as pool:
            try:
                futures = [pool.submit(self._install, step) for step in steps]
                failures = [failure for failure in (one.result() for one in futures) if failure is not None]
            finally:
                self._stop.set()
        if failures:
            # A step that depends on a failed one has the same error; the earliest failure is the cause.
            raise min(failures, key=lambda failure: failure.at).error
        return sorted(self._names)

    def _install(self, step: InstallStep) -> _Failure | None:
        try:
            for name in step.after:
                self._applied[name].result()
            for name in step.needs:
                self._ready[name].result()
            with phase(self._emit, f"install {step.name}"):
                objects = list(self._make(step))
                self._apply(step, objects)
                self._applied[step.name].set_result(None)
                names = [*_workload_names(objects), *step.ready]
                self._wait_until_ready(step, names)
                self._names.update(names)
            self._ready[step.name].set_result(None)
        except BaseException as error:
            failure = _Failure(at=time.monotonic(), error=error)
            for future in (self._applied[step.name], self._ready[step.name]):
                if not future.done():
                    future.set_exception(error)
            self._stop.set()
            return failure
        return None

    def _apply(self, step: InstallStep, objects: Sequence[KubernetesObject]) -> None:
        first = [one for one in objects if one.kind in _FIRST]
        self._apply_all(step, first)
        definitions = [f"crd/{one.name}" for one in first if one.kind == "CustomResourceDefinition"]
        if definitions:
            # `kubectl wait` fails at once for a definition that has no conditions yet, so it is repeated.
            self._kubectl.wait_for(
                f"the CustomResourceDefinitions of {step.name} to be established",
                lambda: self._established(definitions),
                timeout=limits.APPLY,
                poll=limits.POLL,
                stop=self._stop,
            )
        self._apply_all(step, [one for one in objects if one.kind not in _FIRST])

    def _established(self, definitions: Sequence[str]) -> bool:
        timeout = f"--timeout={limits.APPLY:.0f}s"
        self._kubectl.run("wait", "--for=condition=Established", timeout, *definitions, seconds=limits.APPLY + 10)
        return True

    def _apply_all(self, step: InstallStep, objects: Sequence[KubernetesObject]) -> None:
        if not objects:
            return
        text = manifests.join_stream(objects)

        def attempt() -> bool | None:
            try:
                self._kubectl.run(
                    *("apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "-f", "-"),
                    stdin=text,
                    seconds=limits.APPLY,
                )
            except KubectlError as error:
                if _RETRYABLE.search(error.stderr):
                    raise
                # Another attempt would fail in the same way.
                raise PlatformError(f"install {step.name}: {error.message}", remedy=error.remedy) from error
            return True

        self._kubectl.wait_for(
            f"{step.name} to be applied", attempt, timeout=limits.APPLY, poll=limits.POLL, stop=self._stop
        )

    def _wait_until_ready(self, step: InstallStep, names: Sequence[str]) -> None:
        if not names:
            return
        namespaces = sorted({one.partition("/")[0] for one in names})

        def not_ready() -> Mapping[str, str]:
            found = self._workloads.not_ready(names, self._stop)
            if found and self._stop.is_set():
                raise PlatformError(f"install {step.name}: cancelled, because another step failed")
            return found

        eventually(
            f"the workloads of {step.name} to be ready",
            not_ready,
            until=lambda found: not found,
            timeout=limits.READY,
            describe=lambda found: "\n".join(
                [*(f"{name}: {reason}" for name, reason in (found or {}).items()), diagnose(self._kubectl, namespaces)]
            ),
            raises=PlatformError,
            remedy="find out why the pods do not start; the same command continues the installation",
            poll=0.0,
        )


@dataclass(frozen=True, kw_only=True)
class _Failure:
    at: float
    error: BaseException


class Workloads:
    """The state of all workloads of the cluster, shared by the threads that wait: at most one request per second."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._lock = threading.Lock()
        self._refreshed = 0.0
        self._reasons: dict[str, str] = {}

    def not_ready(self, names: Iterable[str], stop: threading.Event) -> dict[str, str]:
        """Those of the workloads ``names`` (``namespace/Kind/name``) that are not ready, each with the reason."""
        now = time.monotonic()
        with self._lock:
            if self._refreshed < now:
                stop.wait(max(0.0, self._refreshed + limits.POLL - now))
                self._refresh()
            return {name: reason for name in names if (reason := self._reasons.get(name, "not found"))}

    def _refresh(self) -> None:
        try:
            output = self._kubectl.run("get", "deployments,daemonsets,statefulsets", "--all-namespaces", "-o", "json")
        except TrivetError:
            # On a small, busy machine the API server may fail a single request; the caller's deadline decides.
            self._refreshed = time.monotonic()
            return
        self._reasons = {
            f"{one['metadata']['namespace']}/{one['kind']}/{one['metadata']['name']}": not_ready_reason(one)
            for one in json.loads(output)["items"]
        }
        self._refreshed = time.monotonic()


def not_ready(kubectl: Kubectl, workloads: Sequence[str]) -> Mapping[str, str]:
    """Those of the workloads (``namespace/Kind/name``) that are not ready now, each with the reason."""
    return Workloads(kubectl).not_ready(workloads, threading.Event())


def listed(lacking: Mapping[str, str]) -> str:
    """Workloads that are not ready, for messages."""
    return ", ".join(f"{name} ({reason})" for name, reason in lacking.items())


def not_ready_reason(workload: Mapping[str, Any]) -> str:
    """Why the roll-out of a Deployment, DaemonSet or StatefulSet is not complete; empty when it is."""
    spec, status = workload.get("spec", {}), workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 1):
        return "not observed by its controller yet"
    if workload["kind"] == "DaemonSet":
        desired = status.get("desiredNumberScheduled", 0)
        updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
        if desired == 0:
            return "not scheduled on any node yet"
    else:
        desired = spec.get("replicas", 1)
        updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < desired or available < desired or status.get("replicas", desired) > desired:
        return f"{available} of {desired} available, {updated} updated"
    return ""


def diagnose(kubectl: Kubectl, namespaces: Sequence[str]) -> str:
    """The problems in these namespaces, in a few lines: pods that are not ready, the tail of their logs, and Warning events."""
    lines: list[str] = []
    for namespace in namespaces:
        try:
            for pod in kubectl.objects("pods", namespace=namespace):
                lines += _diagnose_pod(kubectl, pod)
            events = kubectl.objects("events", namespace=namespace)
        except TrivetError as error:
            lines.append(f"  {namespace}: {error.message}")
            continue
        warnings = [one for one in events if one.get("type") == "Warning"]
        for one in sorted(warnings, key=lambda one: str(one.get("lastTimestamp") or ""))[-5:]:
            involved = one.get("involvedObject", {})
            lines.append(
                f"  {namespace}: {involved.get('kind')} {involved.get('name')}: {one.get('reason')}: {one.get('message')}"
            )
    return "\n".join(lines) or "  no pod is unready, and there is no Warning event"


def _workload_names(objects: Iterable[KubernetesObject]) -> list[str]:
    return [f"{one.namespace or 'default'}/{one.kind}/{one.name}" for one in objects if one.kind in _WORKLOADS]


def _diagnose_pod(kubectl: Kubectl, pod: Mapping[str, Any]) -> list[str]:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    status = pod.get("status", {})
    lines = []
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = one.get("state", {})
        terminated = state.get("terminated", {})
        if one.get("ready") or terminated.get("reason") == "Completed":
            continue
        waiting = state.get("waiting", {})
        reason = waiting.get("reason") or terminated.get("reason") or "running, not ready"
        lines.append(f"  {namespace}/{name} {one['name']}: {reason} {waiting.get('message', '')}".rstrip())
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
