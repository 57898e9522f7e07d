"""The session that runs the handover of one stack: its parts, their dependencies, and the clients that they provide.

Every part is a future that waits for the parts that it needs. Parts run in parallel where possible; only the handover itself (pipeline →
download → runtime) is a chain. The targets implement how a part is created: as a process or as a pod.
"""

from __future__ import annotations

import contextlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from trivet.errors import CannotTell, NotOffered, TrivetError
from trivet.fixtures.pipelines.data import write_dataset
from trivet.host.journal import Run
from trivet.host.processes import Processes
from trivet.host.staging import stage
from trivet.host.worker import Worker
from trivet.integration import TrackingApi
from trivet.model.clients import ServingClient, StoreClient
from trivet.model.detection import Fact
from trivet.model.events import Emit, Event, phase
from trivet.model.handover import Download, Handover, LoggedModel, PipelineRun, RegisteredVersion
from trivet.model.platform_config import PlatformConfig, platform_of
from trivet.model.stack import Role, Stack
from trivet.model.subjects import CompiledPipeline, ModelDirectory, Resource
from trivet.targets.common import limits
from trivet.targets.common.clients import (
    DriverPipelines,
    WorkerPredictor,
    WorkerRuntime,
    WorkerTrainer,
)
from trivet.targets.common.external_trainer import ExternalTrainer
from trivet.targets.common.parts import Part, result_or_none, start
from trivet.targets.common.registered import predecessor_of
from trivet.targets.common.stated_versions import runtime_version, sdk_version, tracking_version
from trivet.toolkit.logs import first_exception
from trivet.toolkit.models import ModelMaker
from trivet.toolkit.subjects import KINDS, ReadResult, read_file, read_model_directory

CODE = (
    "trivet.integration",
    "trivet.fixtures.jobs",
    "trivet.fixtures.pipelines",
    "trivet.targets.common",
    "trivet.toolkit.models",
    "trivet.toolkit.subjects",
)
"""What makes the clients and decides what is started, and what is staged into the roles, beside a target's own package; not what starts
processes and waits, or creates a cluster."""

SERVICE = "recommendation-classifier"

T = TypeVar("T")

