"""Starting, watching and stopping the processes of one run. Knows nothing about what they do."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from trivet.errors import PlatformError
from trivet.host import limits
from trivet.host.journal import MARK, Run, end, end_all
from trivet.host.signals import uninterruptible
from trivet.toolkit.waiting import eventually

_FOREIGN = ("PYTHON", "MLFLOW", "MLSERVER", "KFP", "_KFP", "GUNICORN", "UVICORN", "VIRTUAL_ENV", "CONDA", "PIP_", "UV_")
"""What the variables of the user's shell begin with that would change how the software under test behaves."""


class Process:
    """One started process: its own process group, its output in a log file."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.popen = popen
        self.log = log

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.popen.poll() is None

    def text(self) -> str:
        """Everything that it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log, for an error message."""
        return "\n".join(self.text().rstrip().splitlines()[-lines:]) or "(it wrote nothing)"

    def listens_on(self, port: int) -> bool:
        """Whether it, or a process that it started, is the one that listens on ``port``.

        An answer on a port proves nothing by itself: another run's server may have taken a port that was free a moment ago.
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
        """End it and every process that it started."""
        family = []
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.popen.pid)
            family = [*parent.children(recursive=True), parent]
        with contextlib.suppress(OSError):
            os.killpg(self.popen.pid, signal.SIGTERM)
        end(family)
        # What left the family in the meantime is still in the group.
        with contextlib.suppress(OSError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(limits.GRACE)


class ServerFailed(PlatformError):
    """A server that never answered as it must; ``process`` is what was started, its log included."""

    def __init__(self, message: str, process: Process) -> None:
        super().__init__(message)
        self.process = process


class Processes:
    """All processes of one run. After :meth:`close` none can be started any more.

    Of the user's environment they are not given what would change the software under test; ``foreign`` begins the names of further
    variables that they are not given.
    """

    def __init__(self, run: Run, *, foreign: Sequence[str] = ()) -> None:
        self._run = run
        self._foreign = (*_FOREIGN, *foreign)
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
        """Start ``command`` in a directory of its own, journalled before it runs; its output goes to a log file there.

        ``stdout`` keeps standard output out of the log; ``background`` gives way to other processes. Raises PlatformError when it
        does not start.
        """
        with self._lock:
            if self._closed.is_set():
                raise PlatformError(f"{name} was not started: the session is ending")
            # Numbered, because a process of the same name may be started again.
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
                    f"{name} does not start: {error}",
                    remedy="if a file is missing, the role's environment is half-made: remove it, and it is made again; "
                    "otherwise see to the disk space and the process limits of this machine",
                ) from error
            process = Process(name, popen, log)
            self._started.append(process)
            self._run.write(event="started", name=name, pid=popen.pid)
        if background:
            with contextlib.suppress(psutil.Error):
                psutil.Process(popen.pid).nice(10)
        return process

    def wait(self, process: Process, condition: Callable[[], bool], *, timeout: float, what: str) -> None:
        """Wait until ``condition()``; ``what`` completes "to be". Raises PlatformError with the log's tail when the process ends or
        after ``timeout`` seconds."""

        def look() -> bool:
            if condition():
                return True
            if not process.running:
                raise PlatformError(
                    f"{process.name} ended with status {process.popen.returncode} before it was {what}; log tail:\n{process.tail()}"
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
        """End everything that was started, and what those processes started, all at once."""
        with self._lock:
            self._closed.set()
        end_all(self._run.id)
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(limits.GRACE)

    def _inherited(self, program: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(self._foreign)}
        return {
            **kept,
            # `mlflow server` and MLServer look for their helpers on the path.
            "PATH": f"{program.parent}{os.pathsep}{kept.get('PATH', '')}",
            "PYTHONUNBUFFERED": "1",
            # KFP's steps leave a temporary directory each; here it goes with the run.
            "TMPDIR": str(self._scratch),
            # MLflow 3 reports its use over the network otherwise.
            "DO_NOT_TRACK": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }


def free_ports(count: int) -> list[int]:
    """``count`` different TCP ports that nobody listens on at this moment; somebody may a moment later."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
        return ports


def port_was_taken(process: Process) -> bool:
    """Whether its log says that somebody else has the port."""
    return bool(re.search(r"(?i)address already in use|connection in use|errno 98|errno 48", process.text()))
