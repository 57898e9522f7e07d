"""The session of a stack as processes on this machine. Order and dependencies of the parts are in ``targets.common.session``."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from trivet.host.journal import Run
from trivet.host.processes import Process, Processes
from trivet.host.worker import Worker
from trivet.model.clients import StoreClient
from trivet.model.events import Emit
from trivet.model.platform_config import PlatformConfig
from trivet.model.stack import Stack
from trivet.stacks.environments import build_environment
from trivet.targets.common.clients import Downloads, HttpServing, WorkerRuntime, start_serving, stopping
from trivet.targets.common.parts import Part, result_or_none, start
from trivet.targets.common.session import HandoverSession, Tracking
from trivet.targets.local.backing import Artifacts, Database
from trivet.targets.local.servers import start_runtime, start_tracking


class LocalSession(HandoverSession):
    """A session with processes on this machine. LocalTarget creates and ends it."""

    target = "local"
    eager = False

    def __init__(
        self, stack: Stack, run: Run, processes: Processes, emit: Emit, *, database: Database, artifacts: Artifacts
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self.artifact_root = artifacts.root
        super().__init__(stack, run, processes, emit)

    def _prepare(self) -> None:
        part = self._part
        self._database_url = part(self._start_database)
        self._store_environment = part(self._start_artifacts)
        self._python: dict[str, Part[Path]] = {
            name: part(self._build_environment, name) for name in ("tracking", "trainer", "initializer", "runtime")
        }
        self._runtime_python = part(self._runtime_python_version)
        self._initializer = part(self._start_initializer)

    def observed_platform(self, described: PlatformConfig) -> PlatformConfig:
        """The storage initializer is a process on this machine."""
        return replace(described, fetches_local_files=True)

    def describe(self) -> Mapping[str, str]:
        """A description of the handover and of the runtime's Python, for the report; parts that failed are omitted."""
        description = dict(super().describe())
        if version := result_or_none(self._runtime_python):
            role = self._stack.roles["runtime"]
            image = f"; the image {role.image} has {role.image_python}" if role.image and role.image_python else ""
            description["runtime Python"] = f"{version}{image}"
        return description

    # -- environments and workers

    def _build_environment(self, role: str) -> Path:
        with self._phase(f"{role} environment"):
            return Path(build_environment(self._stack.roles[role], stop=self._processes.closed).python)

    def _runtime_python_version(self) -> str:
        python = self._python["runtime"].result()
        program = "import platform; print(platform.python_version())"
        done = subprocess.run([python, "-I", "-c", program], capture_output=True, check=True, text=True, timeout=60)
        return done.stdout.strip()

    def _worker(self, role: str, name: str, job: str, *, background: bool = False) -> Worker:
        # As on a cluster, the runtime has no access to the store.
        self._python[role].start()
        store = {} if role == "runtime" else self._store_environment.result()
        return Worker(
            self._processes,
            name,
            [self._python[role].result(), "-m", f"trivet.fixtures.jobs.{job}"],
            environment={**self._stack.roles[role].environment, **store, "PYTHONPATH": str(self._staged)},
            background=background,
        )

    def _start_initializer(self) -> Worker:
        return self._worker("initializer", "storage initializer", "initializer", background=True)

    def _runtime_client(self) -> WorkerRuntime:
        self._runtime_python.start()
        self._python["runtime"].result()
        return self._runtime

    def _job_path(self, role: str, path: Path) -> str:
        return str(path)

    def _outputs(self, driver: Worker) -> str:
        return str(driver.process.log.parent / "outputs")

    # -- the servers and the store

    def _start_database(self) -> str:
        with self._container_phase("database", self._database):
            return self._database.start()

    def _start_artifacts(self) -> Mapping[str, str]:
        with self._container_phase("artifact store", self._artifacts):
            return self._artifacts.start()

    def _container_phase(self, name: str, part: Database | Artifacts) -> contextlib.AbstractContextManager[object]:
        """A phase for a container; files need no time."""
        return self._phase(f"{name}: {part.title}") if part.image else contextlib.nullcontext()

    def _start_tracking(self) -> Tracking:
        start(self._python["tracking"], self._database_url, self._store_environment)
        python, database = self._python["tracking"].result(), self._database_url.result()
        environment = {**self._stack.roles["tracking"].environment, **self._store_environment.result()}
        with self._phase("tracking server"):
            _, uri = start_tracking(
                self._processes,
                python,
                environment=environment,
                database=database,
                root=self.artifact_root,
            )
            return Tracking(uri=uri, url=uri)

    def _make_store(self) -> StoreClient:
        downloads = Downloads(self.directory / "downloads", self._initializer.result())
        return self._artifacts.client(self._start_store_job, downloads.fetch)

    def _start_store_job(self) -> Worker:
        return self._worker("initializer", "store job", "store", background=True)

    def _serve(self) -> HttpServing:
        start(self._python["runtime"], self._runtime_python)
        directory = self._download.result().directory
        with self._phase("runtime") as failed:
            serving, _ = self._start_serving("runtime", directory)
            if not serving.ready:
                failed(serving.failure)
            return serving

    def _start_serving(self, label: str, directory: Path) -> tuple[HttpServing, Process]:
        def start() -> tuple[Process, str]:
            return start_runtime(
                self._processes,
                self._python["runtime"].result(),
                self._stack,
                name=self.service,
                directory=directory,
                label=label,
            )

        return start_serving(self.service, start, self._deploy)

    def _deploy(self, storage_uri: str) -> contextlib.AbstractContextManager[HttpServing]:
        directory = self._store.result().download(storage_uri).directory
        return stopping(*self._start_serving(f"runtime {next(self._numbers)}", directory))
