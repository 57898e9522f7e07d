"""However ``trivet run`` ends, nothing that it started stays: at once, or after ``doctor --clean``, or after the next run."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from commandline import PROGRAM, environment, run

from trivet.host.journal import MARK

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("default_signals")]

MOMENTS = {"early": "judging the stack", "in the pipeline": " pipeline …", "while serving": " runtime …"}
"""What a run says shortly after each moment."""


@contextmanager
def running_until(moment: str, cache: str) -> Iterator[subprocess.Popen[str]]:
    """A run that has come to ``moment``."""
    with subprocess.Popen(
        [PROGRAM, "run", "--stack", "2024.11-fixed"],
        env=environment(TRIVET_CACHE=cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as trivet:
        try:
            assert trivet.stdout is not None
            assert any(MOMENTS[moment] in line for line in trivet.stdout), "it never came to that"
            # Past the moment itself: processes are on their way.
            time.sleep(0.5)
            yield trivet
        finally:
            trivet.kill()


def runs(cache: str) -> list[str]:
    return [path.name for path in (Path(cache) / "runs").glob("*/")]


def living(names: list[str]) -> list[str]:
    """The command lines of the processes that carry the mark of one of the runs."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) in names and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("moment", MOMENTS)
def test_doctor_finds_and_cleans_what_kill_9_left(cache: str, moment: str) -> None:
    with running_until(moment, cache) as trivet:
        trivet.send_signal(signal.SIGKILL)
        trivet.wait()
    names = runs(cache)
    assert living(names) != []
    seen = run("doctor", TRIVET_CACHE=cache)
    assert seen.code == 2
    (line,) = [line for line in seen.out.splitlines() if line.startswith("BAD")]
    assert "which was killed" in line
    assert names[0] in line
    assert run("doctor", "--clean", TRIVET_CACHE=cache).code == 0
    assert (living(names), runs(cache)) == ([], [])
    assert run("doctor", TRIVET_CACHE=cache).code == 0


def test_the_next_run_cleans_what_kill_9_left(cache: str) -> None:
    with running_until("early", cache) as trivet:
        trivet.send_signal(signal.SIGKILL)
        trivet.wait()
    names = runs(cache)
    assert living(names) != []
    with running_until("early", cache) as following:
        assert living(names) == []
        following.send_signal(signal.SIGINT)
        following.wait(20)
    assert runs(cache) == []


@pytest.mark.parametrize(
    ("number", "moment", "code"),
    [
        (signal.SIGINT, "early", 130),
        (signal.SIGINT, "while serving", 130),
        (signal.SIGTERM, "in the pipeline", 143),
        (signal.SIGHUP, "in the pipeline", 129),
    ],
)
def test_a_signal_ends_it_within_seconds_and_leaves_nothing(
    cache: str, number: signal.Signals, moment: str, code: int
) -> None:
    with running_until(moment, cache) as trivet:
        names = runs(cache)
        assert len(names) == 1
        trivet.send_signal(number)
        began = time.monotonic()
        # The impatient ask twice.
        time.sleep(0.1)
        trivet.send_signal(number)
        out, err = trivet.communicate(timeout=30)
        assert time.monotonic() - began < 20
    assert trivet.returncode == code
    assert err.strip() == "trivet: interrupted"
    assert "Traceback" not in out
    assert (living(names), runs(cache)) == ([], [])


def test_two_runs_side_by_side_are_both_conformant(cache: str) -> None:
    both = [
        subprocess.Popen(
            [PROGRAM, "run", "--stack", "2024.11-fixed"],
            env=environment(TRIVET_CACHE=cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    result = [trivet.communicate(timeout=240)[0] for trivet in both]
    assert [trivet.returncode for trivet in both] == [0, 0], result
    assert runs(cache) == []
