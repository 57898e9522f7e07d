"""Real processes that judge one canary: killed again and again, suspended, and several at once. The API server is a stand-in."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.canary import NAMESPACE, SERVICE, with_canary
from fakes.kubernetes_api import StoredObjects

from trivet.integration.kubernetes_api import INFERENCE_SERVICES, LEASES
from trivet.operations.lease import lease_name, record_of

pytestmark = pytest.mark.processes
TESTS = Path(__file__).parents[1]
KILLS = 8


class Judges:
    """Judges that the test started, and that it ends by their ids."""

    def __init__(self, file: Path, errors: int) -> None:
        self._arguments = [sys.executable, "-m", "fakes.judge_process", str(file), str(errors)]
        self.started: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        judge = subprocess.Popen(
            self._arguments,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        self.started.append(judge)
        return judge

    def end(self) -> None:
        for judge in self.started:
            if judge.poll() is None:
                judge.send_signal(signal.SIGCONT)
                judge.kill()
            judge.communicate()


@pytest.fixture
def cluster(tmp_path: Path) -> StoredObjects:
    found = StoredObjects(tmp_path / "objects.json")
    with_canary(found)
    return found


@pytest.fixture(params=[0, 2], ids=["sound", "failing"])
def judges(request: pytest.FixtureRequest, tmp_path: Path, cluster: StoredObjects) -> Iterator[Judges]:
    found = Judges(tmp_path / "objects.json", request.param)
    yield found
    found.end()


def unkilled(judges: Judges, tmp_path: Path) -> tuple[int, object]:
    """Exit code and evidence of a judge that nobody disturbs, on a platform of its own."""
    file = tmp_path / "undisturbed.json"
    other = StoredObjects(file)
    with_canary(other)
    alone = Judges(file, int(judges._arguments[-1]))
    try:
        return alone.start().wait(timeout=120), evidence(other)
    finally:
        alone.end()


def evidence(cluster: StoredObjects) -> object:
    record = record_of(cluster.get(LEASES, NAMESPACE, lease_name(SERVICE)))
    judge = {name: value for name, value in record["judge"].items() if name != "times"}
    return {"judge": judge} | {name: record[name] for name in ("decision", "acted", "windows", "reason")}


def test_a_judge_that_is_killed_again_and_again_decides_as_one_that_is_not(
    judges: Judges, cluster: StoredObjects, tmp_path: Path
) -> None:
    moments = random.Random(14)
    killed = 0
    while True:
        judge = judges.start()
        assert judge.stdout is not None
        judge.stdout.readline()
        if killed == KILLS:
            code = judge.wait(timeout=120)
            break
        time.sleep(moments.uniform(0, 0.15))
        judge.kill()
        if judge.wait() != -signal.SIGKILL:
            code = judge.returncode
            break
        killed += 1

    assert killed >= 3
    assert (code, evidence(cluster)) == unkilled(judges, tmp_path)
    assert cluster.writes(INFERENCE_SERVICES).count("replace") == 1


def test_of_three_judges_that_are_suspended_again_and_again_one_acts_once(
    judges: Judges, cluster: StoredObjects, tmp_path: Path
) -> None:
    moments = random.Random(15)
    three = [judges.start() for _ in range(3)]
    deadline = time.monotonic() + 90
    while any(judge.poll() is None for judge in three) and time.monotonic() < deadline:
        (judge,) = moments.sample(three, 1)
        if judge.poll() is None:
            judge.send_signal(signal.SIGSTOP)
            time.sleep(moments.uniform(0.5, 1.8))
            judge.send_signal(signal.SIGCONT)
        time.sleep(moments.uniform(0, 0.3))

    expected, decided = unkilled(judges, tmp_path)
    assert expected in [judge.wait(timeout=60) for judge in three]
    assert evidence(cluster) == decided
    assert cluster.writes(INFERENCE_SERVICES).count("replace") == 1
