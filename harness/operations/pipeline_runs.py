"""How many pipeline runs finished, by KFP's API.

KFP's own gauges (``resource_manager_workflow_runs_success`` …) cannot tell how many runs of a day succeeded: each has the name of the
workflow as a label, so that a series is born at 1 with every run and never grows, failed attempts that are retried count as failures, and
all are lost when the API server restarts (kubeflow/pipelines backend/src/apiserver/resource/resource_manager.go, execStatus).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trivet.errors import PlatformError
from trivet.integration.pipeline_api import PipelineApi
from trivet.model.pipeline_runs import FINAL_STATES

LONGEST_RUN = 7 * 86_400.0
"""Seconds from a run's creation within which it must finish to be counted."""


def finished_runs(api: PipelineApi, namespace: str, *, since: float, until: float) -> Mapping[str, int]:
    """How many runs finished between two points in Unix time, by final state; 0 for a state without runs.

    ``namespace`` is needed by a multi-user installation, and empty otherwise. Runs that were created more than LONGEST_RUN before
    ``since`` are not counted. Raises PlatformError.
    """
    counted = Counter(dict.fromkeys(FINAL_STATES, 0))
    for run in api.runs(namespace):
        if _time(run, "created_at") < since - LONGEST_RUN:
            break
        state = str(run.get("state") or "")
        if state in FINAL_STATES and since <= _time(run, "finished_at") <= until:
            counted[state] += 1
    return counted


def _time(run: Mapping[str, Any], key: str) -> float:
    """A point in Unix time; 0 for none. KFP writes the zero time for a run that has not finished."""
    text = str(run.get(key) or "")
    try:
        return datetime.fromisoformat(text).timestamp() if text else 0.0
    except ValueError as error:
        raise PlatformError(f"run {run.get('run_id')} has {key} {text!r}, which is no time") from error
