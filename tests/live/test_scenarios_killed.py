"""A run that is killed or interrupted at any moment of any fault: after the next run's cleaning the cluster holds what it held before.

kubectl is one of a fake, so that hundreds of moments cost little; ``test_scenarios_killed_cluster.py`` kills on a real cluster.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.disturbed import DisturbedCluster
from interrupts import interrupted

from trivet.host.journal import clean, leftovers
from trivet.host.signals import unwinding_on_signals

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("default_signals")]

TIMES = 60
SEED = 20241125
POINTS = 60
"""Points of the code at which it is interrupted, of some 1,800."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DisturbedCluster:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_CLUSTER", "")
    monkeypatch.setenv("FAKE_SECONDS", "0.01")
    return DisturbedCluster(tmp_path)


def forked(cluster: DisturbedCluster) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        with unwinding_on_signals():
            os._exit(cluster.play() != "VULNERABLE")
    except BaseException:
        os._exit(1)


def length(cluster: DisturbedCluster) -> float:
    """Seconds that an undisturbed run takes."""
    began = time.monotonic()
    assert os.waitpid(forked(cluster), 0)[1] == 0
    return time.monotonic() - began


def test_killed_at_any_moment_the_next_run_finishes_it(cluster: DisturbedCluster) -> None:
    whole = length(cluster)
    assert not cluster.changed()
    moments = random.Random(SEED)
    disturbed = 0
    for number in range(TIMES):
        pid = forked(cluster)
        time.sleep(whole * moments.random())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        disturbed += bool(cluster.changed())
        for leftover in leftovers():
            assert clean(leftover) == "", f"kill {number}"
        assert not cluster.changed(), f"kill {number}"
        assert not leftovers()
    assert disturbed > TIMES // 4, "most kills must hit a run whose faults are in force"


@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.kill), (signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg), (signal.SIGHUP, os.killpg)],
    ids=["SIGINT", "SIGTERM", "SIGINT as of a terminal", "SIGHUP as of a terminal"],
)
def test_interrupted_at_any_moment_it_takes_everything_back_itself(
    number: signal.Signals, send: Callable[[int, int], None], cluster: DisturbedCluster
) -> None:
    whole = length(cluster)
    moments = random.Random(SEED)
    for _ in range(TIMES // 6):
        pid = forked(cluster)
        # Not before the handlers are set, when nothing is changed yet and the signal's own effect is right.
        time.sleep(0.15 * whole + 0.85 * whole * moments.random())
        send(pid, number)
        os.waitpid(pid, 0)
        assert not leftovers()
        assert not cluster.changed()


def test_interrupted_at_any_point_of_the_code_it_takes_everything_back_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_CLUSTER", "")
    cluster = DisturbedCluster(tmp_path, in_process=True)
    code = ("/harness/engine/scenarios/play.py", "/harness/host/", "/harness/targets/", "contextlib.py", "threading.py")
    interrupted(cluster.play, -1, code)
    points = interrupted(cluster.play, -1, code).points
    assert points > 1000
    raised = 0
    for at in range(random.Random(SEED).randrange(points // POINTS), points, points // POINTS):
        one = interrupted(cluster.play, at, code)
        raised += one.raised
        assert not cluster.changed(), one.where
        assert not leftovers(), one.where
    assert raised > POINTS // 2
