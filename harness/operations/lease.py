"""The lease of a service's judge: one Kubernetes Lease that also carries the judge's record, so that only its holder can save one.

Holder and record are in one object and have one ``resourceVersion``: a judge that lost the lease cannot save, whatever it believes. As in
client-go's leader election (k8s.io/client-go v0.30.4 tools/leaderelection/leaderelection.go), a lease has expired when this process saw no
change of it for its duration by its own monotonic clock: no clock of another machine is compared with one of this machine.

It decides nothing, and knows of the record only that it is a JSON object.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trivet.errors import PlatformError
from trivet.integration.kubernetes_api import LEASES, ConflictError, KubernetesApi, KubernetesError, Resource

RECORD = "trivet.dev/canary-record"
"""The annotation with the judge's record. All annotations of an object may take 256 KiB (k8s.io/apimachinery v0.30.4
pkg/api/validation/objectmeta.go, TotalAnnotationSizeLimitB)."""

RBAC_REMEDY = "grant its ServiceAccount what `trivet canary rbac` prints"
ATTEMPTS = 5
"""Attempts to change a lease that other clients change at the same moment."""


@dataclass(frozen=True, kw_only=True)
class LeaseTimes:
    """Times in seconds: a lease that does not change for ``duration`` has expired; its holder renews it every ``renew_interval``, and
    acts on it no longer when it has not been able to for ``renew_deadline``. ``poll`` is the time between two looks at another's lease."""

    duration: float = 30.0
    renew_interval: float = 10.0
    renew_deadline: float = 20.0
    poll: float = 2.0


TIMES = LeaseTimes()


class LeaseHeld(PlatformError):
    """Another process holds the lease and renews it."""


class LeaseLost(PlatformError):
    """This process does not hold the lease, or does not know whether it does: it must neither save nor act."""


