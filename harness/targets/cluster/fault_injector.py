"""Makes and reverts faults on a cluster.

How a change is reverted is written to the run's journal before the change is made, as a kubectl command that may run twice: a created
object is deleted, a patched one gets the previous values of its fields by a patch. So the next run, or ``trivet doctor --clean``, reverts
the faults of a killed run.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from trivet.errors import PlatformError, TrivetError, UsageError
from trivet.host.journal import Run
from trivet.host.kubectl import Kubectl
from trivet.host.signals import uninterruptible
from trivet.model.fault import BACKEND, PIPELINES, PLATFORM, SERVING, AffectedObject, Verb
from trivet.provision.access import BACKEND_NAMESPACE, PLATFORM_NAMESPACE, ClusterAccess
from trivet.targets.cluster import limits
from trivet.targets.cluster.lease import HeldLease, hold_lease
from trivet.targets.cluster.namespaces import Namespaces
from trivet.toolkit.merge_patch import holds, reverse

_KILL = 'for each in /proc/[0-9]*; do case "${each#/proc/}" in 1|$$) ;; *) kill -9 "${each#/proc/}" ;; esac; done'
"""Kills every process of a container but the first, which cannot be killed from inside."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change that was made or is about to be made. ``revert`` are the arguments of kubectl that revert it."""

    what: str
    verb: Verb
    kind: str
    name: str
    namespace: str
    revert: tuple[str, ...]
    number: int
    restore: Any = None
    """The merge patch that restores the previous values; None for a created object."""


@dataclass(frozen=True, kw_only=True)
class CustomChange:
    """A change of something that the scenario created itself, outside Kubernetes."""

    what: str
    revert: Callable[[], object]


class ClusterFaults:
    """Implements ``trivet.model.clients.FaultClient``."""

    def __init__(self, access: ClusterAccess, namespaces: Namespaces, run: Run) -> None:
        self.owned = access.owned
        self.context = access.kubectl.context
        self.namespaces: Mapping[str, str] = {
            PIPELINES: namespaces.pipelines,
            SERVING: namespaces.serving,
            **({PLATFORM: PLATFORM_NAMESPACE, BACKEND: BACKEND_NAMESPACE} if access.owned else {}),
        }
        self._kubectl = replace(access.kubectl, mark=run.id)
        self._own = namespaces
        self._run = run

    def lease(self, wait: float = 0.0) -> AbstractContextManager[HeldLease]:
        """Hold the cluster's lease for scenarios during the block. Raises UsageError when another run still holds it after ``wait`` s."""
        namespace = self.namespaces.get(PLATFORM, self.namespaces[SERVING])
        return hold_lease(
            self._kubectl,
            self._run,
            namespace=namespace,
            holder=self._own.id,
            wait=wait,
            gone_with=self._kubectl.kubeconfig if self.owned else None,
        )

    def injector(self, affected_objects: Sequence[AffectedObject]) -> ClusterFaultInjector:
        """An injector that can change ``affected_objects`` and nothing else."""
        return ClusterFaultInjector(
            self._kubectl, self._run, self.namespaces, self._own.label, affected_objects, owned=self.owned
        )


