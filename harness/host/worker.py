"""Calls a job in a role's environment. The other side of the protocol is ``trivet.fixtures.jobs.wire``."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from trivet.errors import PlatformError
from trivet.host import limits
from trivet.host.processes import Process, Processes


class OperationFailed(PlatformError):
    """An operation of a job raised an exception: its ``type``, message (``text``) and ``traceback``."""

    transient = False

    def __init__(self, worker: str, operation: str, error: Mapping[str, str]) -> None:
        super().__init__(f"{worker}: {operation}: {error['type']}: {error['message']}")
        self.type = error["type"]
        self.text = error["message"]
        self.traceback = error["traceback"]


class Worker:
    """A long-running job: ``command`` is started once, and handles one request at a time, so that its imports are done once."""

    def __init__(
        self,
        processes: Processes,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        background: bool = False,
    ) -> None:
        self.process: Process = processes.start(
            name,
            command,
            environment=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            background=background,
        )
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._requests: SimpleQueue[bytes] = SimpleQueue()
        self._responses: SimpleQueue[bytes] = SimpleQueue()
        self._ended = False
        for work in (self._write_requests, self._read_responses):
            threading.Thread(target=work, name=f"trivet-{name}", daemon=True).start()

    def call(self, operation: str, *, seconds: float = limits.WORKER_CALL, **arguments: Any) -> Any:
        """The result of ``operation``. Raises OperationFailed when the operation raises, PlatformError when the job dies or times out."""
        with self._lock:
            if not self.process.running:
                raise self._worker_error(operation, f"has exited with status {self.process.popen.returncode}")
            number = next(self._numbers)
            try:
                request = {"number": number, "operation": operation, "arguments": arguments}
                self._requests.put((json.dumps(request) + "\n").encode())
                response = self._receive(number, seconds)
            except Empty:
                # Its late response must not be read as the response to the next request.
                self.process.stop()
                raise PlatformError(
                    f"timed out after {seconds:g} s waiting for {self.process.name} to respond to {operation}; it was stopped; "
                    f"log tail:\n{self.process.tail()}"
                ) from None
            if response is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.popen.wait(limits.GRACE)
                if self.process.running:
                    # It could answer no later call either.
                    self.process.stop()
                    raise self._worker_error(operation, "closed its standard input or output, and was stopped")
                raise self._worker_error(operation, f"died with status {self.process.popen.returncode}")
        if "error" in response:
            raise OperationFailed(self.process.name, operation, response["error"])
        return response["result"]

    def _receive(self, number: int, seconds: float) -> dict[str, Any] | None:
        """The response to the request ``number``; None when the job can read or respond no more. Raises Empty after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not (self._ended and self._responses.empty()):
            if line := self._responses.get(timeout=max(0.0, deadline - time.monotonic())):
                response: dict[str, Any] = json.loads(line)
                # A response to an earlier request belongs to a call that was interrupted.
                if response["number"] == number:
                    return response
        return None

    def _write_requests(self) -> None:
        # In a thread: a job that does not read must not block its caller, and an interrupted call must not leave half a line.
        stdin = self.process.popen.stdin
        assert stdin is not None
        while line := self._requests.get():
            try:
                stdin.write(line)
                stdin.flush()
            except OSError:
                self._end()
                return

    def _read_responses(self) -> None:
        stdout = self.process.popen.stdout
        assert stdout is not None
        for line in stdout:
            self._responses.put(line)
        self._end()
        self._requests.put(b"")

    def _end(self) -> None:
        self._ended = True
        self._responses.put(b"")  # wakes the call that waits

    def _worker_error(self, operation: str, how: str) -> PlatformError:
        return PlatformError(f"{self.process.name} {how} (operation: {operation}); log tail:\n{self.process.tail()}")
