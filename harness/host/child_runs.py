"""Runs of trivet in processes of their own, beside each other: started, waited for, and ended with this process.

They are in the journal of one run: the next call of trivet ends those of a killed one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from trivet.errors import PlatformError
from trivet.host import limits
from trivet.host.journal import MARK, Run, clean_leftovers
from trivet.host.signals import uninterruptible
from trivet.model.redaction import redact

TAIL = 6
"""Lines of a child's output that an error shows."""


class ChildRuns:
    """Calls of trivet's command line in the ``with`` block, after a clean-up of what killed runs left behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._children: list[subprocess.Popen[bytes]] = []
        self._blocks = ExitStack()
        self._run: Run

    def __enter__(self) -> ChildRuns:
        clean_leftovers()
        self._run = self._blocks.enter_context(Run())
        return self

    @uninterruptible
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._blocks.close()

    def folder(self, name: str) -> Path:
        """A new folder for one child; it is deleted with the block."""
        folder = self._run.directory / name
        folder.mkdir()
        return folder

    def call(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Call trivet in the working directory; returns its exit code and the last lines of its output.

        Arguments are seen by every user of this machine, and kept in the journal: what may hold a credential goes into ``environment``,
        which is added to that of this process.

        Raises PlatformError when it cannot be started, and when it was ended by :meth:`close`.
        """
        log = folder / "log.txt"
        code = self._start(arguments, log, environment or {}).wait()
        if self._closed:
            raise PlatformError("this run of trivet was interrupted")
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return code, "\n".join(lines[-TAIL:])

    @uninterruptible
    def _start(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise PlatformError("no further run of trivet is started after an interrupt")
            command = [sys.executable, "-m", "trivet", *arguments]
            try:
                self._run.write(event="start", name="run of trivet", command=[redact(one) for one in command])
                with log.open("wb") as output:
                    child = subprocess.Popen(
                        command,
                        env={**os.environ, **environment, MARK: self._run.id},
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
            except OSError as error:
                raise PlatformError(
                    f"cannot start a run of trivet: {error}",
                    remedy="check this machine's memory and its limits of processes and open files (ulimit -u, ulimit -n)",
                ) from error
            self._children.append(child)
            return child

    @uninterruptible
    def close(self) -> None:
        """End all children, which clean up after themselves; one that takes more than a minute is killed, and cleaned by the next run."""
        with self._lock:
            self._closed = True
        running = [child for child in self._children if child.poll() is None]
        for child in running:
            child.terminate()
        for child in running:
            try:
                child.wait(limits.CLEANUP)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
