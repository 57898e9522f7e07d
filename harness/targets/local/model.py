"""The target of ``trivet check``: one model of the user's, in the stack's runtime and in the environment that it asks for.

There is no pipeline, no tracking server and no store. Models are code: their processes get none of the user's variables, and no network
where this machine can take it from them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from trivet.errors import NotOffered, PlatformError
from trivet.host.isolation import enterable, entrance, without_network
from trivet.host.journal import Run, clean_leftovers
from trivet.host.processes import Process, Processes
from trivet.host.signals import uninterruptible
from trivet.host.staging import stage
from trivet.host.worker import Worker
from trivet.model.events import Emit, Event, phase
from trivet.model.handover import RegisteredVersion
from trivet.model.platform_config import platform_of
from trivet.model.report import ONE_MODEL
from trivet.model.results import ResultInputs
from trivet.model.stack import Role, Stack
from trivet.model.subjects import ModelDirectory
from trivet.stacks.environments import build_environment
from trivet.targets.common.clients import HttpServing, WorkerPredictor, WorkerRuntime, start_serving
from trivet.targets.common.parts import Part, result_or_none, start
from trivet.targets.common.session import errors_as_cannot_tell
from trivet.targets.local.servers import start_runtime
from trivet.toolkit.model_digest import files_digest
from trivet.toolkit.model_environment import cutoff_of, environment_of

NAME = "candidate"
"""The model's name in V2 URLs."""

CODE = (
    "trivet.integration",
    "trivet.fixtures.jobs",
    "trivet.targets.common",
    "trivet.targets.local",
    "trivet.toolkit.model_environment",
    "trivet.toolkit.subjects",
)
"""What makes the clients and decides what is started, and what is staged into the environments; not what starts processes and waits."""

Predecessor = Callable[[], RegisteredVersion]
"""Asks the tracking server. Raises NotOffered when there is no earlier version, TrivetError when it cannot be read."""

REGISTERED = frozenset({"predecessor"})
"""The clients that there are for a registered version only. What they answer may be another version at the next time."""

LONGEST_SOCKET = 100
"""Bytes of a Unix socket's path; Linux allows 107."""


class ModelSession:
    """What runs for one model. ModelTarget creates and ends it.

    Its parts are made side by side: the two environments, the model in its own, and the stack's runtime with it.
    """

    CLIENTS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "stack": lambda session: session._stack,
        "platform": lambda session: platform_of(session._stack),
        "predictor": lambda session: session._predictor.result(),
        "serving": lambda session: session._serving.result(),
        "runtime": lambda session: session._runtime,
        "predecessor": lambda session: session._before(),
    }
    """Client → the function that returns it for a session."""

    PARTS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **dict.fromkeys(("model_directory", "stack", "platform", "features", "predictor"), ()),
        **dict.fromkeys(("serving", "runtime"), ("roles.runtime", "settings.serving")),
    }
    """Client or subject → the parts of the stack behind it."""

    def __init__(
        self,
        model: ModelDirectory,
        stack: Stack,
        directory: Path,
        processes: Processes,
        emit: Emit,
        *,
        network: bool,
        predecessor: Predecessor | None,
    ) -> None:
        self._model = model
        self._model_path = model.path.absolute()  # each process starts in a directory of its own
        self._predecessor = predecessor
        self._stack = stack
        self._directory = directory
        self._processes = processes
        self._unlocked_emit = emit
        self._emit_lock = threading.Lock()
        self._staged = stage(directory / "python")
        self._entrances = ExitStack()
        self._sockets = count(1)
        self._isolation = () if network else without_network()
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="trivet-model")
        submit = self._pool.submit
        self._own = Part(lambda: submit(self._own_environment))
        self._runtime_python = Part(lambda: submit(self._build_runtime))
        self._predictor = Part(lambda: submit(self._start_predictor))
        self._serving = Part(lambda: submit(self._serve))
        start(self._own, self._runtime_python, self._predictor, self._serving)
        self._runtime = WorkerRuntime(self._start_runtime_job)

    def client(self, name: str) -> Any:
        """The client called ``name``; waits until it is available. Raises CannotTell with the reason when its part failed."""
        if name not in self.CLIENTS:
            raise NotOffered(f"for one model there is no client {name!r}; there are: {', '.join(self.CLIENTS)}")
        with errors_as_cannot_tell():
            return self.CLIENTS[name](self)

    def subjects(self, kind: str) -> Sequence[ModelDirectory]:
        """The model's directory."""
        if kind != "model_directory":
            raise NotOffered(f"for one model there are no subjects of the kind {kind!r}, only its model_directory")
        return [self._model]

    def features(self) -> Mapping[str, str]:
        """None: there is no platform."""
        return {}

    def describe(self) -> Mapping[str, str]:
        """The model, the environment that it asks for, and whether it has a network."""
        found = {
            "model": str(self._model.path),
            "network of the model": "none" if self._isolation else "this machine's",
        }
        if own := result_or_none(self._own):
            role, _ = own
            found["environment of the model"] = f"Python {role.python}, {len(role.pins)} packages as of {role.cutoff}"
        return found

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        """MLmodel, and the lock of the model's environment."""
        found = {"model/MLmodel": self._model.path / "MLmodel", "model/model.lock": self._directory / "model.lock"}
        return {name: path for name, path in found.items() if path.is_file()}

    def close(self) -> None:
        """Wait for the session's threads; their processes have ended already."""
        self._entrances.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _own_environment(self) -> tuple[Role, Path]:
        with phase(self._emit, "environment of the model"):
            role = environment_of(self._model, self._directory)
            return role, build_environment(role, stop=self._processes.closed).python

    def _build_runtime(self) -> Path:
        with phase(self._emit, "runtime environment"):
            return build_environment(self._stack.roles["runtime"], stop=self._processes.closed).python

    def _start_predictor(self) -> WorkerPredictor:
        _, python = self._own.result()
        command: list[str | Path] = [*self._isolation, python, "-m", "trivet.fixtures.jobs.predictor"]
        worker = Worker(self._processes, "model", command, environment={"PYTHONPATH": str(self._staged)})
        return WorkerPredictor(worker, str(self._model_path))

    def _start_runtime_job(self) -> Worker:
        command: list[str | Path] = [
            *self._isolation,
            self._runtime_python.result(),
            "-m",
            "trivet.fixtures.jobs.runtime",
        ]
        environment = {**self._stack.roles["runtime"].environment, "PYTHONPATH": str(self._staged)}
        return Worker(self._processes, "runtime job", command, environment=environment)

    def _serve(self) -> HttpServing:
        python = self._runtime_python.result()

        def serve() -> tuple[Process, str]:
            return start_runtime(
                self._processes,
                python,
                self._stack,
                name=NAME,
                directory=self._model_path,
                environment={"PYTHONPATH": str(self._staged)} if self._isolation else None,
                isolated=partial(self._enterable, python) if self._isolation else None,
            )

        with phase(self._emit, "runtime") as failed:
            serving, _ = start_serving(NAME, serve, self._deploy)
            if not serving.ready:
                failed(serving.failure)
            return serving

    def _enterable(self, python: Path, command: Sequence[str | Path], port: int) -> Sequence[str | Path]:
        """The runtime's command, in a network of its own with an entrance on ``port``."""
        path = self._directory / f"{next(self._sockets)}.sock"
        if len(os.fsencode(path)) > LONGEST_SOCKET:
            raise PlatformError(
                f"the model's server cannot be reached without a network: the path {path} is too long for a socket",
                remedy="set TRIVET_CACHE to a directory with a short path, or pass --network",
            )
        self._entrances.enter_context(entrance(path, port))
        return enterable(command, python, path, port)

    def _deploy(self, storage_uri: str) -> AbstractContextManager[HttpServing]:
        raise NotOffered("for one model no further service is deployed")

    def _before(self) -> RegisteredVersion:
        if self._predecessor is None:
            raise NotOffered("the model is no registered version, so that none stands before it")
        return self._predecessor()

    def _emit(self, event: Event) -> None:
        with self._emit_lock:
            self._unlocked_emit(event)


