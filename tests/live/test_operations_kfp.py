"""The KFP components of trivet's operations, compiled by the KFP SDK of each shipped stack, and judged by trivet's own contracts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from trivet.cli import main
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack, shipped_stacks

pytestmark = pytest.mark.processes
HARNESS = Path(__file__).parents[2] / "harness"

PIPELINE = """
import sys

from kfp import compiler, dsl

from trivet.operations.kfp_components import components

steps = components("registry.example/trivet/operations:1")


@dsl.pipeline(name="deployment")
def deployment(model: str, service: str = "rec", mlflow: str = "http://mlflow:5000", prometheus: str = "http://p:9090"):
    gated = steps.gate(model=model, metric="f1", mlflow=mlflow).set_caching_options(False)
    with dsl.If(gated.outputs["decision"] == "PASSED"):
        deployed = steps.deploy(model=model, service=service, namespace="ml", mlflow=mlflow).set_caching_options(False)
        judged = steps.judge(service=service, namespace="ml", prometheus=prometheus, mlflow=mlflow)
        judged.after(deployed).set_caching_options(False)


compiler.Compiler().compile(deployment, sys.argv[1])
"""


@pytest.fixture(params=[name for name in shipped_stacks() if load_stack(name).platform])
def compiled(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The name of a stack, and the pipeline as its SDK compiles it."""
    (tmp_path / "trivet").symlink_to(HARNESS)
    script, file = tmp_path / "deployment.py", tmp_path / "deployment.yaml"
    script.write_text(PIPELINE, encoding="utf-8")
    python = build_environment(load_stack(request.param).roles["trainer"]).python
    done = subprocess.run(
        [python, script, file],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return request.param, file


def test_each_sdk_compiles_them_and_lint_has_no_objection(compiled: tuple[str, Path]) -> None:
    stack, file = compiled
    done = CliRunner().invoke(main, ["lint", "--stack", stack, str(file)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_what_a_step_runs_is_a_command_line_that_trivet_has(compiled: tuple[str, Path]) -> None:
    _, file = compiled
    spec: dict[str, Any] = next(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    containers: list[dict[str, list[str]]] = [one["container"] for one in spec["deploymentSpec"]["executors"].values()]
    assert len(containers) == 3
    for container in containers:
        program, *words = [*container["command"], *container["args"]]
        assert program == "trivet"
        done = CliRunner().invoke(main, [*("1" if word.startswith("{{") else word for word in words), "--help"])
        assert done.exit_code == 0, done.output
