"""The KFP components of trivet's operations on KFP's backend: training, a gate that decides, and a deployment that follows its decision.

It needs the add-on `pipelines`. Steps run in the image for steps, with trivet and the training function from a Secret."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components_code import stage_components
from contract_examples.live import STACK, pipelines_session

from trivet.fixtures.pipelines import IMAGE
from trivet.integration.inference_service import MODEL_VERSION
from trivet.model.pipeline_runs import BackendRun
from trivet.operations.rbac import canary_rbac
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack
from trivet.targets.cluster.pipeline_steps import step_secret
from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.catalogue

SERVICE = "by-components"
RUNNER = {"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}

PIPELINE = """
import sys

from kfp import compiler, dsl

from training_pipeline import prepare, steps


@dsl.pipeline(name="acme-training")
def pipeline(
    registered_name: str,
    parameters: dict,
    minimum: float,
    artifact_root: str,
    service: str,
    namespace: str,
):
    trained = steps.train(
        function="acme_training:train",
        dataset=prepare().outputs["dataset"],
        parameters=parameters,
        experiment="acme",
        registered_name=registered_name,
        pipeline="acme-training",
    )
    gated = steps.gate(model=trained.outputs["model"], metric="f1_weighted_mean", minimum=minimum)
    with dsl.If(gated.outputs["Output"] == "PASSED"):
        steps.deploy(
            model=trained.outputs["model"],
            service=service,
            namespace=namespace,
            pipeline="acme-training",
            artifact_root=artifact_root,
            min_replicas=1,
            cpu_target=0,
        )


compiler.Compiler().compile(pipeline, sys.argv[1])
"""


@pytest.fixture(scope="module")
def session() -> Iterator[ClusterSession]:
    """A session on the stack's cluster with KFP's backend."""
    with pipelines_session() as running:
        yield running


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a platform has in its image: trivet, and the training function."""
    return stage_components(tmp_path_factory.mktemp("code") / "python")


@pytest.fixture(scope="module")
def compiled(code: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pipeline, as the stack's SDK compiles it."""
    file = tmp_path_factory.mktemp("pipeline") / "pipeline.yaml"
    python = build_environment(load_stack(STACK).roles["trainer"]).python
    environment = {"PYTHONPATH": str(code), "PATH": os.environ["PATH"], "HOME": str(file.parent), "IMAGE": IMAGE}
    subprocess.run([python, "-c", PIPELINE, file], env=environment, check=True)
    return file.read_text(encoding="utf-8")


def run_pipeline(session: ClusterSession, compiled: str, code: Path, *, minimum: float) -> BackendRun:
    """The ended run of the pipeline, in whose steps trivet and the training function are installed."""
    access, store = session.access.pipelines, session.access.store
    assert access is not None
    secret = step_secret(
        f"trivet-steps-components-{session.namespaces.id}",
        code=code,
        files={},
        variables={"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key},
    )
    session.access.kubectl.apply(secret.document(access.namespace, session.namespaces.label))
    arguments = {
        "registered_name": f"acme-{session.namespaces.id}",
        "parameters": {"n_estimators": 10},
        "minimum": minimum,
        "artifact_root": session.artifact_root,
        "service": SERVICE,
        "namespace": session.namespaces.serving,
    }
    try:
        ended: BackendRun = session.client("pipeline_backend").run(
            compiled, arguments, environment=session._store_environment(), secret=secret
        )
        return ended
    finally:
        session.access.kubectl.run("delete", "secret", secret.name, "-n", access.namespace, "--ignore-not-found")


def allow_the_runner(session: ClusterSession) -> None:
    """Bind the printed Role to the account of KFP's steps."""
    _, *documents = canary_rbac(SERVICE, session.namespaces.serving, deploying=True)
    for document in documents:
        if document["kind"] == "RoleBinding":
            document["subjects"] = [RUNNER]
        session.access.kubectl.run("apply", "-f", "-", stdin=json.dumps(document))


def logs(run: BackendRun) -> str:
    return "\n".join(f"{name}: {task.log[-3000:]}" for name, task in run.tasks.items())


def test_what_passes_the_gate_is_served_by_the_pipeline_that_trained_it_and_what_does_not_is_not(
    session: ClusterSession, compiled: str, code: Path
) -> None:
    allow_the_runner(session)
    cluster: Any = session.client("cluster")
    try:
        refused = run_pipeline(session, compiled, code, minimum=1.01)
        assert refused.state == "SUCCEEDED", logs(refused)
        assert set(refused.tasks) == {"prepare", "trivet-train", "trivet-gate"}, logs(refused)
        assert cluster.get("inferenceservice", SERVICE) is None

        deployed = run_pipeline(session, compiled, code, minimum=0.5)
        assert deployed.state == "SUCCEEDED", logs(deployed)
        # The cache answers prepare, and nothing of trivet's.
        assert set(deployed.tasks) - {"prepare"} == {"trivet-train", "trivet-gate", "trivet-deploy"}, logs(deployed)
        service = cluster.get("inferenceservice", SERVICE)
        model = deployed.tasks["trivet-train"].outputs["model"]
        assert model.rpartition("/")[2] == service["metadata"]["labels"][MODEL_VERSION] == "2"
        ready = {one["type"]: one["status"] for one in service["status"]["conditions"]}
        assert ready["Ready"] == "True"
    finally:
        cluster.delete("inferenceservice", SERVICE)