class ModelTarget:
    """One model in the stack's runtime, beside its own environment, as processes on this machine.

    With ``network`` its processes have this machine's network. ``predecessor`` asks for the registered version before it; without it there
    is no client of that name.
    """

    name = ONE_MODEL

    def __init__(self, model: ModelDirectory, *, network: bool = False, predecessor: Predecessor | None = None) -> None:
        self.clients = frozenset(ModelSession.CLIENTS) - (frozenset() if predecessor else REGISTERED)
        self._model = model
        self._predecessor = predecessor
        self._network = network

    def result_inputs(self, stack: Stack) -> ResultInputs:
        """What results rest on: the model's files, the day as of which its requirements are resolved, whether it has a network, and the
        runtime's role behind what serves it. Results on a model whose files have no digest hold for the moment."""
        digest = files_digest(self._model)
        options = {
            "model": digest or "",
            "environment as of": cutoff_of(self._model),
            "network": "this machine's" if self._network else "none",
        }
        momentary = REGISTERED if digest else REGISTERED | frozenset(ModelSession.PARTS)
        return ResultInputs(parts=ModelSession.PARTS, options=options, code=CODE, momentary=momentary)

    def plan(self, stack: Stack) -> Sequence[str]:
        """The environments and processes."""
        return (
            "environment of the model: its Python and requirements.txt",
            f"runtime: MLServer {stack.components['runtime']} with the model",
            "requests drawn from the model's signature, answered by both",
        )

    @contextmanager
    @uninterruptible
    def start(self, stack: Stack, emit: Emit) -> Iterator[ModelSession]:
        """A session, after a clean-up of what killed runs left behind. Raises PlatformError when it cannot be started."""
        clean_leftovers()
        with Run() as run, closing(Processes(run, strangers=True)) as processes:
            try:
                session = ModelSession(
                    self._model,
                    stack,
                    run.directory,
                    processes,
                    emit,
                    network=self._network,
                    predecessor=self._predecessor,
                )
            except OSError as error:
                raise PlatformError(
                    f"cannot prepare the session in {run.directory}: {error}",
                    remedy="free some disk space, or set TRIVET_CACHE to another disk",
                ) from error
            try:
                yield session
            finally:
                processes.close()
                session.close()