class JudgeLease:
    """The lease ``name``, for the process that calls itself ``holder``, an identity that no other process has.

    ``owner`` is the object that the lease is deleted with. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        cluster: KubernetesApi,
        namespace: str,
        name: str,
        *,
        holder: str,
        owner: Mapping[str, Any] | None = None,
        times: LeaseTimes = TIMES,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._owner = owner
        self._times = times
        self._clock = clock
        self._sleep = sleep
        self._current: dict[str, Any] = {}
        self._renewed = 0.0
        self._lost = ""
        self._failure: PlatformError | None = None
        self._lock = threading.RLock()

    def acquire(self, *, wait: float) -> None:
        """Acquire it: create it, or take it when nobody holds it or it has expired.

        Raises LeaseHeld when another process still renews it after ``wait`` seconds, and KubernetesError.
        """
        started = seen_at = self._clock()
        seen: object = None
        while True:
            now = self._clock()
            current = self._read()
            spec = (current or {}).get("spec") or {}
            if current is None or spec != seen:
                seen, seen_at = spec, now
            expires = seen_at + float(spec.get("leaseDurationSeconds") or self._times.duration)
            free = current is None or not spec.get("holderIdentity") or spec["holderIdentity"] == self._holder
            if (free or now >= expires) and self._take(current):
                return
            if now - started >= wait and not free:
                raise LeaseHeld(
                    f"{spec['holderIdentity']} judges this service: it holds the lease {self._namespace}/{self._name}, last renewed "
                    f"{self._clock() - seen_at:.0f} s ago",
                    remedy="let it go on; when it was killed, its lease expires by itself, and another judge goes on where it was",
                )
            self._sleep(self._times.poll)

    @property
    def record(self) -> dict[str, Any]:
        """The record as it was last read or saved; empty when there is none. Raises PlatformError when it is no JSON object."""
        with self._lock:
            return record_of(self._current)

    def save(self, record: Mapping[str, Any]) -> None:
        """Save the record, and renew the lease with it. Raises LeaseLost, and KubernetesError."""
        self._change(record)

    def renew(self) -> None:
        """Renew it once. Raises LeaseLost, and KubernetesError when the API server does not answer."""
        self._change(None)

    def check(self) -> None:
        """Raise LeaseLost unless this process holds the lease by all it knows."""
        with self._lock:
            if not self._lost and self._clock() - self._renewed < self._times.renew_deadline:
                return
            reason = self._lost or f"it was not renewed for {self._times.renew_deadline:g} s"
            if self._failure:
                reason += f": {self._failure.message}"
            raise LeaseLost(
                f"lost the lease {self._namespace}/{self._name}: {reason}",
                remedy=(self._failure.remedy if self._failure else "")
                or "start the judge again: it goes on where it was",
            )

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew it in a thread during the block, and release it afterwards."""
        stopped = threading.Event()
        thread = threading.Thread(target=self._renew_until, args=(stopped,), name="trivet-judge-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            # Whoever waits for it takes it when it expires, if the API server does not answer now.
            with suppress(PlatformError):
                self.release()

    def release(self) -> None:
        """Let another process take it at once; the record stays. Raises LeaseLost, and KubernetesError."""
        self._change(None, holder="")
        self._lost = "it was released"

    def _renew_until(self, stopped: threading.Event) -> None:
        while not self._lost and not stopped.wait(self._times.renew_interval):
            try:
                self.renew()
                self._failure = None
            except PlatformError as error:
                self._failure = error

    def _take(self, current: Mapping[str, Any] | None) -> bool:
        """Take the lease as it was read; False when another process changed it meanwhile."""
        before = self._clock()
        document = (
            deepcopy(dict(current))
            if current is not None
            else new_lease(self._namespace, self._name, owner=self._owner)
        )
        spec = document.get("spec") or {}
        now = _micro_time()
        document["spec"] = {
            **spec,
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(1, round(self._times.duration)),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (current is not None),
        }
        try:
            write = self._cluster.create if current is None else self._cluster.replace
            stored = write(LEASES, document)
        except ConflictError:
            return False
        except KubernetesError as error:
            if error.status == 404 and current is not None:
                return False
            raise with_rbac(error) from error
        with self._lock:
            self._current, self._renewed, self._lost, self._failure = stored, before, "", None
        return True

    def _change(self, record: Mapping[str, Any] | None, *, holder: str | None = None) -> None:
        with self._lock:
            if self._lost:
                self.check()
            for _ in range(ATTEMPTS):
                before = self._clock()
                document = deepcopy(self._current)
                if record is not None:
                    annotations = document["metadata"].get("annotations") or {}
                    document["metadata"]["annotations"] = {**annotations, RECORD: json.dumps(record, sort_keys=True)}
                document["spec"] = {**document["spec"], "renewTime": _micro_time()}
                if holder is not None:
                    document["spec"]["holderIdentity"] = holder
                try:
                    self._current = self._cluster.replace(LEASES, document)
                except ConflictError:
                    self._read_again()
                except KubernetesError as error:
                    if error.status == 404:
                        self._lose("it was deleted")
                    raise with_rbac(error) from error
                else:
                    self._renewed = before
                    return
            raise LeaseLost(
                f"cannot change the lease {self._namespace}/{self._name}: other clients changed it during each of {ATTEMPTS} attempts",
                remedy="start the judge again: it goes on where it was",
            )

    def _read(self) -> dict[str, Any] | None:
        return read_permitted(self._cluster, LEASES, self._namespace, self._name)

    def _read_again(self) -> None:
        current = self._read()
        found = ((current or {}).get("spec") or {}).get("holderIdentity")
        if current is None:
            self._lose("it was deleted")
        elif found != self._holder:
            self._lose(f"{found or 'nobody'} holds it")
        else:
            self._current = current

    def _lose(self, reason: str) -> None:
        self._lost = reason
        self._failure = None
        self.check()


def lease_name(service: str) -> str:
    """The name of the Lease of a service's judge."""
    return f"trivet-canary-{service}"


def annotate_lease(
    cluster: KubernetesApi, namespace: str, name: str, *, key: str, value: str, owner: Mapping[str, Any]
) -> None:
    """Write an annotation of the lease, which nobody need hold for that; its record and holder stay. Raises KubernetesError."""
    for _ in range(ATTEMPTS):
        try:
            current = cluster.get(LEASES, namespace, name)
            document = deepcopy(current) if current is not None else new_lease(namespace, name, owner=owner)
            metadata = document["metadata"]
            metadata["annotations"] = {**(metadata.get("annotations") or {}), key: value}
            if current is None:
                cluster.create(LEASES, document)
            else:
                cluster.replace(LEASES, document)
            return
        except ConflictError as error:
            conflict = error
        except KubernetesError as error:
            raise with_rbac(error) from error
    raise conflict


def new_lease(namespace: str, name: str, *, owner: Mapping[str, Any] | None) -> dict[str, Any]:
    """A Lease that nobody holds, deleted with ``owner``."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if owner is not None:
        metadata["ownerReferences"] = [owner_reference(owner)]
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": {}}


def record_of(lease: Mapping[str, Any] | None) -> dict[str, Any]:
    """The record in a Lease as the API server returns it; empty when there is none. Raises PlatformError when it is no JSON object."""
    return annotated_object(lease, RECORD, remedy="remove the annotation: the judge then begins anew") or {}


def annotated_object(lease: Mapping[str, Any] | None, key: str, *, remedy: str) -> dict[str, Any] | None:
    """The JSON object in an annotation of a Lease; None without it. Raises PlatformError, with ``remedy``, when it is none."""
    metadata = (lease or {}).get("metadata") or {}
    text = (metadata.get("annotations") or {}).get(key)
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        name = f"{metadata.get('namespace')}/{metadata.get('name')}"
        raise PlatformError(f"the annotation {key} of the lease {name} is no JSON object", remedy=remedy)
    return found


def owner_reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """The reference by which Kubernetes deletes an object together with ``owner``."""
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def read_permitted(cluster: KubernetesApi, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
    """The object, or None when there is none of this name. Raises KubernetesError, with the remedy for an account without permission."""
    try:
        return cluster.get(resource, namespace, name)
    except KubernetesError as error:
        raise with_rbac(error) from error


def with_rbac(error: KubernetesError) -> KubernetesError:
    """``error``, with the remedy for an account without permission."""
    if error.status != 403:
        return error
    return KubernetesError(error.message, remedy=RBAC_REMEDY, status=error.status, reason=error.reason)


def _micro_time() -> str:
    """Now, as Kubernetes' MicroTime. Others see by it that the lease changed; nobody compares it with a clock."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
