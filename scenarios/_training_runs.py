"""Pipelines that train under a fault of MLflow: running one in the background, its log, and its runs in MLflow."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from trivet.authoring import (
    CannotTell,
    ClusterClient,
    Connection,
    NetworkPath,
    NotYet,
    PipelineClient,
    PipelineRun,
    Probed,
    TrackingApi,
    TrackingError,
    TrivetError,
    probe_tcp,
    selector_of,
)

ONE_RETRY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
DEFAULT_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5", "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}
"""Retries and timeout of MLflow's client: one retry, and its defaults up to 2.17 (from 2.22 on it retries 7 times)."""

_SUMMARY = re.compile(r"trivet-training (\{.*\})")
_OBJECT = re.compile(r"<urllib3\.\w+\.(\w+) object at 0x[0-9a-f]+>")
_GAVE_UP = re.compile(r"Max retries exceeded|API request to .* failed|Failed to log run data|error code \d+ != 200")


def source(name: str) -> Path:
    """The source file of a pipeline that comes with trivet."""
    return Path(str(files("trivet.fixtures.pipelines").joinpath(f"{name}.py")))


class BackgroundTraining:
    """A pipeline that runs in a thread of its own, so that a fault can be injected meanwhile.

    The end of the ``with`` block waits for it, so that it does not run into the next variant's fault; an interrupt does not wait.
    """

    def __init__(
        self, pipelines: PipelineClient, arguments: Mapping[str, Any], environment: Mapping[str, str], pipeline: Path
    ) -> None:
        self._run: PipelineRun | None = None
        self._error: TrivetError | None = None

        def drive() -> None:
            try:
                self._run = pipelines.run(arguments, environment, pipeline)
            except TrivetError as error:
                self._error = error

        self._thread = threading.Thread(target=drive, name="trivet-training", daemon=True)
        self._thread.start()

    def ended(self) -> PipelineRun | None:
        """The run once it has ended, None before. Raises CannotTell when it could not be run."""
        if self._thread.is_alive():
            return None
        if self._run is None:
            why = self._error.message if self._error else "the thread that runs it raised an exception"
            raise CannotTell(f"cannot run the pipeline: {why}")
        return self._run

    def __enter__(self) -> BackgroundTraining:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self._thread.join()


def training_summary(log: str) -> dict[str, Any]:
    """The summary that the training step wrote into its log; empty when there is none."""
    lines = _SUMMARY.findall(log)
    return dict(json.loads(lines[-1])) if lines else {}


def client_error(log: str) -> str:
    """The last line of a step's log in which MLflow's client reports that it gave up; empty when there is none."""
    lines = [line.strip() for line in log.splitlines() if _GAVE_UP.search(line) and not _SUMMARY.search(line)]
    return shortened(lines[-1]) if lines else ""


def shortened(error: str) -> str:
    """An error of MLflow's client, cut off after 600 characters and without the addresses of objects."""
    return _OBJECT.sub(r"\1", error)[:600]


def runs_of(tracking: TrackingApi, experiment: str) -> list[Mapping[str, Any]]:
    """The runs in an experiment of MLflow; none when the experiment does not exist."""
    try:
        found = tracking.get_experiment_by_name(experiment)
    except TrackingError as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise
    return list(tracking.search_runs(found["experiment_id"]))


def require_mlflow_cause(run: PipelineRun, error: str) -> None:
    """Raises CannotTell for a pipeline that failed without an ``error`` of MLflow's client in its log."""
    if not run.succeeded and not error:
        last = run.log.strip().rpartition("\n")[2][-300:]
        raise CannotTell(f"the pipeline failed, and its log has no error of MLflow's client; its last line: {last}")


def path_to_tracking(cluster: ClusterClient) -> tuple[NetworkPath, str]:
    """The network path from the pipelines to MLflow, and a pod at its start. Raises CannotTell when there is none."""
    path = next((one for one in cluster.paths if one.name == "pipelines to MLflow"), None)
    if path is None:
        raise CannotTell("the target declares no network path 'pipelines to MLflow'")
    selector = selector_of(path.selector)
    found = (cluster.get("pod", namespace=path.namespace, selector=selector) or {}).get("items") or ()
    if not found:
        raise CannotTell(f"no pod in {path.namespace} has the labels {selector}, from which MLflow would be reached")
    return path, str(found[0]["metadata"]["name"])


def connects(cluster: ClusterClient, pod: str, path: NetworkPath) -> Probed:
    """That the pod connects to the end of the path."""
    result = probe_tcp(cluster, pod, path.host, path.port, namespace=path.namespace)
    shown = f"TCP probe from {pod} to {path.host}:{path.port}: {result}"
    return shown if result is Connection.OPEN else NotYet(shown)
