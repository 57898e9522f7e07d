"""Kubeflow Pipelines on a cluster of trivet's own: a pipeline of two steps through its API server, driver, launcher and stores."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from contract_examples.live import STACK

from trivet.provision.access import PIPELINES, ClusterAccess, PipelinesAccess
from trivet.provision.kind.state import folder_of
from trivet.provision.kind.up import ImageSource, up
from trivet.settings import load_settings
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.cluster

SECONDS = 300.0
PIPELINE = """
import sys
from kfp import compiler, dsl

@dsl.component(base_image=sys.argv[1], install_kfp_package=False)
def train(model: dsl.Output[dsl.Model], metrics: dsl.Output[dsl.Metrics]) -> str:
    from pathlib import Path
    Path(model.path).write_text("a model")
    metrics.log_metric("accuracy", 0.75)
    return "trained"

@dsl.component(base_image=sys.argv[1], install_kfp_package=False)
def evaluate(model: dsl.Input[dsl.Model], said: str):
    from pathlib import Path
    assert (Path(model.path).read_text(), said) == ("a model", "trained")

@dsl.pipeline(name="two-steps")
def two_steps():
    trained = train()
    evaluate(model=trained.outputs["model"], said=trained.outputs["Output"])

compiler.Compiler().compile(two_steps, sys.argv[2])
"""


@pytest.fixture(scope="module")
def access() -> ClusterAccess:
    settings, stack = load_settings(Path.cwd()), load_stack(STACK)
    if folder_of(stack).read_addon(PIPELINES) is None:
        pytest.skip(f"the cluster has no Kubeflow Pipelines: trivet up --stack {STACK} --addon {PIPELINES}")
    source = ImageSource(kind=settings.images, mirror=settings.mirror)
    return up(stack, lambda event: None, source, addons=[PIPELINES])


def test_a_pipeline_of_the_stack_s_sdk_runs_with_its_artifacts_stored_and_its_executions_recorded(
    access: ClusterAccess, tmp_path: Path
) -> None:
    pipelines = access.pipelines
    assert isinstance(pipelines, PipelinesAccess)
    python = build_environment(load_stack(STACK).roles["trainer"]).python
    source, compiled = tmp_path / "pipeline.py", tmp_path / "pipeline.json"
    source.write_text(PIPELINE, encoding="utf-8")
    subprocess.run([python, source, pipelines.step_image, compiled], check=True)
    specification = json.loads(compiled.read_text(encoding="utf-8"))
    base = f"/api/v1/namespaces/{pipelines.namespace}/services/{pipelines.service}:{pipelines.port}/proxy/apis/v2beta1"

    def post(path: str, body: Mapping[str, Any]) -> Any:
        file = tmp_path / "body.json"
        file.write_text(json.dumps(body), encoding="utf-8")
        return json.loads(access.kubectl.run("create", "--raw", f"{base}{path}", "-f", str(file)))

    run = post("/runs", {"display_name": "two-steps", "pipeline_spec": specification})["run_id"]
    deadline = time.monotonic() + SECONDS
    state = ""
    while state not in ("SUCCEEDED", "FAILED") and time.monotonic() < deadline:
        time.sleep(2)
        state = json.loads(access.kubectl.run("get", "--raw", f"{base}/runs/{run}")).get("state", "")
    assert state == "SUCCEEDED"

    def inside(deployment: str, *command: str) -> str:
        return access.kubectl.run("exec", f"deploy/{deployment}", "-n", pipelines.namespace, "--", *command)

    assert inside("minio", "cat", f"/data/mlpipeline/v2/artifacts/two-steps/{run}/train/model") == "a model"
    query = (
        "select count(*) from Execution e join Association a on a.execution_id = e.id join Context c on c.id = a.context_id "
        f"where c.name = '{run}' and e.last_known_state = 3"
    )
    assert inside("mysql", "mariadb", "--user=root", "--host=127.0.0.1", "metadb", "-Ne", query).strip() == "2"
