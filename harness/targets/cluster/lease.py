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


@contextmanager
@uninterruptible
def hold_lease(
    kubectl: Kubectl, run: Run, *, namespace: str, holder: str, wait: float = 0.0, gone_with: Path | None = None
) -> Iterator[None]:
    """Hold the lease during the block, and renew it. Raises UsageError when another run still holds it after ``wait`` seconds.

    The lease is released after an interrupt at any moment, at the latest by the clean-up of the run. ``gone_with``: see
    ``Run.add_cleanup``.
    """
    number = run.add_cleanup(
        f"the lease {NAME} in {namespace}",
        kubectl.argv("delete", "lease", "-n", namespace, "-l", f"{RUN_LABEL}={holder}", "--ignore-not-found"),
        required=True,
        gone_with=gone_with,
    )
    released = threading.Event()
    renewing = threading.Thread(
        target=_renew, args=(kubectl, namespace, released), name="trivet-scenario-lease", daemon=True
    )
    try:
        _wait(kubectl, namespace, holder, wait)
        renewing.start()
        yield
    finally:
        released.set()
        if renewing.is_alive():
            renewing.join()
        kubectl.run("delete", "lease", "-n", namespace, "-l", f"{RUN_LABEL}={holder}", "--ignore-not-found")
        run.cleanup_done(number)


@interruptible
def _wait(kubectl: Kubectl, namespace: str, holder: str, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            return _acquire(kubectl, namespace, holder)
        except UsageError:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL)


@uninterruptible
def _acquire(kubectl: Kubectl, namespace: str, holder: str) -> None:
    lease = _lease(namespace, holder)
    while True:
        try:
            kubectl.run("create", "-f", "-", stdin=json.dumps(lease))
            return
        except KubectlError as error:
            if error.reason != "AlreadyExists":
                raise
        current = kubectl.get("lease", NAME, namespace=namespace)
        if current is None:
            continue
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
            return
        except KubectlError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise


def _renew(kubectl: Kubectl, namespace: str, released: threading.Event) -> None:
    while not released.wait(RENEW_INTERVAL):
        with suppress(PlatformError):
            renewed = json.dumps({"spec": {"renewTime": _time(datetime.now(UTC))}})
            kubectl.run("patch", "lease", NAME, "-n", namespace, "--type=merge", "-p", renewed)


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