class ClusterFaultInjector:
    """Implements ``trivet.model.clients.RevertibleInjector``."""

    def __init__(
        self,
        kubectl: Kubectl,
        run: Run,
        namespaces: Mapping[str, str],
        label: Mapping[str, str],
        affected_objects: Sequence[AffectedObject],
        *,
        owned: bool = False,
    ) -> None:
        self.namespaces = namespaces
        # When the kubeconfig of trivet's own cluster is gone, so is the cluster; another cluster may only be unreachable.
        self._gone_with = kubectl.kubeconfig if owned else None
        self._kubectl = kubectl
        self._run = run
        self._label = label
        self._remaining = {one: one.count for one in affected_objects}
        self._changes: list[Change | CustomChange] = []
        self._changed_objects: list[str] = []

    @property
    def changed_objects(self) -> Sequence[str]:
        """A description of each change so far."""
        return tuple(self._changed_objects)

    def get(self, kind: str, name: str, *, namespace: str) -> Mapping[str, Any] | None:
        """One object, or None when it does not exist."""
        return self._kubectl.get(kind, name, namespace=self._namespace(namespace))

    def find(self, kind: str, *, namespace: str, selector: str = "") -> Sequence[Mapping[str, Any]]:
        """The objects that ``selector`` matches."""
        return self._kubectl.objects(kind, namespace=self._namespace(namespace), selector=selector)

    def execute(
        self, pod: str, command: Sequence[str], *, namespace: str, container: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        """Run a command in a pod; returns its exit status, and standard output followed by standard error."""
        arguments = self._kubectl.exec_arguments(
            pod, command, namespace=self._namespace(namespace), container=container, interactive=False
        )
        done = self._kubectl.attempt(*arguments, seconds=seconds)
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")

    @uninterruptible
    def create(self, document: Mapping[str, Any]) -> None:
        """Create an object; its ``metadata.namespace`` is a role. Raises UsageError when an object of that name already exists."""
        kind, metadata = str(document["kind"]), document["metadata"]
        name, role = metadata["name"], metadata["namespace"]
        self._permit(Verb.CREATE, kind, name, role)
        place = self._namespace(role)
        if self._kubectl.get(kind, name, namespace=place) is not None:
            raise UsageError(
                f"cannot create {kind} {name} for the fault: it already exists in {place}",
                remedy=f"delete it, if nobody needs it: kubectl delete {kind} {name} -n {place}",
            )
        revert = ("delete", kind, name, "-n", place, "--ignore-not-found")
        change = self._record(Verb.CREATE, kind, name, place, revert)
        labels = {**(metadata.get("labels") or {}), **self._label}
        labelled = {**document, "metadata": {**metadata, "namespace": place, "labels": labels}}
        self._change(change, ("create", "--validate=strict", "-f", "-"), stdin=json.dumps(labelled))

    @uninterruptible
    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str) -> None:
        """Change an object with a JSON merge patch; the revert restores the previous values of its fields."""
        self._permit(Verb.PATCH, kind, name, namespace)
        place = self._namespace(namespace)
        before = self._kubectl.get(kind, name, namespace=place)
        if before is None:
            raise PlatformError(f"cannot patch {kind} {name}: it does not exist in {place}")
        restore = reverse(patch, before)
        # In a file that only this user can read: a patch may have a secret, and command lines are visible to all users.
        path = self._run.directory / f"revert-{len(self._changes)}-{os.urandom(4).hex()}.json"
        path.touch(mode=0o600, exist_ok=False)
        with path.open("w", encoding="utf-8") as file:
            json.dump(restore, file)
            file.flush()
            os.fsync(file.fileno())
        revert = ("patch", kind, name, "-n", place, "--type=merge", f"--patch-file={path}")
        change = self._record(Verb.PATCH, kind, name, place, revert, restore)
        arguments = ("patch", kind, name, "-n", place, "--type=merge", "--patch-file=/dev/stdin")
        self._change(change, arguments, stdin=json.dumps(patch))

    def delete_pod(self, pod: str, *, namespace: str) -> None:
        """Delete a pod, which its controller creates again. Raises UsageError for a pod without a controller."""
        self._permit(Verb.REPLACE, "pod", pod, namespace)
        place = self._namespace(namespace)
        existing = self._kubectl.get("pod", pod, namespace=place)
        if existing is None:
            raise PlatformError(f"cannot delete pod {pod}: it does not exist in {place}")
        if not any(owner.get("controller") for owner in existing["metadata"].get("ownerReferences") or ()):
            raise UsageError(
                f"cannot delete pod {pod} for the fault: it has no controller that creates it again",
                remedy="name a pod of a Deployment or StatefulSet",
            )
        self._changed_objects.append(f"delete pod/{pod} in {place}, which its controller creates again")
        self._kubectl.delete("pod", pod, namespace=place, wait=False)

    @uninterruptible
    def change(self, what: str, apply: Callable[[], object], revert: Callable[[], object]) -> None:
        """Change something that the scenario created and that is not a Kubernetes object."""
        self._changes.append(CustomChange(what=what, revert=revert))
        self._changed_objects.append(what)
        apply()

    def crash(self, pod: str, container: str, *, namespace: str) -> None:
        """Kill the child processes of a container's first process. When that process exits too, the kubelet restarts the container."""
        self._permit(Verb.REPLACE, "pod", pod, namespace)
        place = self._namespace(namespace)
        self._changed_objects.append(
            f"kill the processes of {container} in pod/{pod} in {place}, which the kubelet restarts"
        )
        # The exit status is not reliable, because the shell may be killed with its container.
        self.execute(pod, ["sh", "-c", _KILL], namespace=namespace, container=container)

    @uninterruptible
    def revert(self) -> Sequence[tuple[str, str]]:
        """Revert every change, the last one first. Returns the changes that remain: the reason, and the command that reverts it."""
        remaining: list[tuple[Change | CustomChange, str]] = []
        interrupt: KeyboardInterrupt | None = None
        for change in reversed(self._changes):
            try:
                failure = self._revert_change(change)
            except KeyboardInterrupt as error:
                # An interrupt is raised once; after that, nothing interrupts the reverts (trivet.host.signals).
                interrupt = error
                failure = self._revert_change(change)
            if failure:
                remaining.append((change, failure))
        self._changes = [change for change, _ in reversed(remaining)]
        if interrupt:
            raise interrupt
        return tuple(
            (
                f"{change.what}: {failure}",
                shlex.join(self._kubectl.argv(*change.revert)) if isinstance(change, Change) else "",
            )
            for change, failure in remaining
        )

    def _revert_change(self, change: Change | CustomChange) -> str:
        """Revert one change; returns the error, or an empty string. Raises no Exception, so that the other changes are reverted too."""
        try:
            if isinstance(change, CustomChange):
                change.revert()
                return ""
            if failure := self._revert_object(change):
                return failure
            self._run.cleanup_done(change.number)
        except TrivetError as error:
            return error.message
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _revert_object(self, change: Change) -> str:
        """Revert a change of an object and verify the revert; returns the error, or an empty string. Raises PlatformError."""
        now = self._kubectl.get(change.kind, change.name, namespace=change.namespace)
        if now is None:
            return "" if change.verb is Verb.CREATE else f"{change.kind} {change.name} no longer exists"
        self._kubectl.run(*change.revert, seconds=limits.DELETED)
        now = self._kubectl.get(change.kind, change.name, namespace=change.namespace)
        if change.verb is Verb.CREATE:
            return "" if now is None else "it still exists"
        return "" if now is not None and holds(now, change.restore) else "its fields do not have their previous values"

    def _record(
        self, verb: Verb, kind: str, name: str, place: str, revert: tuple[str, ...], restore: Any = None
    ) -> Change:
        what = f"{verb} {kind}/{name} in {place}"
        number = self._run.add_cleanup(
            f"a fault: {what}", self._kubectl.argv(*revert), required=True, gone_with=self._gone_with
        )
        change = Change(
            what=what, verb=verb, kind=kind, name=name, namespace=place, revert=revert, number=number, restore=restore
        )
        self._changes.append(change)
        return change

    def _change(self, change: Change, arguments: Sequence[str], *, stdin: str) -> None:
        self._changed_objects.append(change.what)
        self._kubectl.run(*arguments, stdin=stdin)

    def _namespace(self, role: str) -> str:
        if role not in self.namespaces:
            raise UsageError(
                f"no fault may change the namespace {role!r} on this cluster",
                remedy=f"use one of the roles {', '.join(self.namespaces)}",
            )
        return self.namespaces[role]

    def _permit(self, verb: Verb, kind: str, name: str, role: str) -> None:
        """Count a change against the declared affected objects. Raises UsageError for an object that is not declared, or one too many."""
        declared = next((one for one in self._remaining if one.covers(verb, kind, name, role)), None)
        if declared is None:
            raise UsageError(
                f"the fault does not declare that it would {verb} {kind}/{name} in the {role} namespace",
                remedy="add an AffectedObject to its affected_objects, which `trivet scenario plan` shows",
            )
        if not self._remaining[declared]:
            raise UsageError(
                f"the fault changes more objects than it declares: {declared}, and {kind}/{name} would be one more",
                remedy="correct the count of this AffectedObject, or narrow the selector",
            )
        self._remaining[declared] -= 1
