"""A fleet that is killed while it downloads: the next one leaves nothing of it, and judges every version once."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
from commandline import PROGRAM, environment, run
from fakes.http_server import serving
from fakes.model_registry import FINE, Registry


@pytest.mark.processes
@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda one: one.name)
def test_a_killed_fleet_leaves_nothing_and_the_next_judges_all_once(
    here: Path, tmp_path: Path, number: signal.Signals
) -> None:
    cache = tmp_path / "cache"

    class Slow(Registry):
        pages = 120
        seconds = 0.2
        source = "mlflow-artifacts:/0/run/artifacts/model"
        size = len(FINE["model.pkl"])
        asked: ClassVar[list[str]] = []

    with serving(Slow) as server:
        asked = ("fleet", "--mlflow", f"http://127.0.0.1:{server.server_port}", "--stack", "2024.11")
        first = subprocess.Popen(
            [str(PROGRAM), *asked], env=environment(TRIVET_CACHE=str(cache)), cwd=here, stdout=subprocess.PIPE
        )
        deadline = time.monotonic() + 120
        while not list((cache / "runs").glob("**/model.pkl")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        first.send_signal(number)
        assert first.wait(60) in (-signal.SIGKILL, 128 + number)
        if number is signal.SIGKILL:
            assert list((cache / "runs").glob("*/")), "what was killed left its downloads"
        Slow.seconds = 0.0
        done = run(*asked, "--format", "json", TRIVET_CACHE=str(cache))
    assert done.code == 0, done
    report = json.loads(done.out)
    assert sorted(int(model["version"]) for model in report["models"]) == list(range(1, 121))
    assert not list((cache / "runs").glob("*/"))
    assert not [
        one for one in psutil.process_iter(["environ"]) if (one.info["environ"] or {}).get("TRIVET_CACHE") == str(cache)
    ]
