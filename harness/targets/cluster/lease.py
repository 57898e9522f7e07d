"""One lease per cluster, as a Kubernetes Lease: two runs that disturb a platform at the same time would each see the other's faults."""

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
"""Seconds after which a lease that its holder no longer renews may be taken: the holder was killed."""
RENEWED = 15.0
POLL = 2.0


@contextmanager
@uninterruptible
def held(
    kubectl: Kubectl, run: Run, *, namespace: str, holder: str, wait: float = 0.0, gone_with: Path | None = None
) -> Iterator[None]:
    """Hold the lease during the block, renewing it. Raises UsageError when another run holds it for longer than ``wait`` seconds.

    An interrupt at any moment gives it back, at the latest by who cleans up after the run. ``gone_with``: see ``Run.add_cleanup``.
    """
    number = run.add_cleanup(
        f"the lease {NAME} in {namespace}",
        kubectl.argv("delete", "lease", "-n", namespace, "-l", f"{RUN_LABEL}={holder}", "--ignore-not-found"),
        required=True,
        gone_with=gone_with,
    )
    ended = threading.Event()
    renewing = threading.Thread(
        target=_renew, args=(kubectl, namespace, ended), name="trivet-scenario-lease", daemon=True
    )
    try:
        _wait(kubectl, namespace, holder, wait)
        renewing.start()
        yield
    finally:
        ended.set()
        if renewing.is_alive():
            renewing.join()
        kubectl.run("delete", "lease", "-n", namespace, "-l", f"{RUN_LABEL}={holder}", "--ignore-not-found")
        run.cleanup_done(number)


@interruptible
def _wait(kubectl: Kubectl, namespace: str, holder: str, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            return _take(kubectl, namespace, holder)
        except UsageError:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL)


@uninterruptible
def _take(kubectl: Kubectl, namespace: str, holder: str) -> None:
    wanted = _lease(namespace, holder)
    present: Mapping[str, Any] | None = None
    # The one that exists may be given back before it is read.
    while present is None:
        try:
            kubectl.run("create", "-f", "-", stdin=json.dumps(wanted))
            return
        except KubectlError as error:
            if error.reason != "AlreadyExists":
                raise
        present = kubectl.get("lease", NAME, namespace=namespace)
    if not expired(present, datetime.now(UTC)):
        theirs = (present.get("spec") or {}).get("holderIdentity")
        raise UsageError(
            f"another run of trivet disturbs this cluster: {theirs or 'its name is not known'} holds the lease {namespace}/{NAME}",
            remedy=f"wait until it has ended; a killed run's lease is free after {DURATION} s, or at once by trivet doctor --clean",
        )
    # With the version that was read: of two who find it expired, one is refused.
    version = present["metadata"]["resourceVersion"]
    kubectl.run(
        "replace",
        "-f",
        "-",
        stdin=json.dumps({**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}),
    )


def _renew(kubectl: Kubectl, namespace: str, ended: threading.Event) -> None:
    while not ended.wait(RENEWED):
        with suppress(PlatformError):
            renewed = json.dumps({"spec": {"renewTime": _time(datetime.now(UTC))}})
            kubectl.run("patch", "lease", NAME, "-n", namespace, "--type=merge", "-p", renewed)


def expired(lease: Mapping[str, Any], now: datetime) -> bool:
    """Whether nobody holds it any more: not renewed for as long as it lasts. One without a time was never held."""
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


def _time(moment: datetime) -> str:
    """As Kubernetes' MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
