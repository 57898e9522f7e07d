"""The status of an InferenceService whose model should load, and the errors of its containers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trivet.authoring import (
    FAULT,
    ClusterClient,
    Evidence,
    Watch,
    conditions,
    evidence,
    is_terminating,
    service_pods,
)
from trivet.integration import is_ready

SERVER = "kserve-container"
CONTAINERS = ("storage-initializer", SERVER)
OOM_KILLED = "OOMKilled"
WORKER_KILLED = re.compile(r"Worker with PID \d+ .*stopped unexpectedly with exit code 9\b")
"""MLServer's log line about a worker that got SIGKILL."""
UNREACHABLE = re.compile("Could not connect to the endpoint")
"""botocore's message when nothing answers, as in the first seconds of a pod whose network policies are not yet applied."""
STATUS_TIMEOUT = 75.0
"""Seconds after the container's error until the InferenceService must report it; measured: about 60."""

BLOCKED = "BlockedByFailedLoad"
"""The transition status of a model whose container failed; KServe 0.20.0 resets it when a retry succeeds."""

_ERROR = re.compile(
    r"(\w*(Error|Exception|Failure)\b|Could not find|No such file|NoSuch\w+|Unable to|AccessDenied|Forbidden|not found|"
    r"stopped unexpectedly|\bERROR\b)"
)


@dataclass(frozen=True, kw_only=True)
class ContainerFailure:
    """A failed container of a service, and the error in its log or its pod's status."""

    container: str
    error: str

    def __str__(self) -> str:
        return f"{self.container}: {self.error}"


def is_load_error(failure: ContainerFailure) -> bool:
    """Whether the server had the model and failed to load it: the model was fetched, and nothing was killed for its memory."""
    killed = failure.error.startswith(OOM_KILLED) or WORKER_KILLED.search(failure.error)
    return failure.container == SERVER and not killed


def is_not_found(failure: ContainerFailure) -> bool:
    """Whether the model is not at its storage URI: neither was the store unreachable for a moment, nor anything killed."""
    return not failure.error.startswith(OOM_KILLED) and not UNREACHABLE.search(failure.error)


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What was observed of a service while its model should load.

    ``ready_after`` is in seconds since the fault (None: never Ready). ``failure`` is the failure that counts (None: none). ``failed`` is
    whether there was one, or the InferenceService reported a failed load to the end.
    """

    ready_after: float | None
    failure: ContainerFailure | None
    failed: bool
    message: str
    measured: Mapping[str, float | str]
    evidence: tuple[Evidence, ...]


def watch_loading(
    cluster: ClusterClient,
    watch: Watch,
    name: str,
    *,
    timeout: float = STATUS_TIMEOUT,
    counts: Callable[[ContainerFailure], bool] = lambda failure: True,
) -> LoadResult:
    """Poll until the service ``name`` is Ready, has reported its failure within ``timeout`` seconds of it, or the budget ends.

    Only a failure that ``counts`` ends the polling: a container that failed for another reason may still start.
    """
    began = watch.since(FAULT)
    log = StatusLog(began)
    failure: ContainerFailure | None = None
    other: ContainerFailure | None = None
    failed_after = 0.0
    reported: float | None = None
    withdrawn: float | None = None
    ready_after: float | None = None
    while watch.left > 5:
        at = round(time.monotonic() - began, 1)
        observed = cluster.get("inferenceservice", name) or {}
        status = summarize_status(observed)
        log.record(status)
        for one in () if failure else container_failures(cluster, name):
            if counts(one):
                failure, failed_after = one, at
                watch.mark("container error")
                break
            other = one
        if is_ready(observed):
            ready_after = at
            watch.mark("Ready=True")
            break
        if (blocked := BLOCKED in status) and reported is None:
            reported = at
            watch.mark("load failure reported")
        elif reported is not None and not blocked:
            reported, withdrawn = None, reported if withdrawn is None else withdrawn
        if failure and (reported is not None or at > failed_after + timeout):
            break
        time.sleep(1.0)
    report = (
        f"after {reported:.0f} s"
        if reported is not None
        else f"after {withdrawn:.0f} s and then withdrew it"
        if withdrawn is not None
        else f"not within {time.monotonic() - began:.0f} s"
    )
    reporting = (
        f"reported no failed load within {time.monotonic() - began:.0f} s"
        if reported is None and withdrawn is None
        else f"reported a failed load {report}"
    )
    if ready_after is not None:
        message = f"Ready=True after {ready_after:.0f} s"
        if withdrawn is not None:
            message += f"; before that the InferenceService {reporting}"
    else:
        container = (
            f"container error after {failed_after:.0f} s: {failure}"
            if failure
            else f"no container failed in the way that counts; another error: {other}"
            if other
            else "no container failed"
        )
        message = f"{container}; the InferenceService {reporting}; its last status: {log.last}"
    measured: dict[str, float | str] = {"service_reports_failure": report}
    if failure:
        measured["container_error_after_seconds"] = failed_after
    return LoadResult(
        ready_after=ready_after,
        failure=failure,
        failed=failure is not None or reported is not None,
        message=message,
        measured=measured,
        evidence=(log.evidence("status of the InferenceService"),),
    )


def summarize_status(service: Mapping[str, Any]) -> str:
    """The status of an InferenceService in a line: Ready with its reason, and the state of its model."""
    status = service.get("status") or {}
    ready = conditions(service).get("Ready", {})
    model = status.get("modelStatus") or {}
    failure = model.get("lastFailureInfo") or {}
    parts = [
        f"Ready={ready.get('status', 'unset')}",
        str(ready.get("reason", "")),
        str(model.get("transitionStatus", "")),
        str(failure.get("reason", "")),
    ]
    return " ".join(part for part in parts if part)


def container_failures(cluster: ClusterClient, service: str) -> Iterator[ContainerFailure]:
    """Each failed container of a service, with the error in its log or its pod's status."""
    for pod in service_pods(cluster, service):
        # A terminating pod belongs to an earlier service or revision.
        if is_terminating(pod):
            continue
        status = pod.get("status") or {}
        for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            terminated = (one.get("state") or {}).get("terminated") or (one.get("lastState") or {}).get("terminated")
            # MLServer exits with status 0 when its model does not load, so that any termination of a server is a failure.
            failed = terminated and (one["name"] == SERVER or terminated.get("exitCode"))
            if one["name"] not in CONTAINERS or not failed:
                continue
            if terminated and terminated.get("reason") == OOM_KILLED:
                yield ContainerFailure(
                    container=one["name"], error=f"{OOM_KILLED}, exit status {terminated.get('exitCode')}"
                )
                continue
            logs = (cluster.log(pod["metadata"]["name"], one["name"], previous=previous) for previous in (False, True))
            if error := next(filter(None, map(error_line, logs)), ""):
                yield ContainerFailure(container=one["name"], error=error)


