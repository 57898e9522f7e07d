"""What a service says of itself while a model does not load, and what its containers' logs say. Not a scenario module."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trivet.engine.authoring import evidence
from trivet.engine.scenarios.watch import FAULT, Watch
from trivet.integration import is_ready
from trivet.model.finding import Evidence
from trivet.scenarios.deploying import SERVICE
from trivet.targets.base import ClusterClient

SERVER = "kserve-container"
CONTAINERS = ("storage-initializer", SERVER)
PATIENCE = 75.0
"""Seconds after the container named the cause in which the service should say that it failed: it was seen to after about 60."""

_ERROR = re.compile(
    r"(\w+(Error|Exception|Failure)\b|Could not find|No such file|NoSuch\w+|Unable to|AccessDenied|Forbidden|not found)"
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was seen of the service: when it was ready (None: never), whether a container failed, in a sentence, in numbers and in full."""

    ready: float | None
    failed: bool
    message: str
    measured: Mapping[str, float | str]
    proof: tuple[Evidence, ...]


def observe(cluster: ClusterClient, watch: Watch, name: str, *, patience: float = PATIENCE) -> Told:
    """Look until the service ``name`` is ready, has said that it failed or let ``patience`` go by, or the budget ends."""
    began = watch.since(FAULT)
    states: list[tuple[float, str]] = []
    cause, caused, admitted = "", 0.0, 0.0
    ready: float | None = None
    while watch.left > 5:
        at = round(time.monotonic() - began, 1)
        found = cluster.get("inferenceservice", name) or {}
        state = said(found)
        if not states or states[-1][1] != state:
            states.append((at, state))
        if not cause and (cause := cause_of_failure(cluster, name)):
            caused = at
            watch.mark("the container names the cause")
        if is_ready(found):
            ready = at
            watch.mark("Ready=True")
            break
        if not admitted and "BlockedByFailedLoad" in state:
            admitted = at
            watch.mark("the service says that it failed")
        if cause and (admitted or at > caused + patience):
            break
        time.sleep(1.0)
    until = f"after {admitted:.0f} s" if admitted else f"not within {time.monotonic() - began:.0f} s"
    message = (
        f"Ready=True after {ready:.0f} s"
        if ready is not None
        else f"the container said after {caused:.0f} s: {cause or 'nothing'}; the InferenceService said that loading failed {until}"
    )
    measured: dict[str, float | str] = {"service_says_failed": until}
    if cause:
        measured["container_says_after_seconds"] = caused
    table = evidence(
        "what the InferenceService said", "table", [{"after_seconds": at, "said": state} for at, state in states]
    )
    return Told(ready=ready, failed=bool(cause or admitted), message=message, measured=measured, proof=(table,))


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


def cause_of_failure(cluster: ClusterClient, service: str) -> str:
    """The line of the log of a service's failed container that names the cause; empty while no container has failed."""
    for pod in (cluster.get("pod", selector=f"{SERVICE}={service}") or {}).get("items", ()):
        status = pod.get("status") or {}
        for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            ended = (one.get("state") or {}).get("terminated") or (one.get("lastState") or {}).get("terminated")
            # MLServer ends with status 0 when its model does not load; of a server any end is a failure.
            failed = ended and (one["name"] == SERVER or ended.get("exitCode"))
            if one["name"] not in CONTAINERS or not failed:
                continue
            name = pod["metadata"]["name"]
            for previous in (False, True):
                if told := telling(cluster.log(name, one["name"], previous=previous)):
                    return f"{one['name']}: {told}"
    return ""


def telling(log: str) -> str:
    """The last line of a log that names an error."""
    lines = [line.strip() for line in log.splitlines() if _ERROR.search(line)]
    return lines[-1][:300] if lines else ""
