"""Processes of a run, without starting one: whom a stop signals, and workers that do not read or respond."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from trivet.errors import PlatformError
from trivet.host.processes import Process
from trivet.host.worker import Worker
from trivet.provision.images import layer_tools


def ended(pid: int) -> Any:
    """What is left of a child with that pid, which has been waited for."""
    return SimpleNamespace(pid=pid, returncode=0, poll=lambda: 0, wait=lambda timeout=None: 0)


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pids of processes and groups to which a signal is sent; none has an effect."""
    sent: list[int] = []
    for name in ("kill", "killpg"):
        monkeypatch.setattr(os, name, lambda pid, number: sent.append(pid) if number else None)
    monkeypatch.setattr("trivet.host.limits.GRACE", 0.0)
    return sent


def test_a_stop_signals_nobody_who_got_the_pid_of_a_process_that_has_exited(
    tmp_path: Path, signalled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The pid and the process group of this process stand for those of another one.
    pid = os.getpid()
    process = Process("job", ended(pid), tmp_path / "log.txt", "a-run")
    assert process._leader is not None
    monkeypatch.setattr(process._leader, "_ident", (pid, 1.0))
    monkeypatch.setattr(os, "getpgid", lambda asked: pid)
    process.stop()
    assert signalled == []


def test_a_stop_signals_the_marked_processes_of_its_group_whose_parent_has_exited(
    tmp_path: Path, signalled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process("job", ended(2**22 + 1), tmp_path / "log.txt", "a-run")
    monkeypatch.setattr(psutil, "pids", lambda: [os.getpid()])
    monkeypatch.setattr(os, "getpgid", lambda asked: 2**22 + 1)
    monkeypatch.setattr(psutil.Process, "environ", lambda self: {"TRIVET_RUN": "a-run"})
    process.stop()
    assert os.getpid() in signalled


def test_a_tool_that_has_been_waited_for_is_not_signalled(signalled: list[int]) -> None:
    layer_tools._end_group(ended(os.getpid()))
    assert signalled == []


class FakeProcesses:
    """Starts a job that is two pipes: it reads nothing and responds nothing until it is stopped."""

    def __init__(self) -> None:
        self.read_end, write_end = os.pipe()
        response_end, self.respond_end = os.pipe()
        self.running = True
        self.name = "job"
        self.popen = SimpleNamespace(
            stdin=os.fdopen(write_end, "wb"),
            stdout=os.fdopen(response_end, "rb"),
            returncode=-15,
            wait=lambda seconds: 0,
        )

    def start(self, name: str, command: object, **_: object) -> FakeProcesses:
        return self

    def tail(self) -> str:
        return "(empty)"

    def stop(self) -> None:
        self.running = False
        os.close(self.read_end)
        os.close(self.respond_end)


def no_exit(seconds: float) -> int:
    raise subprocess.TimeoutExpired("job", seconds)


@pytest.fixture
def job() -> Iterator[FakeProcesses]:
    made = FakeProcesses()
    yield made
    if made.running:
        made.stop()


def test_a_call_of_a_job_that_does_not_read_its_request_times_out(job: FakeProcesses) -> None:
    worker = Worker(job, "job", ["job"], environment={})  # type: ignore[arg-type]
    with pytest.raises(
        PlatformError, match=r"timed out after 0\.1 s waiting for job to respond to write; it was stopped"
    ):
        worker.call("write", seconds=0.1, files="x" * 2**20)


def test_a_call_of_a_job_that_exits_while_it_reads_its_request_is_an_error(job: FakeProcesses) -> None:
    worker = Worker(job, "job", ["job"], environment={})  # type: ignore[arg-type]
    threading.Timer(0.05, job.stop).start()
    with pytest.raises(PlatformError, match="job died with status -15"):
        worker.call("write", seconds=5, files="x" * 2**20)


def test_a_job_that_has_closed_its_input_is_stopped_and_no_call_waits_for_its_response(job: FakeProcesses) -> None:
    job.popen.wait = no_exit
    worker = Worker(job, "job", ["job"], environment={})  # type: ignore[arg-type]
    os.close(job.read_end)
    job.read_end = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(PlatformError, match="job closed its standard input or output, and was stopped"):
        worker.call("write", seconds=60)
    with pytest.raises(PlatformError, match="job has exited with status -15"):
        worker.call("write", seconds=60)


def test_no_call_waits_for_a_job_whose_end_an_interrupted_call_has_seen(job: FakeProcesses) -> None:
    job.popen.wait = no_exit
    worker = Worker(job, "job", ["job"], environment={})  # type: ignore[arg-type]
    os.close(job.respond_end)
    job.respond_end = os.open(os.devnull, os.O_WRONLY)
    assert worker._responses.get(timeout=5) == b"", "as a call that is interrupted before it returns"
    with pytest.raises(PlatformError, match="job closed its standard input or output, and was stopped"):
        worker.call("write", seconds=60)


def test_the_threads_of_a_worker_end_with_its_job(job: FakeProcesses) -> None:
    before = set(threading.enumerate())
    Worker(job, "job", ["job"], environment={})  # type: ignore[arg-type]
    mine = set(threading.enumerate()) - before
    job.stop()
    deadline = time.monotonic() + 5
    while any(thread.is_alive() for thread in mine) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [thread for thread in mine if thread.is_alive()]
