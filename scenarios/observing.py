"""What a service says of itself while a model does not load, and what its containers' logs say. Not a scenario module."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trivet.integration import is_ready
from trivet.model.clients import ClusterClient
from trivet.model.finding import Evidence, evidence
from trivet.scenarios.deploying import OF_SERVICE
from trivet.toolkit.watch import FAULT, Watch

SERVER = "kserve-container"
CONTAINERS = ("storage-initializer", SERVER)
KILLED = "OOMKilled"
WORKER_KILLED = re.compile(r"Worker with PID \d+ .*stopped unexpectedly with exit code 9\b")
"""What MLServer says of a worker that got SIGKILL."""
UNREACHABLE = re.compile("Could not connect to the endpoint")
"""What botocore says when nobody answers, as in the first moments of a pod whose network policies are still being set."""
PATIENCE = 75.0
"""Seconds after the container named the cause in which the service should say that it failed: it was seen to after about 60."""

BLOCKED = "BlockedByFailedLoad"
"""What a service says of its model when a container failed, and takes back when the next try goes better (KServe 0.20.0)."""

_ERROR = re.compile(
    r"(\w*(Error|Exception|Failure)\b|Could not find|No such file|NoSuch\w+|Unable to|AccessDenied|Forbidden|not found|"
    r"stopped unexpectedly|\bERROR\b)"
)


@dataclass(frozen=True, kw_only=True)
class Cause:
    """That a container of a service failed, and what its pod or its log says of it."""

    container: str
    said: str

    def __str__(self) -> str:
        return f"{self.container}: {self.said}"


def refused_by_server(cause: Cause) -> bool:
    """Whether the server had the model and did not load it: neither was the model not fetched, nor anything killed for its memory."""
    killed = cause.said.startswith(KILLED) or WORKER_KILLED.search(cause.said)
    return cause.container == SERVER and not killed


def not_found(cause: Cause) -> bool:
    """Whether the model was not where it was looked for: neither was its store out of reach for a moment, nor anything killed."""
    return not cause.said.startswith(KILLED) and not UNREACHABLE.search(cause.said)


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What was seen of the service: when it was ready (None: never), the cause that counts (None: there was none), whether there was one or
    the service itself said so to the end, in a sentence, in numbers and in full."""

    ready: float | None
    cause: Cause | None
    failed: bool
    message: str
    measured: Mapping[str, float | str]
    proof: tuple[Evidence, ...]


def watch_loading(
    cluster: ClusterClient,
    watch: Watch,
    name: str,
    *,
    timeout: float = PATIENCE,
    counts: Callable[[Cause], bool] = lambda cause: True,
) -> LoadResult:
    """Look until the service ``name`` is ready, has said that it failed or let ``timeout`` go by, or the budget ends.

    Only a cause that ``counts`` ends it: a container that failed for something else may come up yet.
    """
    began = watch.since(FAULT)
    diary = StatusLog(began)
    cause: Cause | None = None
    other: Cause | None = None
    caused = 0.0
    said_failed: float | None = None
    taken_back: float | None = None
    ready: float | None = None
    while watch.left > 5:
        at = round(time.monotonic() - began, 1)
        found = cluster.get("inferenceservice", name) or {}
        state = said(found)
        diary.note(state)
        for one in () if cause else causes_of_failure(cluster, name):
            if counts(one):
                cause, caused = one, at
                watch.mark("the container names the cause")
                break
            other = one
        if is_ready(found):
            ready = at
            watch.mark("Ready=True")
            break
        if (blocked := BLOCKED in state) and said_failed is None:
            said_failed = at
            watch.mark("the service says that it failed")
        elif said_failed is not None and not blocked:
            said_failed, taken_back = None, said_failed if taken_back is None else taken_back
        if cause and (said_failed is not None or at > caused + timeout):
            break
        time.sleep(1.0)
    until = (
        f"after {said_failed:.0f} s"
        if said_failed is not None
        else f"after {taken_back:.0f} s, and then no more"
        if taken_back is not None
        else f"not within {time.monotonic() - began:.0f} s"
    )
    told = (
        f"said after {caused:.0f} s: {cause}"
        if cause
        else f"said nothing of it, but: {other}"
        if other
        else "said nothing"
    )
    message = (
        f"Ready=True after {ready:.0f} s"
        + (f"; before that it said that loading failed, {until}" if taken_back is not None else "")
        if ready is not None
        else f"the container {told}; the InferenceService said that loading failed {until}"
    )
    measured: dict[str, float | str] = {"service_says_failed": until}
    if cause:
        measured["container_says_after_seconds"] = caused
    proof = (diary.proof("what the InferenceService said"),)
    failed = cause is not None or said_failed is not None
    return LoadResult(ready=ready, cause=cause, failed=failed, message=message, measured=measured, proof=proof)


