"""What KFP's API server and the cluster show of one run of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FINAL_STATES = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
"""kubeflow/pipelines 2.0.5 backend/api/v2beta1/swagger/run.swagger.json, v2beta1RuntimeState: states that a run does not leave."""


@dataclass(frozen=True, kw_only=True)
class BackendTask:
    """One task that runs a container of the user's. ``pods`` are its pods as the cluster has them, an attempt each, the first one first.

    ``outputs`` are the output parameters, and the artifacts as ``{"uri", "metadata"}``, that its last attempt reported to the launcher.
    """

    name: str
    pods: Sequence[Mapping[str, Any]]
    log: str
    outputs: Mapping[str, Any]

    @property
    def exit_code(self) -> int | None:
        """That of the user's container in the last attempt; None if it has not ended."""
        for status in (self.pods[-1].get("status") or {}).get("containerStatuses", ()):
            if status["name"] == "main" and (ended := (status.get("state") or {}).get("terminated")):
                return int(ended["exitCode"])
        return None


@dataclass(frozen=True, kw_only=True)
class BackendRun:
    """One run: ``state`` is what the API server says, ``tasks`` what the cluster shows, by name. ``pods`` are those of drivers too."""

    run_id: str
    state: str
    tasks: Mapping[str, BackendTask]
    pods: Sequence[Mapping[str, Any]]

    @property
    def succeeded(self) -> bool:
        """Whether the API server says that the run succeeded."""
        return self.state == "SUCCEEDED"

    @property
    def log(self) -> str:
        """The logs of all tasks, each under its name."""
        return "\n".join(f"{name}:\n{task.log}" for name, task in self.tasks.items())
