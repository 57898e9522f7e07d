"""Talking to a job that runs inside a role's environment (see ``trivet.fixtures.jobs.wire`` for the other side)."""

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
from trivet.host.signals import uninterruptible


class OperationFailed(PlatformError):
    """The job answered with an error: the operation's own exception, by ``type`` and ``text``, with its ``traceback``."""

    def __init__(self, worker: str, operation: str, error: Mapping[str, str]) -> None:
        super().__init__(f"{worker}: {operation}: {error['type']}: {error['message']}")
        self.type = error["type"]
        self.text = error["message"]
        self.traceback = error["traceback"]


class Worker:
    """A job that keeps its imports: ``command`` started once, then asked as often as needed, one question at a time."""

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
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        threading.Thread(target=self._listen, name=f"trivet-{name}", daemon=True).start()

    def call(self, operation: str, *, seconds: float = limits.WORKER_CALL, **arguments: Any) -> Any:
        """What ``operation`` returns. Raises OperationFailed when it raises, PlatformError when the job dies or is stuck."""
        with self._lock:
            if not self.process.running:
                raise self._lost(operation, f"has ended with status {self.process.popen.returncode}")
            number = next(self._numbers)
            try:
                self._ask({"number": number, "operation": operation, "arguments": arguments})
                answer = self._answer(number, seconds)
            except OSError:
                answer = None
            except Empty:
                # The answer may still come; it must not be taken for the next question's.
                self.process.stop()
                raise self._lost(operation, f"gave no answer within {seconds:g} s and was stopped") from None
            if answer is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.popen.wait(limits.GRACE)
                raise self._lost(operation, f"died with status {self.process.popen.returncode}")
        if "error" in answer:
            raise OperationFailed(self.process.name, operation, answer["error"])
        return answer["result"]

    @uninterruptible
    def _ask(self, question: Mapping[str, Any]) -> None:
        # Whole, whatever comes meanwhile: half a line would spoil the next one.
        stdin = self.process.popen.stdin
        assert stdin is not None
        stdin.write((json.dumps(question) + "\n").encode())
        stdin.flush()

    def _answer(self, number: int, seconds: float) -> dict[str, Any] | None:
        """The answer to the question ``number``, None when the job has ended. Raises Empty after ``seconds``."""
        deadline = time.monotonic() + seconds
        while line := self._answers.get(timeout=max(0.0, deadline - time.monotonic())):
            answer: dict[str, Any] = json.loads(line)
            # An answer to an earlier question is of one whose asker was interrupted.
            if answer["number"] == number:
                return answer
        return None

    def _listen(self) -> None:
        stdout = self.process.popen.stdout
        assert stdout is not None
        for line in stdout:
            self._answers.put(line)
        self._answers.put(b"")

    def _lost(self, operation: str, how: str) -> PlatformError:
        return PlatformError(f"{self.process.name} {how} (asked: {operation}); its last words:\n{self.process.tail()}")
