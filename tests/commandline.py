"""The command line as a user has it: called in this process where only words and exit code matter, as a process otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from trivet.cli import main
from trivet.stacks.read import stack_folder

PROGRAM = Path(sys.executable).with_name("trivet")

GOOD = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: churn
spec:
  predictor:
    model:
      modelFormat:
        name: mlflow
      protocolVersion: v2
      storageUri: s3://models/churn/
      resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}
      readinessProbe:
        httpGet: {path: /v2/models/churn/ready, port: 8080}
"""
"""A manifest that every contract is content with."""

ADVICE = GOOD.replace("      resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}\n", "")
BAD = GOOD.replace("  predictor:\n", "  predictor:\n    containerSpec: {}\n").replace("v2\n", "v1\n")

SIX = """\
six==1.16.0 \\
    --hash=sha256:1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926 \\
    --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254
"""
"""A lock of one tiny package."""


@dataclass(frozen=True)
class CommandOutput:
    """Exit code, standard output and standard error of a call."""

    code: int
    out: str
    err: str


def call(*arguments: str | Path) -> CommandOutput:
    """Call the command line in this process. An exception without an error message is raised."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    return CommandOutput(done.exit_code, done.stdout, done.stderr)


def refused(*arguments: str | Path) -> str:
    """The error of a call with wrong usage: exit code 3, message and remedy on standard error only, no traceback."""
    result = call(*arguments)
    assert result.code == 3, result
    assert result.out == ""
    assert "Traceback" not in result.err
    assert "remedy: " in result.err
    return result.err


def environment(**variables: str) -> Mapping[str, str]:
    """This process's environment without trivet's variables, and with ``variables``."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRIVET_")} | variables


def run(*arguments: str | Path, cwd: Path | None = None, timeout: float = 240, **variables: str) -> CommandOutput:
    """Run the command line as a process with ``variables`` in its environment."""
    done = subprocess.run(
        [str(PROGRAM), *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return CommandOutput(done.returncode, done.stdout, done.stderr)


def tiny_stack(folder: Path, lock: str = SIX) -> Path:
    """A stack each of whose roles is one tiny package: it can be built in a second, and can serve nothing."""
    folder.mkdir()
    shipped = stack_folder("2024.11-fixed")
    for name in ("stack.toml", "api_schemas.json"):
        shutil.copyfile(shipped / name, folder / name)
    for role in shipped.glob("*.lock"):
        (folder / role.name).write_text(lock, encoding="utf-8")
    return folder
