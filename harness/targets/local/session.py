"""One stack running as processes: what is started in which order, and the clients that come out of it.

Every part is a future; a part that needs another waits for it. What can overlap does: environments, the tracking server, the workers'
imports and the compilation start at once, and only the hand-off itself (pipeline → download → runtime) is a chain.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import yaml

from trivet.engine.events import Emit, Event, PhaseEnded, PhaseStarted
from trivet.errors import CannotTell, NotOffered, TrivetError
from trivet.fixtures.pipelines.data import write_dataset
from trivet.integration import TrackingApi
from trivet.model.handover import Download, Handover, LoggedModel, PipelineRun
from trivet.model.stack import Stack
from trivet.model.subjects import CompiledPipeline, Manifest, ModelDirectory
from trivet.stacks.realise import realise
from trivet.targets.local import limits
from trivet.targets.local.clients import (
    LocalPipelines,
    LocalRuntime,
    LocalServing,
    LocalStore,
    LocalTrainer,
    cause,
    serve,
    stopped_afterwards,
)
from trivet.targets.local.journal import Run
from trivet.targets.local.processes import Process, Processes
from trivet.targets.local.servers import start_runtime, start_tracking
from trivet.targets.local.staging import stage
from trivet.targets.local.worker import Worker
from trivet.targets.static import KINDS, Found, read_file, read_model_directory

CLIENTS = ("tracking", "trainer", "store", "serving", "pipelines", "runtime", "handover")
SERVICE = "recommendation-classifier"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Driven:
    """A pipeline run with what the protocol's PipelineRun has no room for.

    ``error`` is what the SDK raised; empty when it raised nothing.
    """

    run: PipelineRun
    arguments: Mapping[str, Any]
    error: str


class LocalSession:
    """A stack as processes of this machine. Made by LocalTarget, which also ends it."""

    def __init__(self, stack: Stack, run: Run, processes: Processes, emit: Emit) -> None:
        self._stack = stack
        self.directory = run.directory
        """Everything that the session writes; removed at its end."""
        self._processes = processes
        self._emit_unsafely = emit
        self._emit_lock = threading.Lock()
        self._numbers = count(1)
        self._pool = ThreadPoolExecutor(24, thread_name_prefix="trivet-local")
        self._staged = stage(run.directory / "python")
        self._artifacts = run.directory / "artifacts"
        self._artifacts.mkdir()
        self._data = write_dataset(self.directory / "recommendation.csv")
        begin = self._pool.submit
        self._python: dict[str, Future[Path]] = {
            name: begin(self._realise, name) for name in ("tracking", "trainer", "initializer", "runtime")
        }
        self._runtime_python = begin(self._ask_runtime_python)
        self._tracking = begin(self._start_tracking)
        self._driver = begin(self._start_driver)
        self._compiled = begin(self._compile)
        self._main_run = begin(self._run_pipeline)
        self._handover = begin(self._hand_over)
        self._service_file = begin(self._write_service)
        self._initializer = begin(self._start_initializer)
        self._store = begin(self._make_store)
        self._download = begin(self._fetch)
        self._serving = begin(self._serve)
        self._trainer = begin(self._start_trainer)
        self._runtime = LocalRuntime(self._start_runtime_worker)

    def client(self, name: str) -> Any:
        """The client called ``name``, once it is there. Raises CannotTell with the reason when its part failed."""
        makers: dict[str, Callable[[], Any]] = {
            "tracking": lambda: TrackingApi(self._tracking.result()),
            "trainer": self._trainer.result,
            "store": self._store.result,
            "serving": self._serving.result,
            "pipelines": self._pipelines,
            "runtime": self._runtime_client,
            "handover": self._handover.result,
        }
        if name not in makers:
            raise NotOffered(f"the local target has no client {name!r}; it has: {', '.join(CLIENTS)}")
        with _as_cannot_tell():
            return makers[name]()

    def subjects(self, kind: str) -> Sequence[Manifest | ModelDirectory | CompiledPipeline]:
        """What the hand-off made: the InferenceService, the downloaded model directory, or the compiled pipeline."""
        readers: dict[str, Callable[[], Found]] = {
            "manifest": lambda: read_file(self._service_file.result()),
            "model_directory": lambda: read_model_directory(self._download.result().directory),
            "compiled_pipeline": lambda: read_file(self._compiled.result()),
        }
        if kind not in readers:
            raise NotOffered(f"the local target has no subjects of the kind {kind!r}; it has: {', '.join(readers)}")
        with _as_cannot_tell():
            found = readers[kind]()
            if found.errors:
                raise found.errors[0]
            return [subject for subject in found.subjects if KINDS[type(subject)] == kind]

    def features(self) -> Mapping[str, str]:
        """``ConditionalPipeline`` when the SDK's local runner ran the pipeline's condition itself."""
        main = _came_to_be(self._main_run)
        if main and main.run.succeeded and not main.run.refused and "deploy" in main.run.outputs:
            return {
                "ConditionalPipeline": "the gate's output was 'true', and the task behind dsl.If left its outputs in the same run"
            }
        return {}

    def describe(self) -> Mapping[str, str]:
        """The hand-off in words, and the Python that really serves; what did not come to be is left out."""
        found: dict[str, str] = {}
        if handover := _came_to_be(self._handover):
            found = {
                "tracking URI": handover.tracking_uri,
                "run": handover.model.run_id,
                "registered version": f"{handover.model.registered_name}/{handover.model.version}",
                "alias": handover.alias,
                "storage URI": handover.storage_uri,
                "InferenceService": str(handover.service["metadata"]["name"]),
            }
        main = _came_to_be(self._main_run)
        if handover and main and main.run.refused:
            found["condition"] = (
                f"run as a pipeline of its own, because the SDK's local runner refused it: {main.run.refused}"
            )
        if version := _came_to_be(self._runtime_python):
            role = self._stack.roles["runtime"]
            image = f"; the image {role.image} has {role.image_python}" if role.image and role.image_python else ""
            found["runtime Python"] = f"{version}{image}"
        return found

    def documents(self) -> Mapping[str, Path]:
        """The InferenceService, the compiled pipeline and the texts of the model directory, as far as they came to be."""
        found: dict[str, Path] = {}
        if pipeline := _came_to_be(self._compiled):
            found["pipeline.yaml"] = pipeline
        if service := _came_to_be(self._service_file):
            found["inferenceservice.yaml"] = service
        if download := _came_to_be(self._download):
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

    # -- environments and workers

    def _realise(self, role: str) -> Path:
        with self._phase(f"{role} environment"):
            return Path(realise(self._stack.roles[role], stop=self._processes.closed).python)

    def _ask_runtime_python(self) -> str:
        python = self._python["runtime"].result()
        program = "import platform; print(platform.python_version())"
        asked = subprocess.run([python, "-I", "-c", program], capture_output=True, check=True, text=True, timeout=60)
        return asked.stdout.strip()

    def _environment(self, role: str) -> dict[str, str]:
        return {**self._stack.roles[role].environment, "PYTHONPATH": str(self._staged)}

    def _tracking_environment(self, uri: str) -> dict[str, str]:
        # An unreachable server must fail a step within seconds; MLflow's own defaults retry for one to twenty minutes.
        return {
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        }

    def _worker(self, role: str, name: str, job: str, *, background: bool = False) -> Worker:
        return Worker(
            self._processes,
            name,
            self._python[role].result(),
            f"trivet.fixtures.jobs.{job}",
            environment=self._environment(role),
            background=background,
        )

    def _start_driver(self) -> Worker:
        return self._worker("trainer", "pipeline driver", "pipeline")

    def _start_initializer(self) -> Worker:
        return self._worker("initializer", "storage initializer", "initializer", background=True)

    def _start_runtime_worker(self) -> Worker:
        return self._worker("runtime", "runtime job", "runtime")

    def _start_trainer(self) -> LocalTrainer:
        worker = self._worker("trainer", "trainer job", "trainer", background=True)
        uri = self._tracking.result()
        with self._phase("trainer job"):
            worker.call("connect", environment=self._tracking_environment(uri))
        return LocalTrainer(worker)

    def _runtime_client(self) -> LocalRuntime:
        self._python["runtime"].result()
        return self._runtime

    # -- the tracking server and the pipeline

    def _start_tracking(self) -> str:
        python = self._python["tracking"].result()
        with self._phase("tracking server"):
            _, uri = start_tracking(
                self._processes,
                python,
                environment=self._stack.roles["tracking"].environment,
                database=self.directory / "mlflow.db",
                root=f"file://{self._artifacts}",
            )
            return uri

    def _compile(self) -> Path:
        driver = self._driver.result()
        path = self.directory / "pipeline.yaml"
        with self._phase("pipeline compilation"):
            driver.call("compile", path=str(path))
            return path

    def _run_pipeline(self) -> Driven:
        driver, uri = self._driver.result(), self._tracking.result()
        self._compiled.result()
        with self._phase("pipeline") as failed:
            driven = self._drive(driver, uri, {"registered_name": SERVICE}, {})
            if not driven.run.succeeded:
                failed(cause(driven.run.log))
            return driven

    def _drive(
        self,
        driver: Worker,
        uri: str,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str],
        pipeline: Path | None = None,
    ) -> Driven:
        whole = {"data_path": str(self._data), "service_name": SERVICE, **arguments}
        answer = driver.call(
            "run",
            seconds=limits.PIPELINE,
            arguments=whole,
            root=str(driver.process.log.parent / "outputs"),
            environment={**self._tracking_environment(uri), **environment},
            file=str(pipeline or ""),
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
            own = {"registered_name": f"{SERVICE}-{number}", "experiment": f"run-{number}"}
            return self._drive(driver, self._tracking.result(), {**own, **arguments}, environment, pipeline).run
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
            tracking_uri=self._tracking.result(),
            artifact_root=f"file://{self._artifacts}",
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

    # -- the store and the runtime

    def _make_store(self) -> LocalStore:
        return LocalStore(self._artifacts, self.directory / "downloads", self._initializer.result())

    def _fetch(self) -> Download:
        store, handover = self._store.result(), self._handover.result()
        with self._phase("storage initializer"):
            return store.download(handover.storage_uri)

    def _serve(self) -> LocalServing:
        directory = self._download.result().directory
        with self._phase("runtime") as failed:
            serving = self._start_serving("runtime", directory)
            if not serving.ready:
                failed(serving.failure)
            return serving

    def _start_serving(self, label: str, directory: Path) -> LocalServing:
        def start() -> tuple[Process, str]:
            return start_runtime(
                self._processes,
                self._python["runtime"].result(),
                self._stack,
                name=SERVICE,
                directory=directory,
                label=label,
            )

        return serve(SERVICE, start, self._deploy)

    def _deploy(self, storage_uri: str) -> contextlib.AbstractContextManager[LocalServing]:
        directory = self._store.result().download(storage_uri).directory
        return stopped_afterwards(self._start_serving(f"runtime {next(self._numbers)}", directory))

    # -- events

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[Callable[[str], None]]:
        """Tell that a phase begins and ends. The block gets a function that marks the phase as failed without raising."""
        failure = ""

        def failed(reason: str) -> None:
            nonlocal failure
            failure = reason

        started = time.monotonic()
        self._emit(PhaseStarted(name=name))
        try:
            yield failed
        except BaseException as error:
            failure = (str(error) or type(error).__name__).splitlines()[0]
            raise
        finally:
            self._emit(PhaseEnded(name=name, seconds=round(time.monotonic() - started, 3), failure=failure))

    def _emit(self, event: Event) -> None:
        with self._emit_lock:
            self._emit_unsafely(event)


def _came_to_be(future: Future[T]) -> T | None:
    """The result, waited for; None when its part failed, however it did: whoever asked for a client of it was told why."""
    with contextlib.suppress(Exception):
        return future.result()
    return None


@contextlib.contextmanager
def _as_cannot_tell() -> Iterator[None]:
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
