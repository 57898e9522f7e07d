"""Ctrl-C and a kill leave no process of lint behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("default_signals")]

INTERRUPTED = "trivet: interrupted"

SLOW = """\
import sys
import time
from trivet.authoring.contracts import MUST, contract
from trivet.model.finding import passed
from trivet.hookspecs import hookimpl

@contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do")
def is_slow(manifest):
    time.sleep(0.02)
    yield passed("at last")

@hookimpl
def trivet_contracts():
    return [sys.modules[__name__]]
"""


@pytest.fixture
def linting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """``trivet lint`` over 3,000 manifests at 20 ms each, as the leader of a process group, once it shares its work."""
    (tmp_path / "slow_contracts.py").write_text(SLOW)
    (tmp_path / "manifests").mkdir()
    for number in range(3000):
        text = f"apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: m{number}}}\n"
        (tmp_path / "manifests" / f"{number}.yaml").write_text(text)
    trivet = str(Path(sys.executable).with_name("trivet"))
    process = subprocess.Popen(
        [trivet, "lint", "--plugin", "slow_contracts", "--contract", "*.is_slow", "manifests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    shared = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1
    try:
        until(lambda: bool(psutil.Process(process.pid).children()) or not shared)
        time.sleep(0.3)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_terminals_signal_ends_every_process_without_a_traceback(
    linting: subprocess.Popen[str], number: signal.Signals
) -> None:
    os.killpg(linting.pid, number)
    _, complaint = linting.communicate(timeout=10)
    assert (linting.returncode, complaint.strip()) == (128 + number, INTERRUPTED)
    assert not group(linting.pid)


def test_sigterm_to_the_parent_alone_does_too(linting: subprocess.Popen[str]) -> None:
    linting.terminate()
    _, complaint = linting.communicate(timeout=10)
    assert (linting.returncode, complaint.strip()) == (128 + signal.SIGTERM, INTERRUPTED)
    assert not group(linting.pid)


def test_the_others_end_by_themselves_when_the_parent_is_killed(linting: subprocess.Popen[str]) -> None:
    linting.kill()
    _, complaint = linting.communicate(timeout=20)  # until the last process has closed it
    assert complaint == ""
    until(lambda: not group(linting.pid))


def group(leader: int) -> list[int]:
    """The processes of a group that are alive."""
    return [
        process.pid
        for process in psutil.process_iter(["status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE and _group(process.pid) == leader
    ]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for ``condition``, and fail when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)
