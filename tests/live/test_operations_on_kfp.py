"""The KFP components of trivet's operations on KFP's backend: a gate that decides, and a deployment that follows its decision.

It needs the add-on `pipelines` and the image source `build`: no registry has the image trivet/operations."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from contract_examples.live import STACK, pipelines_session

from trivet.authoring import ModelMaker
from trivet.integration.inference_service import MODEL_VERSION
from trivet.model.pipeline_runs import BackendRun
from trivet.operations.rbac import canary_rbac
from trivet.provision.images.build import build
from trivet.provision.images.operations import operations_image
from trivet.provision.images.recipes import load_images
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack
from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.catalogue

HARNESS = Path(__file__).parents[2] / "harness"
SERVICE = "by-components"
RUNNER = {"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}
METRIC = "f1_weighted_mean"

PIPELINE = """
import sys

from kfp import compiler, dsl

from trivet.operations.kfp_components import components

steps = components(sys.argv[2])


@dsl.pipeline(name="deployment")
def deployment(model: str, service: str, namespace: str, mlflow: str, metric: str):
    gated = steps.gate(model=model, metric=metric, mlflow=mlflow).set_caching_options(False)
    with dsl.If(gated.outputs["decision"] == "PASSED"):
        deployed = steps.deploy(
            model=model, service=service, namespace=namespace, mlflow=mlflow, min_replicas=1, cpu_target=0
        )
        deployed.set_caching_options(False)


compiler.Compiler().compile(deployment, sys.argv[1])
"""


@pytest.fixture(scope="module")
def session() -> Iterator[ClusterSession]:
    """A session on the stack's cluster with KFP's backend, whose nodes can pull trivet's own image."""
    with pipelines_session() as running:
        build(load_images(load_stack(STACK)), only=[operations_image()])
        yield running


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pipeline, as the stack's SDK compiles it."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "trivet").symlink_to(HARNESS)
    script, file = folder / "deployment.py", folder / "deployment.yaml"
    script.write_text(PIPELINE, encoding="utf-8")
    python = build_environment(load_stack(STACK).roles["trainer"]).python
    environment = {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"], "HOME": str(folder)}
    subprocess.run([python, script, file, str(operations_image().reference)], env=environment, check=True)
    return file.read_text(encoding="utf-8")


def run_pipeline(session: ClusterSession, compiled: str, model: str) -> BackendRun:
    """The ended run of the pipeline for a registered version."""
    backend = session.client("pipeline_backend")
    backend._compiled["deployment"] = compiled
    arguments = {
        "model": model,
        "service": SERVICE,
        "namespace": session.namespaces.serving,
        "mlflow": session.access.tracking_uri,
        "metric": METRIC,
    }
    ended: BackendRun = backend.wait(backend.start("deployment", arguments), seconds=900)
    return ended


def registered(session: ClusterSession, name: str, score: float) -> tuple[str, str]:
    """The URI and the version of a new registered model whose run has the metric."""
    made = ModelMaker(session.client("trainer"), session.client("tracking")).make(name)
    answer = requests.post(
        f"{session.access.tracking_url}/api/2.0/mlflow/runs/log-metric",
        json={"run_id": made.run_id, "key": METRIC, "value": score, "timestamp": int(time.time() * 1000)},
        timeout=60,
    )
    answer.raise_for_status()
    return f"models:/{made.registered}/{made.version}", made.version


def allow_the_runner(session: ClusterSession) -> None:
    """Bind the printed Role to the account of KFP's steps."""
    _, *documents = canary_rbac(SERVICE, session.namespaces.serving, deploying=True)
    for document in documents:
        if document["kind"] == "RoleBinding":
            document["subjects"] = [RUNNER]
        session.access.kubectl.run("apply", "-f", "-", stdin=json.dumps(document))


def logs(run: BackendRun) -> str:
    return "\n".join(f"{name}: {task.log[-3000:]}" for name, task in run.tasks.items())


def test_a_version_that_passes_the_gate_is_served_by_the_pipeline_and_one_that_does_not_is_not(
    session: ClusterSession, compiled: str
) -> None:
    allow_the_runner(session)
    cluster: Any = session.client("cluster")
    good, version = registered(session, "good model", 0.93)
    bad, _ = registered(session, "bad model", 0.41)
    try:
        refused = run_pipeline(session, compiled, bad)
        assert (refused.state, set(refused.tasks)) == ("SUCCEEDED", {"trivet-gate"}), logs(refused)
        assert cluster.get("inferenceservice", SERVICE) is None

        deployed = run_pipeline(session, compiled, good)
        assert (deployed.state, set(deployed.tasks)) == ("SUCCEEDED", {"trivet-gate", "trivet-deploy"}), logs(deployed)
        service = cluster.get("inferenceservice", SERVICE)
        assert service["metadata"]["labels"][MODEL_VERSION] == version
        ready = {one["type"]: one["status"] for one in service["status"]["conditions"]}
        assert ready["Ready"] == "True"
    finally:
        cluster.delete("inferenceservice", SERVICE)
