"""One stack running as processes of this machine: what is started in which order is in ``targets.session``, what it consists of is here."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from trivet.stacks.realise import realise
from trivet.targets.local.clients import HttpServing, LocalRuntime, LocalStore, serve, stopped_afterwards
from trivet.targets.local.processes import Process
from trivet.targets.local.servers import start_runtime, start_tracking
from trivet.targets.local.worker import Worker
from trivet.targets.session import HandoverSession, Tracking, came_to_be


class LocalSession(HandoverSession):
    """A stack as processes of this machine. Made by LocalTarget, which also ends it."""

    target = "local"

    def _prepare(self) -> None:
        self._artifacts = self.directory / "artifacts"
        self._artifacts.mkdir()
        self.artifact_root = f"file://{self._artifacts}"
        begin = self._pool.submit
        self._python: dict[str, Future[Path]] = {
            name: begin(self._realise, name) for name in ("tracking", "trainer", "initializer", "runtime")
        }
        self._runtime_python = begin(self._ask_runtime_python)
        self._initializer = begin(self._start_initializer)

    def describe(self) -> Mapping[str, str]:
        """The hand-off in words, and the Python that really serves; what did not come to be is left out."""
        found = dict(super().describe())
        if version := came_to_be(self._runtime_python):
            role = self._stack.roles["runtime"]
            image = f"; the image {role.image} has {role.image_python}" if role.image and role.image_python else ""
            found["runtime Python"] = f"{version}{image}"
        return found

    # -- environments and workers

    def _realise(self, role: str) -> Path:
        with self._phase(f"{role} environment"):
            return Path(realise(self._stack.roles[role], stop=self._processes.closed).python)

    def _ask_runtime_python(self) -> str:
        python = self._python["runtime"].result()
        program = "import platform; print(platform.python_version())"
        asked = subprocess.run([python, "-I", "-c", program], capture_output=True, check=True, text=True, timeout=60)
        return asked.stdout.strip()

    def _worker(self, role: str, name: str, job: str, *, background: bool = False) -> Worker:
        return Worker(
            self._processes,
            name,
            [self._python[role].result(), "-m", f"trivet.fixtures.jobs.{job}"],
            environment={**self._stack.roles[role].environment, "PYTHONPATH": str(self._staged)},
            background=background,
        )

    def _start_initializer(self) -> Worker:
        return self._worker("initializer", "storage initializer", "initializer", background=True)

    def _runtime_client(self) -> LocalRuntime:
        self._python["runtime"].result()
        return self._runtime

    def _given(self, role: str, path: Path) -> str:
        return str(path)

    def _outputs(self, driver: Worker) -> str:
        return str(driver.process.log.parent / "outputs")

    # -- the servers and the store

    def _start_tracking(self) -> Tracking:
        python = self._python["tracking"].result()
        with self._phase("tracking server"):
            _, uri = start_tracking(
                self._processes,
                python,
                environment=self._stack.roles["tracking"].environment,
                database=self.directory / "mlflow.db",
                root=self.artifact_root,
            )
            return Tracking(uri=uri, url=uri)

    def _make_store(self) -> LocalStore:
        return LocalStore(self._artifacts, self.directory / "downloads", self._initializer.result())

    def _serve(self) -> HttpServing:
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

        return serve(self.service, start, self._deploy)

    def _deploy(self, storage_uri: str) -> contextlib.AbstractContextManager[HttpServing]:
        directory = self._store.result().download(storage_uri).directory
        return stopped_afterwards(*self._start_serving(f"runtime {next(self._numbers)}", directory))
