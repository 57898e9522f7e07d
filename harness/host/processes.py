"""Starts, watches and stops the processes of one run."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from trivet.errors import PlatformError
from trivet.host import limits
from trivet.host.journal import MARK, Run, end_marked_processes, end_processes
from trivet.host.signals import uninterruptible
from trivet.toolkit.waiting import eventually

_FOREIGN = ("PYTHON", "MLFLOW", "MLSERVER", "KFP", "_KFP", "GUNICORN", "UVICORN", "VIRTUAL_ENV", "CONDA", "PIP_", "UV_")
"""Prefixes of the user's environment variables that would change how the software under test behaves."""


HARMLESS = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""The user's variables that hold no credentials and that programs need."""


class Process:
    """A started process of the run ``run``, in its own process group, with its output in a log file."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path, run: str) -> None:
        self.name = name
        self.popen = popen
        self.log = log
        self._run = run
        self._leader: psutil.Process | None = None
        # While it is not waited for, the pid is its own. psutil compares start times, and signals no other process that gets the pid later.
        with contextlib.suppress(psutil.Error):
            self._leader = psutil.Process(popen.pid)

    @property
    def running(self) -> bool:
        """Whether it has not exited yet."""
        return self.popen.poll() is None

    def text(self) -> str:
        """Its log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log, for error messages."""
        return "\n".join(self.text().rstrip().splitlines()[-lines:]) or "(empty)"

    def listens_on(self, port: int) -> bool:
        """Whether it, or one of its child processes, listens on ``port``.

        A response on the port is not enough: another run's server may have taken the port after it was free.
        """
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.popen.pid)
            for process in (parent, *parent.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    if any(
                        c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp")
                    ):
                        return True
        return False

    @uninterruptible
    def stop(self) -> None:
        """End it and all of its child processes."""
        end_processes([*self._family(), *self._group()])
        # Processes that were started in the meantime.
        for process in self._group():
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(limits.GRACE)

    def _family(self) -> list[psutil.Process]:
        """The process and its descendants, while it runs."""
        with contextlib.suppress(psutil.Error):
            if self._leader:
                return [*self._leader.children(recursive=True), self._leader]
        return []

    def _group(self) -> list[psutil.Process]:
        """The processes of its process group, such as descendants whose parent has exited.

        Only those with the mark of the run: when the group is empty, its number can become that of another one.
        """
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getpgid(pid) == self.popen.pid and (one := psutil.Process(pid)).environ().get(MARK) == self._run:
                    found.append(one)
        return found


class ServerFailed(PlatformError):
    """A server did not become ready; ``process`` is the started process, with its log."""

    def __init__(self, message: str, process: Process) -> None:
        super().__init__(message)
        self.process = process


class Processes:
    """All processes of one run. After :meth:`close`, none can be started.

    They inherit the user's environment without the variables that would change the software under test; ``foreign`` has prefixes of further
    variables to exclude. ``strangers`` are code that nobody here wrote: they inherit what :data:`HARMLESS` names, and have an empty home.
    """

    def __init__(self, run: Run, *, foreign: Sequence[str] = (), strangers: bool = False) -> None:
        self._run = run
        self._foreign = (*_FOREIGN, *foreign)
        self._strangers = strangers
        self._lock = threading.Lock()
        self._started: list[Process] = []
        self._scratch = run.directory / "tmp"
        self._closed = threading.Event()

    @property
    def closed(self) -> threading.Event:
        """Set once the session is ending."""
        return self._closed

    @uninterruptible
    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        background: bool = False,
    ) -> Process:
        """Start ``command`` in a new directory with its output in a log file there. The journal is written before the start.

        With ``stdout``, standard output does not go to the log. ``background`` lowers its priority. Raises PlatformError when the start
        fails.
        """
        with self._lock:
            if self._closed.is_set():
                raise PlatformError(f"cannot start {name}: the session is ending")
            # Numbered, because several processes may have the same name.
            folder = self._run.directory / f"{len(self._started):02d}-{name.replace(' ', '-')}"
            try:
                self._scratch.mkdir(exist_ok=True)
                folder.mkdir()
                self._run.write(event="start", name=name, command=[str(part) for part in command])
                log = folder / "log.txt"
                with log.open("wb") as output:
                    popen = subprocess.Popen(
                        [str(part) for part in command],
                        cwd=folder,
                        env={**self._inherited(Path(command[0])), **(environment or {}), MARK: self._run.id},
                        stdin=stdin,
                        stdout=output if stdout is None else stdout,
                        stderr=output,
                        start_new_session=True,
                    )
            except OSError as error:
                raise PlatformError(
                    f"cannot start {name}: {error}",
                    remedy="if a file is missing, delete the role's incomplete environment, and it is built again; "
                    "otherwise check disk space and process limits (ulimit) of this machine",
                ) from error
            process = Process(name, popen, log, self._run.id)
            self._started.append(process)
            self._run.write(event="started", name=name, pid=popen.pid)
        if background:
            with contextlib.suppress(psutil.Error):
                psutil.Process(popen.pid).nice(10)
        return process

    def wait(self, process: Process, condition: Callable[[], bool], *, timeout: float, what: str) -> None:
        """Wait until ``condition()`` is true; ``what`` completes "to be …". Raises PlatformError with the tail of the log when the process
        exits, and after ``timeout`` seconds."""

        def look() -> bool:
            if condition():
                return True
            if not process.running:
                raise PlatformError(
                    f"{process.name} exited with status {process.popen.returncode} before it was {what}; log tail:\n{process.tail()}"
                )
            return False

        eventually(
            f"{process.name} to be {what}",
            look,
            timeout=timeout,
            describe=lambda _: f"log tail:\n{process.tail()}",
            raises=PlatformError,
            poll=limits.POLL,
            stop=self._closed,
        )

    @uninterruptible
    def close(self) -> None:
        """End all processes of the run, including child processes, at the same time."""
        with self._lock:
            self._closed.set()
        end_marked_processes(self._run.id)
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(limits.GRACE)

    def _inherited(self, program: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(self._foreign)}
        if self._strangers:
            kept = {name: kept[name] for name in HARMLESS if name in kept} | {"HOME": str(self._scratch)}
        return {
            **kept,
            # `mlflow server` and MLServer start further programs from the PATH.
            "PATH": f"{program.parent}{os.pathsep}{kept.get('PATH', '')}",
            "PYTHONUNBUFFERED": "1",
            # Every KFP step leaves a temporary directory; here it is deleted with the run.
            "TMPDIR": str(self._scratch),
            # Disables MLflow 3's telemetry.
            "DO_NOT_TRACK": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }


def free_ports(count: int) -> list[int]:
    """``count`` different TCP ports that are free now; another process may take one before it is used."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
        return ports


def port_was_taken(process: Process) -> bool:
    """Whether its log says that its port is already in use."""
    return bool(re.search(r"(?i)address already in use|connection in use|errno 98|errno 48", process.text()))