def said(service: Mapping[str, Any]) -> str:
    """What an InferenceService says of itself, in a line: Ready with its reason, and the state of its model."""
    status = service.get("status") or {}
    ready: Mapping[str, Any] = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), {})
    model = status.get("modelStatus") or {}
    failure = model.get("lastFailureInfo") or {}
    parts = [
        f"Ready={ready.get('status', 'unsaid')}",
        str(ready.get("reason", "")),
        str(model.get("transitionStatus", "")),
        str(failure.get("reason", "")),
    ]
    return " ".join(part for part in parts if part)


def causes_of_failure(cluster: ClusterClient, service: str) -> Iterator[Cause]:
    """Of each container of a service that has failed the line of its log that names the cause."""
    for pod in (cluster.get("pod", selector=f"{OF_SERVICE}={service}") or {}).get("items", ()):
        # One that ends is of a service, or of a revision, that was there before.
        if "deletionTimestamp" in pod["metadata"]:
            continue
        status = pod.get("status") or {}
        for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            ended = (one.get("state") or {}).get("terminated") or (one.get("lastState") or {}).get("terminated")
            # MLServer ends with status 0 when its model does not load; of a server any end is a failure.
            failed = ended and (one["name"] == SERVER or ended.get("exitCode"))
            if one["name"] not in CONTAINERS or not failed:
                continue
            if ended and ended.get("reason") == KILLED:
                yield Cause(container=one["name"], said=f"{KILLED}, exit status {ended.get('exitCode')}")
                continue
            logs = (cluster.log(pod["metadata"]["name"], one["name"], previous=previous) for previous in (False, True))
            if told := next(filter(None, map(telling, logs)), ""):
                yield Cause(container=one["name"], said=told)


def telling(log: str) -> str:
    """The last line of a log that names an error."""
    lines = [line.strip() for line in log.splitlines() if _ERROR.search(line)]
    return lines[-1][:300] if lines else ""


class StatusLog:
    """What was said over time: an entry whenever it changes, in seconds since ``began`` (``time.monotonic``)."""

    def __init__(self, began: float) -> None:
        self._began = began
        self.entries: list[tuple[float, str]] = []

    def note(self, said: str) -> None:
        """Write down what is said now, if it is something else than before."""
        if not self.entries or self.entries[-1][1] != said:
            self.entries.append((round(time.monotonic() - self._began, 1), said))

    def proof(self, name: str) -> Evidence:
        """All of it, as a table."""
        return evidence(name, "table", [{"after_seconds": at, "said": said} for at, said in self.entries])


def containers(pod: Mapping[str, Any]) -> str:
    """The containers of a pod that are not well, in a line: state, restarts, and how they ended before; empty when all are."""
    status = pod.get("status") or {}
    told = []
    for one in status.get("initContainerStatuses", ()):
        if (one.get("state") or {}).get("terminated", {}).get("exitCode") != 0:
            told.append(_container(one))
    told += [_container(one) for one in status.get("containerStatuses", ()) if not one.get("ready")]
    return ", ".join(told)


def _container(status: Mapping[str, Any]) -> str:
    told = [str(status["name"]), _state(status.get("state") or {})]
    if count := status.get("restartCount"):
        told.append(f"restarted {count}×, before {_state(status.get('lastState') or {})}")
    return " ".join(told)


def _state(state: Mapping[str, Any]) -> str:
    """``terminated OOMKilled 137``: a state without its message, which may be a whole log."""
    return next(
        (
            " ".join([kind, *(str(of[key]) for key in ("reason", "exitCode") if key in of)])
            for kind, of in state.items()
        ),
        "unknown",
    )
