"""The client of KFP's API server on the cluster: runs pipelines that the SDK under test compiles, and reads the pods of these runs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any
from uuid import uuid4

from trivet.errors import CannotTell, TrivetError
from trivet.integration.pipeline_api import PipelineApi, PipelineApiError
from trivet.model.clients import Refused
from trivet.model.pipeline_runs import FINAL_STATES, BackendRun, BackendTask
from trivet.targets.cluster import limits
from trivet.targets.cluster.pipeline_steps import StepSecret, prepared
from trivet.targets.cluster.reader import ApiError, ApiReader
from trivet.toolkit.waiting import eventually

RUN_LABEL = "pipeline/runid"
"""kubeflow/pipelines 2.0.5 and 2.17.0 backend/src/common/util/consts.go, LabelKeyWorkflowRunId."""
_NODE = "workflows.argoproj.io/node-name"
"""Argo 3.3.10 workflow/common/common.go, AnnotationKeyNodeName: workflow, then the DAGs, the task and ``executor``, with the attempt."""
_EXECUTOR = re.compile(r"\.([^.]+)\.executor(?:\((\d+)\))?$")
_OUTPUT = re.compile(r"ExecutorOutput: (\{.*?^\})", re.DOTALL | re.MULTILINE)
"""kubeflow/pipelines 2.0.5 backend/src/v2/component/launcher_v2.go, getExecutorOutputFile."""


class PipelineBackend:
    """Implements ``trivet.model.clients.PipelineBackendClient``.

    ``namespace`` is where runs are, ``step_image`` the image of their steps, ``experiment`` how the names of their experiments in MLflow
    begin, and ``compile`` compiles a pipeline of ``trivet.fixtures.pipelines.probes``. ``environment`` is set in every step. ``started`` is
    called with the id of each run, which only the API server gives it, so that it can be ended from outside. In a multi-user installation
    the runs are in an experiment of their own in ``namespace``.
    """

    def __init__(
        self,
        api: PipelineApi,
        reader: ApiReader,
        *,
        namespace: str,
        step_image: str,
        experiment: str,
        compile: Callable[[str], str],
        environment: Mapping[str, str],
        started: Callable[[str], object],
        stop: Event,
    ) -> None:
        self._api = api
        self._reader = reader
        self._namespace = namespace
        self._step_image = step_image
        self.experiment = experiment
        self._compile = compile
        self._environment = environment
        self._on_start = started
        self._stop = stop
        self._lock = threading.Lock()
        self._compiled: dict[str, str] = {}
        self._started: list[str] = []
        self._uploaded: list[tuple[str, str]] = []
        self._kfp_experiment: str | None = None

    def compile(self, pipeline: str) -> str:
        """The compiled pipeline, with the platform's image for steps in it."""
        with self._lock:
            if pipeline not in self._compiled:
                self._compiled[pipeline] = prepared(self._compile(pipeline), self._step_image, {})
            return self._compiled[pipeline]

    def upload(self, compiled: str) -> Mapping[str, Any]:
        """Upload a compiled pipeline, and return it as the API server stores it. Raises Refused with its error."""
        namespace = self._namespace if self._experiment_of_runs() else ""
        with _judged():
            pipeline, version = self._api.upload(f"trivet-{uuid4().hex[:12]}", compiled, namespace=namespace)
        with self._lock:
            self._uploaded.append((pipeline, str(version["pipeline_version_id"])))
        return version

    def start(
        self,
        pipeline: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        service_account: str = "",
    ) -> str:
        """Start a run, with the tracking server and ``environment`` set in every step; returns its id. Raises Refused."""
        compiled = prepared(self.compile(pipeline), self._step_image, {**self._environment, **(environment or {})})
        return self._start(pipeline, compiled, arguments or {}, service_account=service_account)

    def run(
        self, compiled: str, arguments: Mapping[str, Any], *, environment: Mapping[str, str], secret: StepSecret
    ) -> BackendRun:
        """Run a compiled pipeline to its end, with ``environment`` and what is in ``secret`` in every step, on nodes that are small."""
        variables = {**self._environment, **environment}
        ready = prepared(compiled, self._step_image, variables, secret=secret, small_requests=True)
        run_id = self._start("pipeline", ready, arguments)
        return self.wait(run_id, seconds=limits.EXAMPLE_PIPELINE_RUN)

    def _start(self, name: str, compiled: str, arguments: Mapping[str, Any], *, service_account: str = "") -> str:
        version = self.upload(compiled)
        with _judged():
            run_id = self._api.start(
                f"trivet {name}",
                version,
                arguments,
                experiment=self._experiment_of_runs(),
                service_account=service_account,
            )
        self._on_start(run_id)
        with self._lock:
            self._started.append(run_id)
        return run_id

    def wait(
        self,
        run_id: str,
        *,
        until: Callable[[BackendRun], bool] | None = None,
        seconds: float = limits.PIPELINE_RUN,
    ) -> BackendRun:
        """The run, once it has ended or ``until`` holds. Raises CannotTell with its state at a timeout."""

        def reached(run: BackendRun) -> bool:
            return run.state in FINAL_STATES or (until is not None and until(run))

        return eventually(
            f"run {run_id} of KFP to end" if until is None else f"run {run_id} of KFP to be ready for the check",
            lambda: self._observe(run_id),
            timeout=seconds,
            until=reached,
            describe=lambda run: f"{run.state}, pods of {', '.join(run.tasks) or 'no task'}" if run else "",
            tolerate=(ApiError, CannotTell),
            poll=limits.PIPELINE_WATCH,
            stop=self._stop,
        )

    def terminate(self, run_id: str) -> None:
        """Ask the API server to end a run."""
        with _judged():
            self._api.terminate(run_id)

    def remove(self) -> None:
        """End and delete the runs, and delete the pipelines and the experiment; ``remaining`` are the runs of which that failed."""
        with self._lock:
            started, uploaded, experiment = list(self._started), list(self._uploaded), self._kfp_experiment
        for run_id in started:
            with suppress(TrivetError):
                self._api.terminate(run_id)
            with suppress(TrivetError):
                self._api.delete(run_id)
                with self._lock:
                    self._started.remove(run_id)
        for pipeline, version in uploaded:
            with suppress(TrivetError):
                self._api.delete_pipeline(pipeline, version)
        if experiment:
            with suppress(TrivetError):
                self._api.delete_experiment(experiment)

    @property
    def remaining(self) -> list[str]:
        """The runs that are not deleted, those included that were started after ``remove``."""
        with self._lock:
            return list(self._started)

    def _experiment_of_runs(self) -> str:
        """The id of the experiment of these runs; empty in an installation for a single user, which needs none."""
        with self._lock:
            if self._kfp_experiment is None:
                with _judged():
                    multi_user = self._api.health().get("multi_user") is True
                    name = f"trivet-{uuid4().hex[:12]}"
                    self._kfp_experiment = (
                        self._api.create_experiment(name, namespace=self._namespace) if multi_user else ""
                    )
            return self._kfp_experiment

    def _observe(self, run_id: str) -> BackendRun:
        with _judged():
            state = str(self._api.run(run_id).get("state") or "RUNTIME_STATE_UNSPECIFIED")
        pods = self._reader.objects("pods", namespace=self._namespace, selector=f"{RUN_LABEL}={run_id}")
        attempts: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        for pod in pods:
            if found := _EXECUTOR.search((pod["metadata"].get("annotations") or {}).get(_NODE, "")):
                attempts.setdefault(found[1], []).append((int(found[2] or 0), pod))
        tasks = {name: self._task(name, sorted(each, key=lambda one: one[0])) for name, each in attempts.items()}
        return BackendRun(run_id=run_id, state=state, tasks=tasks, pods=pods)

    def _task(self, name: str, attempts: list[tuple[int, Mapping[str, Any]]]) -> BackendTask:
        pods = [pod for _, pod in attempts]
        log = self._reader.log(pods[-1]["metadata"]["name"], namespace=self._namespace, container="main")
        return BackendTask(name=name, pods=pods, log=log, outputs=reported_outputs(log))


@contextmanager
def _judged() -> Iterator[None]:
    """The API server's own refusal is Refused; without an answer of its own, nothing can be told."""
    try:
        yield
    except PipelineApiError as error:
        raise (Refused if error.answered else CannotTell)(error.message, remedy=error.remedy) from error


def reported_outputs(log: str) -> dict[str, Any]:
    """Output → value, as the launcher logs what the step reported; an artifact is ``{"uri", "metadata"}``."""
    if not (found := _OUTPUT.search(log)):
        return {}
    reported = json.loads(found[1])
    outputs = dict(reported.get("parameterValues") or {})
    for name, listed in (reported.get("artifacts") or {}).items():
        if listed.get("artifacts"):
            outputs[name] = {key: listed["artifacts"][0].get(key) for key in ("uri", "metadata")}
    return outputs
