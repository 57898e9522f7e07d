"""The lease for scenarios, a Kubernetes Lease with one holder per cluster: concurrent runs would observe each other's faults."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trivet.errors import PlatformError, UsageError
from trivet.host.journal import Run
from trivet.host.kubectl import Kubectl, KubectlError
from trivet.host.signals import interruptible, uninterruptible
from trivet.targets.cluster.namespaces import RUN_LABEL

NAME = "trivet-scenarios"
DURATION = 60
"""Seconds after which a lease that is not renewed can be acquired by another run: its holder was killed."""
RENEW_INTERVAL = 15.0
POLL = 2.0


ATTEMPTS = 5
"""Attempts to acquire a lease that other runs release or acquire at the same moment."""


class HeldLease:
    """Implements ``trivet.model.clients.Lease``: renews the lease of ``holder`` in a thread until it is stopped or lost."""

    def __init__(self, kubectl: Kubectl, namespace: str, holder: str) -> None:
        self.lost = ""
        self._kubectl = kubectl
        self._namespace = namespace
        self._holder = holder
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_stopped, name="trivet-scenario-lease", daemon=True)

    def start(self) -> None:
        """Start to renew it."""
        self._thread.start()

    def stop(self) -> None:
        """Renew it no longer."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _renew_until_stopped(self) -> None:
        while not self.lost and not self._stopped.wait(RENEW_INTERVAL):
            # An API server that does not respond may do so before the lease expires.
            with suppress(PlatformError):
                self.renew()

    def renew(self) -> None:
        """Renew it once, or set ``lost`` when it has another holder or none. Raises PlatformError when kubectl fails."""
        current = self._read()
        if current is None:
            return
        # With the resourceVersion that was read: when another run acquires it meanwhile, this fails, and the next renewal finds that run.
        renewed = {**current, "spec": {**current["spec"], "renewTime": _time(datetime.now(UTC))}}
        self._kubectl.run("replace", "-f", "-", stdin=json.dumps(renewed))

    def verify(self) -> None:
        """Read it once, and set ``lost`` when it has another holder or none. Raises PlatformError when kubectl fails.

        A lease that still has this holder was held since it was acquired, also where it was renewed late: whoever acquires it changes the
        holder, and whoever releases it deletes it.
        """
        self._read()

    def _read(self) -> Mapping[str, Any] | None:
        """The lease as it is stored; None, with ``lost`` set, when this run does not hold it."""
        current = self._kubectl.get("lease", NAME, namespace=self._namespace)
        found = ((current or {}).get("spec") or {}).get("holderIdentity")
        if current is None or found != self._holder:
            now = "it no longer exists" if current is None else f"{found or 'an unknown holder'} holds it"
            self.lost = f"this run lost the lease {self._namespace}/{NAME}: {now}"
            return None
        return current


@contextmanager
@uninterruptible
def hold_lease(
    kubectl: Kubectl, run: Run, *, namespace: str, holder: str, wait: float = 0.0, gone_with: Path | None = None
) -> Iterator[HeldLease]:
    """Hold the lease during the block, and renew it. Raises UsageError when another run still holds it after ``wait`` seconds.

    The lease is released after an interrupt at any moment, at the latest by the clean-up of the run. Raises PlatformError when it cannot be
    released, unless the block raised already. ``gone_with``: see ``Run.add_cleanup``.
    """
    delete = ("delete", "lease", "-n", namespace, "-l", f"{RUN_LABEL}={holder}", "--ignore-not-found")
    number = run.add_cleanup(
        f"the lease {NAME} in {namespace}", kubectl.argv(*delete), required=True, gone_with=gone_with
    )
    lease = HeldLease(kubectl, namespace, holder)
    failed = True
    try:
        _wait(kubectl, namespace, holder, wait)
        lease.start()
        yield lease
        failed = False
    finally:
        lease.stop()
        try:
            kubectl.run(*delete)
            run.cleanup_done(number)
        except PlatformError as error:
            if not failed:
                raise PlatformError(
                    f"cannot release the lease {namespace}/{NAME}: {error.message}",
                    remedy=f"it expires after {DURATION} s; trivet doctor --clean deletes it",
                ) from error


@interruptible
def _wait(kubectl: Kubectl, namespace: str, holder: str, wait: float) -> None:
    deadline = time.monotonic() + wait
    contested = 0
    while True:
        try:
            if _acquire(kubectl, namespace, holder):
                return
            contested += 1
            if contested == ATTEMPTS:
                raise PlatformError(
                    f"cannot acquire the lease {namespace}/{NAME}: other runs changed it during each of {ATTEMPTS} attempts",
                    remedy="wait until they have ended, and run again",
                )
        except UsageError:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL)


@uninterruptible
def _acquire(kubectl: Kubectl, namespace: str, holder: str) -> bool:
    """Acquire the lease if it does not exist or has expired; False when another run changed it meanwhile. Raises UsageError when it is
    held."""
    lease = _lease(namespace, holder)
    try:
        kubectl.run("create", "-f", "-", stdin=json.dumps(lease))
        return True
    except KubectlError as error:
        if error.reason != "AlreadyExists":
            raise
    current = kubectl.get("lease", NAME, namespace=namespace)
    if current is None:
        return False
    if not expired(current, datetime.now(UTC)):
        other = (current.get("spec") or {}).get("holderIdentity")
        raise UsageError(
            f"another run of trivet plays scenarios on this cluster: {other or 'an unknown holder'} holds the lease {namespace}/{NAME}",
            remedy=f"wait until it has ended; the lease of a killed run expires after {DURATION} s; trivet doctor --clean deletes it",
        )
    # With the resourceVersion that was read, only one of two runs that find the lease expired can replace it.
    metadata = {**lease["metadata"], "resourceVersion": current["metadata"]["resourceVersion"]}
    try:
        kubectl.run("replace", "-f", "-", stdin=json.dumps({**lease, "metadata": metadata}))
        return True
    except KubectlError as error:
        if error.reason not in ("Conflict", "NotFound"):
            raise
        return False


def expired(lease: Mapping[str, Any], now: datetime) -> bool:
    """Whether the lease has expired: it was not renewed for its duration, or has no time of renewal."""
    spec = lease.get("spec") or {}
    if not spec.get("renewTime"):
        return True
    renewed = datetime.fromisoformat(str(spec["renewTime"]))
    return now - renewed > timedelta(seconds=int(spec.get("leaseDurationSeconds") or DURATION))


def _lease(namespace: str, holder: str) -> dict[str, Any]:
    now = _time(datetime.now(UTC))
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {RUN_LABEL: holder}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": DURATION, "acquireTime": now, "renewTime": now},
    }


def _time(time: datetime) -> str:
    """A time as Kubernetes' MicroTime."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