def error_line(log: str) -> str:
    """The last line of a log that has an error in it; empty when there is none."""
    lines = [line.strip() for line in log.splitlines() if _ERROR.search(line)]
    return lines[-1][:300] if lines else ""


class StatusLog:
    """A status over time: an entry for each change, in seconds since ``began`` (``time.monotonic``)."""

    def __init__(self, began: float) -> None:
        self._began = began
        self.entries: list[tuple[float, str]] = []

    @property
    def last(self) -> str:
        """The status recorded last; ``unknown`` before the first."""
        return self.entries[-1][1] if self.entries else "unknown"

    def record(self, status: str) -> None:
        """Add an entry if the status differs from the last one."""
        if not self.entries or self.entries[-1][1] != status:
            self.entries.append((round(time.monotonic() - self._began, 1), status))

    def evidence(self, name: str) -> Evidence:
        """All entries as a table."""
        return evidence(name, "table", [{"after_seconds": at, "status": status} for at, status in self.entries])


def unready_containers(pod: Mapping[str, Any]) -> str:
    """The containers of a pod that are not ready, in a line: state, restarts and last termination; empty when all are ready."""
    status = pod.get("status") or {}
    found = []
    for one in status.get("initContainerStatuses", ()):
        if (one.get("state") or {}).get("terminated", {}).get("exitCode") != 0:
            found.append(_container(one))
    found += [_container(one) for one in status.get("containerStatuses", ()) if not one.get("ready")]
    return ", ".join(found)


def _container(status: Mapping[str, Any]) -> str:
    parts = [str(status["name"]), _state(status.get("state") or {})]
    if count := status.get("restartCount"):
        parts.append(f"restarted {count}×, last state {_state(status.get('lastState') or {})}")
    return " ".join(parts)


def _state(state: Mapping[str, Any]) -> str:
    """``terminated OOMKilled 137``: a state without its message, which may be a whole log."""
    return next(
        (
            " ".join([kind, *(str(of[key]) for key in ("reason", "exitCode") if key in of)])
            for kind, of in state.items()
        ),
        "unknown",
    )
