"""The hand-off of one stack, whatever it runs on: which parts there are, which waits for which, and the clients that come out of it.

Every part is a future; a part that needs another waits for it, so that what can overlap does, and only the hand-off itself
(pipeline → download → runtime) is a chain. How a part comes to be (processes, pods) is the targets' own.
"""

from __future__ import annotations

import contextlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from trivet.model.events import Emit, Event, phase
from trivet.model.handover import Download, Handover, LoggedModel, PipelineRun
from trivet.model.stack import Role, Stack
from trivet.model.subjects import CompiledPipeline, Manifest, ModelDirectory
from trivet.targets.common import limits
from trivet.targets.common.clients import LocalPipelines, LocalRuntime, LocalTrainer, cause
from trivet.targets.common.external_trainer import ExternalTrainer
from trivet.toolkit.models import ModelMaker
from trivet.toolkit.subjects import KINDS, ReadResult, read_file, read_model_directory

SERVICE = "recommendation-classifier"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The tracking server: ``uri`` as steps of a pipeline reach it, ``url`` as this machine does."""

    uri: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Driven:
    """A pipeline run with what the protocol's PipelineRun has no room for.

    ``error`` is what the SDK raised; empty when it raised nothing.
    """

    run: PipelineRun
    arguments: Mapping[str, Any]
    error: str


class HandoverSession(ABC):
    """What the sessions of all targets have in common. A target's session begins its own parts in :meth:`_prepare`."""

    target: str
    """What messages call the target."""
    artifact_root: str
    """The store behind the tracking server, as a URI."""
    service = SERVICE
    """The name of the InferenceService."""
    registered = SERVICE
    """What the names of the session's registered models begin with."""
    experiment = ""
    """What the names of the session's MLflow experiments begin with; empty where no other session shares the server."""
    CLIENTS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "stack": lambda session: session._stack,
        "tracking": lambda session: TrackingApi(session._tracking.result().url),
        "trainer": lambda session: session._trainer.result(),
        "models": lambda session: session._models.result(),
        "external_trainer": lambda session: session._external_trainer,
        "store": lambda session: session._store.result(),
        "serving": lambda session: session._serving.result(),
        "pipelines": lambda session: session._pipelines(),
        "runtime": lambda session: session._runtime_client(),
        "handover": lambda session: session._handover.result(),
    }
    """How a session makes each client that its target offers."""

    def __init__(self, stack: Stack, run: Run, processes: Processes, emit: Emit) -> None:
        self._stack = stack
        self._run = run
        self.directory = run.directory
        """Everything that the session writes on this machine; removed at its end."""
        self._processes = processes
        self._emit_unsafely = emit
        self._emit_lock = threading.Lock()
        self._numbers = count(1)
        self._pool = ThreadPoolExecutor(32, thread_name_prefix=f"trivet-{self.target}")
        self._staged = stage(run.directory / "python")
        self._data = write_dataset(self.directory / "recommendation.csv")
        self._prepare()
        begin = self._pool.submit
        self._tracking = begin(self._start_tracking)
        self._driver = begin(self._start_driver)
        self._compiled = begin(self._compile)
        self._main_run = begin(self._run_pipeline)
        self._handover = begin(self._hand_over)
        self._service_file = begin(self._write_service)
        self._store: Future[StoreClient] = begin(self._make_store)
        self._download = begin(self._fetch)
        self._serving: Future[ServingClient] = begin(self._serve)
        self._trainer = begin(self._start_trainer)
        self._models = begin(self._make_models)
        self._runtime = LocalRuntime(lambda: self._worker("runtime", "runtime job", "runtime"))
        self._external_trainer = ExternalTrainer(
            self.directory / "external-trainers", self._start_external_trainer, processes.closed
        )

    # -- what a target has of its own

    @abstractmethod
    def _prepare(self) -> None:
        """Begin the parts that only this target has; the common ones wait for them."""

    @abstractmethod
    def _worker(self, role: str, name: str, job: str, *, background: bool = False) -> Worker:
        """The job ``job`` of ``trivet.fixtures.jobs``, started in the environment of ``role``."""

    @abstractmethod
    def _start_tracking(self) -> Tracking:
        """The tracking server, once it answers."""

    @abstractmethod
    def _make_store(self) -> StoreClient:
        """The store's client."""

    @abstractmethod
    def _serve(self) -> ServingClient:
        """The runtime with the model that was handed over."""

    @abstractmethod
    def _given(self, role: str, path: Path) -> str:
        """A file of this machine as a path that jobs of ``role`` can read."""

    @abstractmethod
    def _outputs(self, driver: Worker) -> str:
        """A directory for the outputs of one pipeline run, as the driver sees it."""

    def _deployment(self) -> Mapping[str, Any]:
        """Arguments of the pipeline that say how to deploy on this target."""
        return {}

    # -- the session

    def client(self, name: str) -> Any:
        """The client called ``name``, once it is there. Raises CannotTell with the reason when its part failed."""
        if name not in self.CLIENTS:
            raise NotOffered(f"the {self.target} target has no client {name!r}; it has: {', '.join(self.CLIENTS)}")
        with as_cannot_tell():
            return self.CLIENTS[name](self)

    def subjects(self, kind: str) -> Sequence[Manifest | ModelDirectory | CompiledPipeline]:
        """What the hand-off made: the InferenceService, the downloaded model directory, or the compiled pipeline."""
        readers: dict[str, Callable[[], ReadResult]] = {
            "manifest": lambda: read_file(self._service_file.result()),
            "model_directory": lambda: read_model_directory(self._download.result().directory),
            "compiled_pipeline": lambda: read_file(self._compiled.result()),
        }
        if kind not in readers:
            raise NotOffered(
                f"the {self.target} target has no subjects of the kind {kind!r}; it has: {', '.join(readers)}"
            )
        with as_cannot_tell():
            found = readers[kind]()
            if found.errors:
                raise found.errors[0]
            return [subject for subject in found.subjects if KINDS[type(subject)] == kind]

    def features(self) -> Mapping[str, str]:
        """``ConditionalPipeline`` when the SDK's local runner ran the pipeline's condition itself."""
        main = came_to_be(self._main_run)
        if main and main.run.succeeded and not main.run.refused and "deploy" in main.run.outputs:
            return {
                "ConditionalPipeline": "the gate's output was 'true', and the task behind dsl.If left its outputs in the same run"
            }
        return {}

    def describe(self) -> Mapping[str, str]:
        """The hand-off in words; what did not come to be is left out."""
        handover, main = came_to_be(self._handover), came_to_be(self._main_run)
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
                f"run as a pipeline of its own, because the SDK's local runner refused it: {main.run.refused}"
            )
        return found

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        """The InferenceService, the compiled pipeline and the texts of the model directory, as far as they came to be."""
        found: dict[str, Path] = {}
        if pipeline := came_to_be(self._compiled):
            found["pipeline.yaml"] = pipeline
        if service := came_to_be(self._service_file):
            found["inferenceservice.yaml"] = service
        if download := came_to_be(self._download):
            texts = (
                path
                for path in sorted(download.directory.iterdir())
                if path.name == "MLmodel" or path.suffix in (".txt", ".yaml")
            )
            found |= {f"model/{path.name}": path for path in texts}
        return found

    def close(self) -> None:
        """Wait for the threads, whose processes have ended by now."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    # -- workers

    def _start_driver(self) -> Worker:
        return self._worker("trainer", "pipeline driver", "pipeline")

    def _start_trainer(self) -> LocalTrainer:
        worker = self._worker("trainer", "trainer job", "trainer", background=True)
        tracking = self._tracking.result()
        with self._phase("trainer job"):
            environment = self._tracking_environment(tracking.uri)
            if self.experiment:
                # One of its own: MLflow's set_experiment asks and then creates, and fails when the pipeline has created it in between.
                environment["MLFLOW_EXPERIMENT_NAME"] = f"{self.experiment}-jobs"
            worker.call("connect", environment=environment)
        return LocalTrainer(worker)

    def _make_models(self) -> ModelMaker:
        return ModelMaker(self._trainer.result(), TrackingApi(self._tracking.result().url), self.artifact_root)

    def _start_external_trainer(self, trainer: Role, python: Path) -> Worker:
        return Worker(
            self._processes,
            "external trainer",
            [python, "-m", "trivet.fixtures.jobs.trainer"],
            environment={**trainer.environment, "PYTHONPATH": str(self._staged)},
            background=True,
        )

    def _tracking_environment(self, uri: str) -> dict[str, str]:
        # An unreachable server must fail a step within seconds; MLflow's own defaults retry for one to twenty minutes.
        return {
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        }

    def _runtime_client(self) -> LocalRuntime:
        return self._runtime

    # -- the pipeline

    def _compile(self) -> Path:
        driver = self._driver.result()
        path = self.directory / "pipeline.yaml"
        with self._phase("pipeline compilation"):
            path.write_text(driver.call("compile"), encoding="utf-8")
            return path

    def _run_pipeline(self) -> Driven:
        driver, tracking = self._driver.result(), self._tracking.result()
        self._compiled.result()
        with self._phase("pipeline") as failed:
            driven = self._drive(driver, tracking.uri, self._names(""), {})
            if not driven.run.succeeded:
                failed(cause(driven.run.log))
            return driven

    def _names(self, suffix: str) -> dict[str, str]:
        """The names in MLflow of one run, so that no run disturbs another."""
        experiment = "-".join(part for part in (self.experiment, suffix and f"run{suffix}") if part)
        return {"registered_name": f"{self.registered}{suffix}", **({"experiment": experiment} if experiment else {})}

    def _drive(
        self,
        driver: Worker,
        uri: str,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str],
        pipeline: Path | None = None,
    ) -> Driven:
        given = {"data_path": self._given("trainer", self._data), "service_name": self.service, **self._deployment()}
        whole = {**given, **arguments}
        answer = driver.call(
            "run",
            seconds=limits.PIPELINE,
            arguments=whole,
            root=self._outputs(driver),
            environment={**self._tracking_environment(uri), **environment},
            file=self._given("trainer", pipeline) if pipeline else "",
        )
        run = PipelineRun(
            succeeded=answer["succeeded"],
            outputs=answer["outputs"],
            log=driver.process.text(),
            refused=answer["refused"],
        )
        return Driven(run=run, arguments=whole, error=answer["error"])

    def _pipelines(self) -> LocalPipelines:
        return LocalPipelines(self._compiled.result(), lambda: self._main_run.result().run, self._run_again)

    def _run_again(
        self, arguments: Mapping[str, Any], environment: Mapping[str, str], pipeline: Path | None
    ) -> PipelineRun:
        number = next(self._numbers)
        driver = self._worker("trainer", f"pipeline driver {number}", "pipeline")
        try:
            whole = {**self._names(f"-{number}"), **arguments}
            return self._drive(driver, self._tracking.result().uri, whole, environment, pipeline).run
        finally:
            driver.process.stop()

    def _hand_over(self) -> Handover:
        main = self._main_run.result()
        outputs = main.run.outputs
        if not main.run.succeeded:
            raise CannotTell(f"the pipeline failed: {main.error}; {cause(main.run.log)}")
        if "deploy" not in outputs:
            gate = outputs.get("quality-gate", {})
            raise CannotTell(f"nothing was handed over: the pipeline ran no deployment; its quality gate said {gate}")
        trained = outputs["train"]
        service = json.loads(outputs["deploy"]["Output"])
        model_uri = str(trained["model_uri"])
        return Handover(
            tracking_uri=self._tracking.result().uri,
            artifact_root=self.artifact_root,
            model=LoggedModel(
                run_id=trained["run_id"],
                artifact_path="model",
                registered_name=main.arguments["registered_name"],
                version=trained["version"],
                # MLflow 3 names a logged model by its id, MLflow 2 by its run and path.
                model_id=model_uri.removeprefix("models:/") if model_uri.startswith("models:/") else "",
            ),
            alias="production",
            storage_uri=service["spec"]["predictor"]["model"]["storageUri"],
            service=service,
        )

    def _write_service(self) -> Path:
        path = self.directory / "inferenceservice.yaml"
        path.write_text(yaml.safe_dump(dict(self._handover.result().service), sort_keys=False), encoding="utf-8")
        return path

    # -- the store

    def _fetch(self) -> Download:
        store, handover = self._store.result(), self._handover.result()
        with self._phase("storage initializer"):
            return store.download(handover.storage_uri)

    # -- events

    def _phase(self, name: str) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """A phase of this session; the block gets a function that marks it as failed without raising."""
        return phase(self._emit, name)

    def _emit(self, event: Event) -> None:
        with self._emit_lock:
            self._emit_unsafely(event)


def came_to_be(future: Future[T]) -> T | None:
    """The result, waited for; None when its part failed, however it did: whoever asked for a client of it was told why."""
    with contextlib.suppress(Exception):
        return future.result()
    return None


@contextlib.contextmanager
def as_cannot_tell() -> Iterator[None]:
    """A part that failed leaves the questions to it without an answer: INCONCLUSIVE, not an error of ours."""
    try:
        yield
    except (CannotTell, NotOffered):
        raise
    except TrivetError as error:
        raise CannotTell(error.message, remedy=error.remedy) from error
    except OSError as error:
        raise CannotTell(
            f"this machine did not allow it: {error}", remedy="see to its disk space and limits"
        ) from error
