"""Training that scenarios have fail on MLflow, and what it left behind. Not a scenario module."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from trivet.errors import CannotTell, TrivetError
from trivet.integration import TrackingApi, TrackingError
from trivet.model.clients import ClusterClient, PipelineClient
from trivet.model.handover import PipelineRun
from trivet.model.network import NetworkPath

BOUNDED = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
OWN = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5", "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}
"""How often and how long MLflow's client tries: once more, and as it does by itself up to 2.17 (2.22 and later try 7 times more)."""

_TOLD = re.compile(r"trivet-training (\{.*\})")
_OBJECT = re.compile(r"<urllib3\.\w+\.(\w+) object at 0x[0-9a-f]+>")
_GAVE_UP = re.compile(r"Max retries exceeded|API request to .* failed|Failed to log run data|error code \d+ != 200")


def source(name: str) -> Path:
    """The file of a pipeline that comes with trivet."""
    return Path(str(files("trivet.fixtures.pipelines").joinpath(f"{name}.py")))


class Training:
    """A pipeline under way in a thread of its own, so that a fault can strike in its middle.

    The end of the ``with`` block waits for it, so that it does not go on into the next variant's fault; an interrupt waits for nothing.
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
        """The run once it has ended, None before. Raises CannotTell when it could not be driven."""
        if self._thread.is_alive():
            return None
        if self._run is None:
            raise CannotTell(f"the pipeline could not be run: {self._error.message if self._error else 'it broke'}")
        return self._run

    def __enter__(self) -> Training:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self._thread.join()


def told(log: str) -> dict[str, Any]:
    """What the training step wrote of itself; nothing when it did not come so far."""
    lines = _TOLD.findall(log)
    return dict(json.loads(lines[-1])) if lines else {}


def client_error(log: str) -> str:
    """The line of a step's log in which MLflow's client says that it gave up; empty when it says nothing."""
    lines = [line.strip() for line in log.splitlines() if _GAVE_UP.search(line) and not _TOLD.search(line)]
    return shortened(lines[-1]) if lines else ""


def shortened(error: str) -> str:
    """An error of MLflow's client with the innermost cause in sight: addresses of objects say nothing, and take much room."""
    return _OBJECT.sub(r"\1", error)[:600]


def runs_of(tracking: TrackingApi, experiment: str) -> list[Mapping[str, Any]]:
    """The runs that MLflow has in an experiment; none when there is no such experiment."""
    try:
        found = tracking.get_experiment_by_name(experiment)
    except TrackingError as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise
    return list(tracking.search_runs(found["experiment_id"]))


def way_to_tracking(cluster: ClusterClient) -> tuple[NetworkPath, str]:
    """The path from the pipelines to MLflow, and a pod that it begins at. Raises CannotTell when the cluster names none."""
    path = next((one for one in cluster.paths if one.name == "pipelines to MLflow"), None)
    if path is None:
        raise CannotTell("the cluster names no path from the pipelines to MLflow")
    selector = ",".join(f"{key}={value}" for key, value in path.selector.items())
    found = (cluster.get("pod", namespace=path.namespace, selector=selector) or {}).get("items") or ()
    if not found:
        raise CannotTell(f"there is no pod in {path.namespace} from which MLflow could be reached")
    return path, str(found[0]["metadata"]["name"])


def reaches(cluster: ClusterClient, pod: str, path: NetworkPath) -> str:
    """That the pod gets through to the path's end, in a sentence; empty when it does not."""
    connect = f"import socket; socket.create_connection(({path.host!r}, {path.port}), timeout=3)"
    status, _ = cluster.execute(pod, ["python", "-c", connect], namespace=path.namespace)
    return "" if status else f"{pod} connects to {path.host}:{path.port}"