_TRAINER, _TRACKING, _INITIALIZER, _RUNTIME = (
    (f"roles.{name}",) for name in ("trainer", "tracking", "initializer", "runtime")
)


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The tracking server: ``uri`` is for pipeline steps, ``url`` for this machine."""

    uri: str
    url: str


@dataclass(frozen=True, kw_only=True)
class PipelineExecution:
    """A pipeline run, the arguments that it was started with, and the exception of the SDK as text, empty when there was none."""

    run: PipelineRun
    arguments: Mapping[str, Any]
    error: str


class HandoverSession(ABC):
    """The base of all targets' sessions. A target's session submits its own parts in :meth:`_prepare`."""

    target: str
    """The target's name in messages."""
    artifact_root: str
    """The root of the tracking server's artifacts, as a URI."""
    service = SERVICE
    """The name of the InferenceService."""
    registered = SERVICE
    """The prefix of the names of the session's registered models."""
    experiment = ""
    """The prefix of the names of the session's MLflow experiments; empty when no other session uses the tracking server."""
    eager: ClassVar[bool] = True
    """Whether all parts are made when the session starts, or each when it is first needed."""
    CLIENTS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "stack": lambda session: session._stack,
        "platform": lambda session: session.observed_platform(platform_of(session._stack)),
        "tracking": lambda session: session._tracking_api(),
        "trainer": lambda session: session._trainer.result(),
        "predictor": lambda session: session._predictor(),
        "models": lambda session: session._models.result(),
        "external_trainer": lambda session: session._external_trainer,
        "store": lambda session: session._store.result(),
        "serving": lambda session: session._serving.result(),
        "pipelines": lambda session: session._pipelines(),
        "runtime": lambda session: session._runtime_client(),
        "handover": lambda session: session._handover.result(),
        "predecessor": lambda session: session._predecessor(),
        "running_versions": lambda session: session._running_versions.result(),
    }
    """Client → the function that returns it for a session."""

    PARTS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "stack": (),
        "platform": (),
        "external_trainer": (),
        "tracking": _TRACKING,
        "compiled_pipeline": _TRAINER,
        "trainer": (*_TRAINER, *_TRACKING),
        "models": (*_TRAINER, *_TRACKING),
        "predictor": (*_TRAINER, *_TRACKING),
        "pipelines": (*_TRAINER, *_TRACKING),
        "handover": (*_TRAINER, *_TRACKING),
        "predecessor": (*_TRAINER, *_TRACKING),
        "manifest": (*_TRAINER, *_TRACKING),
        "resource": (*_TRAINER, *_TRACKING),
        "features": (*_TRAINER, *_TRACKING),
        "store": _INITIALIZER,
        "model_directory": (*_TRAINER, *_TRACKING, *_INITIALIZER),
        "runtime": _RUNTIME,
        "serving": (*_TRAINER, *_TRACKING, *_INITIALIZER, *_RUNTIME, "settings.serving"),
        "running_versions": (*_TRAINER, *_TRACKING, *_INITIALIZER, *_RUNTIME, "settings.serving"),
    }
    """Client, static subject or ``features`` → the parts of the stack behind it (``trivet.stacks.parts``). What a check reads of ``stack``
    and ``platform`` is recorded when it does."""

    def __init__(self, stack: Stack, run: Run, processes: Processes, emit: Emit) -> None:
        self._stack = stack
        self._run = run
        self.directory = run.directory
        """The folder for everything that the session writes on this machine; deleted when the session ends."""
        self._processes = processes
        self._unlocked_emit = emit
        self._emit_lock = threading.Lock()
        self._numbers = count(1)
        self._pool = ThreadPoolExecutor(32, thread_name_prefix=f"trivet-{self.target}")
        try:
            self._start_parts()
        except BaseException:
            # A part that still starts something would outlive the blocks that stop and remove what was started.
            processes.close()
            self.close()
            raise

    def _start_parts(self) -> None:
        self._staged = stage(self.directory / "python")
        self._data = write_dataset(self.directory / "recommendation.csv")
        self._prepare()
        part = self._part
        self._tracking = part(self._start_tracking)
        self._driver = part(self._start_driver)
        self._compiled = part(self._compile)
        self._main_run = part(self._run_pipeline)
        self._handover = part(self._hand_over)
        self._service_file = part(self._write_service)
        self._store: Part[StoreClient] = part(self._make_store)
        self._download = part(self._fetch)
        self._serving: Part[ServingClient] = part(self._serve)
        self._trainer = part(self._start_trainer)
        self._models = part(self._make_models)
        self._running_versions = part(self._stated_versions)
        self._runtime = WorkerRuntime(lambda: self._worker("runtime", "runtime job", "runtime"))
        self._external_trainer = ExternalTrainer(
            self.directory / "external-trainers", self._start_external_trainer, self._processes.closed
        )

    def _part(self, make: Callable[..., T], *arguments: Any) -> Part[T]:
        """A part that ``make`` makes: at once, or when it is needed."""
        made = Part(lambda: self._pool.submit(make, *arguments))
        if self.eager:
            made.start()
        return made

    # -- what a target implements

    @abstractmethod
    def _prepare(self) -> None:
        """Submit the parts that only this target has; the common parts wait for them."""

    @abstractmethod
    def _worker(self, role: str, name: str, job: str, *, background: bool = False) -> Worker:
        """A worker with the job ``job`` of ``trivet.fixtures.jobs``, started in the environment of ``role``."""

    @abstractmethod
    def _start_tracking(self) -> Tracking:
        """The tracking server, once it responds."""

    @abstractmethod
    def _make_store(self) -> StoreClient:
        """The store client."""

    @abstractmethod
    def _serve(self) -> ServingClient:
        """The serving client for the runtime with the model of the handover."""

    @abstractmethod
    def _job_path(self, role: str, path: Path) -> str:
        """The path under which jobs of ``role`` can read a file of this machine."""

    @abstractmethod
    def _outputs(self, driver: Worker) -> str:
        """A directory for the outputs of one pipeline run, as a path for the driver."""

    def _deployment(self) -> Mapping[str, Any]:
        """Arguments of the pipeline's deployment step that depend on the target."""
        return {}

    # -- the session

    def client(self, name: str) -> Any:
        """The client called ``name``; waits until it is available. Raises CannotTell with the reason when its part failed."""
        if name not in self.CLIENTS:
            raise NotOffered(f"the {self.target} target has no client {name!r}; it has: {', '.join(self.CLIENTS)}")
        with errors_as_cannot_tell():
            return self.CLIENTS[name](self)

    def subjects(self, kind: str) -> Sequence[Resource | ModelDirectory | CompiledPipeline]:
        """The static subjects of the handover: the InferenceService, the downloaded model directory, or the compiled pipeline."""
        readers: dict[str, Callable[[], ReadResult]] = {
            "manifest": lambda: read_file(self._service_file.result()),
            "resource": lambda: read_file(self._service_file.result()),
            "model_directory": lambda: read_model_directory(self._download.result().directory, root=self.directory),
            "compiled_pipeline": lambda: read_file(self._compiled.result()),
        }
        if kind not in readers:
            raise NotOffered(
                f"the {self.target} target has no subjects of the kind {kind!r}; it has: {', '.join(readers)}"
            )
        with errors_as_cannot_tell():
            result = readers[kind]()
            if result.errors:
                raise result.errors[0]
            return [subject for subject in result.subjects if kind in KINDS[type(subject)]]

    def features(self) -> Mapping[str, str]:
        """``ConditionalPipeline`` when the SDK's local runner evaluated the pipeline's condition."""
        self._main_run.start()
        main = result_or_none(self._main_run)
        if main and main.run.succeeded and not main.run.refused and "deploy" in main.run.outputs:
            return {
                "ConditionalPipeline": "the gate's output was 'true', and the task under dsl.If has outputs in the same run"
            }
        return {}

    def observed_platform(self, described: PlatformConfig) -> PlatformConfig:
        """``described``, which is what the stack says of the platform, with what the target knows besides."""
        return described

    def describe(self) -> Mapping[str, str]:
        """A description of the handover for the report; parts that failed are omitted."""
        handover, main = result_or_none(self._handover), result_or_none(self._main_run)
        if not handover:
            return {}
        found = {
            "tracking URI": handover.tracking_uri,
            "run": handover.model.run_id,
            "registered version": f"{handover.model.registered_name}/{handover.model.version}",
            "alias": handover.alias,
            "storage URI": handover.storage_uri,
            "InferenceService": str(handover.service["metadata"]["name"]),
        }
        if main and main.run.refused:
            found["condition"] = (
                f"run as a separate pipeline, because the SDK's local runner refused it: {main.run.refused}"
            )
        return found

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        """The InferenceService, the compiled pipeline and the text files of the model directory; parts that failed are omitted."""
        found: dict[str, Path] = {}
        if self._handover.started:
            self._service_file.start()
        if pipeline := result_or_none(self._compiled):
            found["pipeline.yaml"] = pipeline
        if service := result_or_none(self._service_file):
            found["inferenceservice.yaml"] = service
        if download := result_or_none(self._download):
            texts = (
                path
                for path in sorted(download.directory.iterdir())
                if path.name == "MLmodel" or path.suffix in (".txt", ".yaml")
            )
            found |= {f"model/{path.name}": path for path in texts}
        return found

    def close(self) -> None:
        """Wait for the session's threads; their processes have ended already."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    # -- workers

    def _start_driver(self) -> Worker:
        return self._worker("trainer", "pipeline driver", "pipeline")

    def _start_trainer(self) -> WorkerTrainer:
        self._tracking.start()
        worker = self._worker("trainer", "trainer job", "trainer", background=True)
        tracking = self._tracking.result()
        with self._phase("trainer job"):
            environment = self._tracking_environment(tracking.uri)
            if self.experiment:
                # A separate experiment: MLflow's set_experiment is not atomic, and fails when the pipeline creates the same one meanwhile.
                environment["MLFLOW_EXPERIMENT_NAME"] = f"{self.experiment}-jobs"
            worker.call("connect", environment=environment)
        return WorkerTrainer(worker)

    def _predictor(self) -> WorkerPredictor:
        model = self._handover.result().model
        return WorkerPredictor(self._trainer.result(), f"models:/{model.registered_name}/{model.version}")

    def _predecessor(self) -> RegisteredVersion:
        model, tracking = self._handover.result().model, self._tracking_api()
        version = tracking.get_model_version(model.registered_name, model.version)
        return predecessor_of(version, tracking, self.directory / "predecessor")

    def _make_models(self) -> ModelMaker:
        return ModelMaker(self._trainer.result(), self._tracking_api())

    def _tracking_api(self) -> TrackingApi:
        return TrackingApi(self._tracking.result().url, artifact_root=self.artifact_root, retries=2)

    def _start_external_trainer(self, trainer: Role, python: Path) -> Worker:
        return Worker(
            self._processes,
            "external trainer",
            [python, "-m", "trivet.fixtures.jobs.trainer"],
            environment={**trainer.environment, "PYTHONPATH": str(self._staged)},
            background=True,
        )

    def _tracking_environment(self, uri: str) -> dict[str, str]:
        # A step must fail within seconds when the server is unreachable; with MLflow's defaults it retries for one to twenty minutes.
        return {
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        }

    def _runtime_client(self) -> WorkerRuntime:
        return self._runtime

    # -- the versions that components state

    def _stated_versions(self) -> Mapping[str, Fact]:
        """Component → what it states itself. When none states its version, raises why the parts failed, if they did."""
        facts = self._versions()
        if not any(fact.value for fact in facts.values()):
            for part in (self._compiled, self._tracking, self._serving):
                part.result()
        return facts

    def _versions(self) -> Mapping[str, Fact]:
        """Component → what it states itself; waits for the parts."""
        start(self._compiled, self._tracking, self._serving)
        return {
            "kfp": self._stated("kfp", lambda: sdk_version(self._compiled.result())),
            "mlflow": self._stated("mlflow", lambda: tracking_version(self._tracking_api())),
            "runtime": self._stated("runtime", lambda: runtime_version(self._serving.result())),
        }

    def _stated(self, component: str, look: Callable[[], Fact]) -> Fact:
        """What ``look`` returns, or an unknown fact with the error of the part that it needs."""
        try:
            return look()
        except (TrivetError, OSError) as error:
            return Fact(name=component, reason=str(error).splitlines()[0])

    # -- the pipeline

    def _compile(self) -> Path:
        driver = self._driver.result()
        path = self.directory / "pipeline.yaml"
        with self._phase("pipeline compilation"):
            path.write_text(driver.call("compile"), encoding="utf-8")
            return path

    def _run_pipeline(self) -> PipelineExecution:
        start(self._driver, self._tracking, self._compiled)
        driver, tracking = self._driver.result(), self._tracking.result()
        self._compiled.result()
        with self._phase("pipeline") as failed:
            execution = self._execute(driver, tracking.uri, self._names(""), {})
            if not execution.run.succeeded:
                failed(first_exception(execution.run.log))
            return execution

    def _names(self, suffix: str) -> dict[str, str]:
        """The names of one run's registered model and experiment in MLflow, different for each run."""
        experiment = "-".join(part for part in (self.experiment, suffix and f"run{suffix}") if part)
        return {"registered_name": f"{self.registered}{suffix}", **({"experiment": experiment} if experiment else {})}

    def _execute(
        self,
        driver: Worker,
        uri: str,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str],
        pipeline: Path | None = None,
    ) -> PipelineExecution:
        defaults = {"data_path": self._job_path("trainer", self._data), "service_name": self.service}
        all_arguments = {**defaults, **self._deployment(), **arguments}
        answer = driver.call(
            "run",
            seconds=limits.PIPELINE,
            arguments=all_arguments,
            root=self._outputs(driver),
            environment={**self._tracking_environment(uri), **environment},
            file=self._job_path("trainer", pipeline) if pipeline else "",
        )
        run = PipelineRun(
            succeeded=answer["succeeded"],
            outputs=answer["outputs"],
            log=driver.process.text(),
            refused=answer["refused"],
        )
        return PipelineExecution(run=run, arguments=all_arguments, error=answer["error"])

    def _pipelines(self) -> DriverPipelines:
        return DriverPipelines(self._compiled.result(), lambda: self._main_run.result().run, self._run_again)

    def _run_again(
        self, arguments: Mapping[str, Any], environment: Mapping[str, str], pipeline: Path | None
    ) -> PipelineRun:
        number = next(self._numbers)
        driver = self._worker("trainer", f"pipeline driver {number}", "pipeline")
        try:
            named = {**self._names(f"-{number}"), **arguments}
            return self._execute(driver, self._tracking.result().uri, named, environment, pipeline).run
        finally:
            driver.process.stop()

    def _hand_over(self) -> Handover:
        main = self._main_run.result()
        outputs = main.run.outputs
        if not main.run.succeeded:
            raise CannotTell(f"the pipeline failed: {main.error}; {first_exception(main.run.log)}")
        if "deploy" not in outputs:
            gate = outputs.get("quality-gate", {})
            raise CannotTell(
                f"there is no handover: the pipeline did not deploy; the output of its quality gate is {gate}"
            )
        trained = outputs["train"]
        service = json.loads(outputs["deploy"]["Output"])
        model_uri = str(trained["model_uri"])
        return Handover(
            tracking_uri=self._tracking.result().uri,
            model=LoggedModel(
                run_id=trained["run_id"],
                artifact_path="model",
                registered_name=main.arguments["registered_name"],
                version=trained["version"],
                # MLflow 3 refers to a logged model by its id, MLflow 2 by its run and path.
                model_id=model_uri.removeprefix("models:/") if model_uri.startswith("models:/") else "",
            ),
            alias="production",
            service=service,
        )

    def _write_service(self) -> Path:
        path = self.directory / "inferenceservice.yaml"
        path.write_text(yaml.safe_dump(dict(self._handover.result().service), sort_keys=False), encoding="utf-8")
        return path

    # -- the store

    def _fetch(self) -> Download:
        self._handover.start()
        store, handover = self._store.result(), self._handover.result()
        with self._phase("storage initializer"):
            return store.download(handover.storage_uri)

    # -- events

    def _phase(self, name: str) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """A phase of this session; the block gets a function that marks the phase as failed without an exception."""
        return phase(self._emit, name)

    def _emit(self, event: Event) -> None:
        with self._emit_lock:
            self._unlocked_emit(event)


@contextlib.contextmanager
def errors_as_cannot_tell() -> Iterator[None]:
    """Turn the failure of a part into CannotTell: a check that needs the part is INCONCLUSIVE, not an ERROR."""
    try:
        yield
    except (CannotTell, NotOffered):
        raise
    except TrivetError as error:
        raise CannotTell(error.message, remedy=error.remedy) from error
    except OSError as error:
        raise CannotTell(
            f"an operation of this machine failed: {error}",
            remedy="check disk space and limits (ulimit) of this machine",
        ) from error
