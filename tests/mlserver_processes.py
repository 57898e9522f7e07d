"""Real MLServers on this machine, for live tests, each with a model of the test's own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from trivet.host.processes import free_ports
from trivet.model.stack import Stack
from trivet.stacks.environments import build_environment

STARTUP = 120.0


def wait_until(observed: Callable[[], bool], what: str) -> None:
    start = time.monotonic()
    while not observed():
        assert time.monotonic() - start < STARTUP, f"timed out after {STARTUP} s waiting for {what}"
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


@contextmanager
def process(command: Sequence[str | Path], folder: Path, **environment: str) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
        try:
            yield
        finally:
            started.terminate()
            started.wait(30)


@contextmanager
def mlserver(stack: Stack, folder: Path, model: str) -> Iterator[tuple[str, int]]:
    """A server of ``rec``, the class ``Model`` of this source: its URL, and the port of its metrics."""
    folder.mkdir()
    http, grpc, metrics = free_ports(3)
    settings = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics, "host": "127.0.0.1"}
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
    (folder / "model-settings.json").write_text(json.dumps({"name": "rec", "implementation": "model.Model"}))
    (folder / "model.py").write_text(model)
    python = build_environment(stack.roles["runtime"]).python
    path = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(folder)}
    with process([python.with_name("mlserver"), "start", folder], folder, **path):
        url = f"http://127.0.0.1:{http}"
        wait_until(lambda: answers(f"{url}/v2/models/rec/ready"), "MLServer to be ready")
        yield url, metrics
