"""What the live tests of the integration library run against: a stack's tracking server, and its trainer with the library staged."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

import trivet
from trivet.host.processes import free_ports
from trivet.model.stack import Stack
from trivet.stacks.environments import build_environment

STARTUP = 300.0


@contextmanager
def tracking_server(stack: Stack, folder: Path, *options: str) -> Iterator[str]:
    """The stack's ``mlflow server`` on SQLite, until the end of the block."""
    role = stack.roles["tracking"]
    python = build_environment(role).python
    (port,) = free_ports(1)
    uri = f"http://127.0.0.1:{port}"
    folder.mkdir(parents=True)
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", *options]
    with (folder / "server.log").open("wb") as log:
        environment = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(folder), **role.environment}
        server = psutil.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            _wait_for(uri, server, folder / "server.log")
            yield uri
        finally:
            family = [*server.children(recursive=True), server]
            for process in family:
                process.terminate()
            for process in psutil.wait_procs(family, timeout=10)[1]:
                process.kill()


def stage_library(folder: Path) -> Path:
    """A folder for PYTHONPATH that holds the library and what it imports of trivet, and nothing else."""
    package = Path(trivet.__file__).parent
    for name in ("integration", "model"):
        shutil.copytree(package / name, folder / "trivet" / name)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(package / name, folder / "trivet" / name)
    return folder


def in_trainer(stack: Stack, program: str, folder: Path, **environment: str) -> str:
    """What ``program`` prints in the stack's trainer environment, with the library on its path."""
    python = build_environment(stack.roles["trainer"]).python
    library = stage_library(folder / "library")
    (folder / "program.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [python, folder / "program.py"],
        cwd=folder,
        env={"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(library), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _wait_for(uri: str, server: psutil.Popen, log: Path) -> None:
    deadline = time.monotonic() + STARTUP
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(f"{uri}/health", timeout=2).ok:
                return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.3)
    pytest.fail(f"the tracking server did not answer: {log.read_text()[-2000:]}")
