"""Examples of the contracts over KFP's MLflow plugin that ask MLflow's server, on servers of MLflow 3.17.2 that are started differently."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from contract_examples.registry import failing, inconclusive, not_applicable, passing
from contract_examples.static import contract, stack
from contract_examples.test_static_mlflow_plugin import HOST, SOUND, platform
from integration_servers import tracking_server

from trivet.integration import TrackingApi
from trivet.model.finding import Finding

pytestmark = pytest.mark.processes

LOCAL = "127.0.0.1:*,localhost:*"
NAMESPACE = "kubeflow"


@contextmanager
def _server(tmp_path_factory: pytest.TempPathFactory, *options: str) -> Iterator[TrackingApi]:
    folder = tmp_path_factory.mktemp("mlflow") / "server"
    with tracking_server(stack("current"), folder, "--default-artifact-root", str(folder), *options) as uri:
        yield TrackingApi(uri)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingApi]:
    """MLflow as it starts without being told anything."""
    with _server(tmp_path_factory) as tracking:
        yield tracking


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingApi]:
    """MLflow as the contracts' remedies start it, with a workspace for the namespace of runs."""
    options = ("--allowed-hosts", f"{HOST},{LOCAL}", "--enable-workspaces")
    with _server(tmp_path_factory, *options) as tracking:
        made = requests.post(f"{tracking.uri}/api/3.0/mlflow/workspaces", json={"name": NAMESPACE}, timeout=20)
        assert made.ok, made.text
        yield tracking


def asked(identifier: str, tracking: TrackingApi, backend: str = "2.17.0", **changes: Any) -> list[Finding]:
    described = platform({"mlflow": {**SOUND, **changes}}, backend)
    return list(contract(f"mlflow_plugin.{identifier}").check(platform=described, tracking=tracking))


def called(tracking: TrackingApi, endpoint: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    answer = requests.post(f"{tracking.uri}/api/2.0/mlflow/{endpoint}", json=body, timeout=20)
    assert answer.ok, answer.text
    found: Mapping[str, Any] = json.loads(answer.text)
    return found


# server_answers_the_plugin


@failing("mlflow_plugin.server_answers_the_plugin", because="MLflow answers 403 'Invalid Host header")
def test_a_service_and_a_server_with_its_defaults(plain: TrackingApi) -> list[Finding]:
    found = asked("server_answers_the_plugin", plain)
    assert f"--allowed-hosts {HOST},{LOCAL}" in found[0].remedy
    assert requests.get(f"{plain.uri}/health", headers={"Host": HOST}, timeout=20).status_code == 200
    return found


@failing(
    "mlflow_plugin.server_answers_the_plugin",
    because="MLflow answers 500 FEATURE_DISABLED: the plugin tries again until",
)
def test_a_workspace_and_a_server_without(plain: TrackingApi) -> list[Finding]:
    return asked("server_answers_the_plugin", plain, endpoint="http://10.96.3.4:5000", settings={})


@failing("mlflow_plugin.server_answers_the_plugin", because="X-MLflow-Workspace: kubeflow")
def test_a_workspace_that_the_server_does_not_have(mended: TrackingApi) -> list[Finding]:
    with _deleted_workspace(mended):
        return asked("server_answers_the_plugin", mended, settings={})


@passing("mlflow_plugin.server_answers_the_plugin", because="MLflow answers 404 RESOURCE_DOES_NOT_EXIST")
def test_a_private_address_and_no_workspace(plain: TrackingApi) -> list[Finding]:
    return asked("server_answers_the_plugin", plain, endpoint="http://10.96.3.4:5000")


@passing("mlflow_plugin.server_answers_the_plugin", because=f"(Host: {HOST}, X-MLflow-Workspace: kubeflow)")
def test_the_remedies(mended: TrackingApi) -> list[Finding]:
    return [
        *asked("server_answers_the_plugin", mended, settings={}),
        *asked("server_answers_the_plugin", mended, settings={"authType": "none", "defaultExperimentName": "Default"}),
    ]


# default_experiment_is_active


@failing("mlflow_plugin.default_experiment_is_active", because="it refuses the plugin's runs")
def test_a_deleted_experiment(plain: TrackingApi) -> list[Finding]:
    identifier = called(plain, "experiments/create", {"name": "gone"})["experiment_id"]
    called(plain, "experiments/delete", {"experiment_id": identifier})
    body = {"experiment_id": identifier, "run_name": "a run of KFP's", "start_time": 0}
    refused = requests.post(f"{plain.uri}/api/2.0/mlflow/runs/create", json=body, timeout=20)
    assert refused.status_code == 400, refused.text
    settings = {"authType": "none", "defaultExperimentName": "gone"}
    return asked("default_experiment_is_active", plain, settings=settings)


@passing("mlflow_plugin.default_experiment_is_active", because="the plugin creates it")
def test_no_experiment_yet(plain: TrackingApi) -> list[Finding]:
    return asked("default_experiment_is_active", plain)


@passing("mlflow_plugin.default_experiment_is_active", because="MLflow's experiment 'Default' is active")
def test_an_active_experiment(plain: TrackingApi) -> list[Finding]:
    settings = {"authType": "none", "defaultExperimentName": "Default"}
    return asked("default_experiment_is_active", plain, settings=settings)


@inconclusive("mlflow_plugin.default_experiment_is_active", because="MLflow answers 500")
def test_an_experiment_in_a_workspace_that_there_is_not(plain: TrackingApi) -> list[Finding]:
    return asked("default_experiment_is_active", plain, settings={})


# tasks_end_with_their_parent, pipeline_run_has_one_parent


def recorded(tracking: TrackingApi, experiment: str, *runs: tuple[str, str, str, str]) -> Mapping[str, Any]:
    """Settings of the plugin with an experiment that has ``runs``: name, status, the name of the run above, and the run of KFP's."""
    identifier = called(tracking, "experiments/create", {"name": experiment})["experiment_id"]
    made: dict[str, str] = {}
    for name, status, above, pipeline_run in runs:
        tags = {"mlflow.parentRunId": made.get(above, ""), "kfp.pipeline_run_id": pipeline_run}
        stated = [{"key": key, "value": value} for key, value in tags.items() if value]
        body = {"experiment_id": identifier, "run_name": name, "start_time": 1, "tags": stated}
        made[name] = str(called(tracking, "runs/create", body)["run"]["info"]["run_id"])
        called(tracking, "runs/update", {"run_id": made[name], "status": status})
    return {"authType": "none", "defaultExperimentName": experiment}


TERMINATED = (("a run", "KILLED", "", "1"), ("the loop", "FINISHED", "a run", ""))


@failing(
    "mlflow_plugin.tasks_end_with_their_parent",
    because="of the task in the loop is RUNNING, and that of its pipeline",
)
def test_a_terminated_run_with_a_task_in_its_loop(plain: TrackingApi) -> list[Finding]:
    settings = recorded(plain, "terminated", *TERMINATED, ("in the loop", "RUNNING", "the loop", ""))
    return asked("tasks_end_with_their_parent", plain, settings=settings)


@passing("mlflow_plugin.tasks_end_with_their_parent", because="of 2 runs of pipelines none has ended before its tasks")
def test_a_terminated_run_whose_tasks_have_ended_and_one_that_runs(plain: TrackingApi) -> list[Finding]:
    ended = (*TERMINATED, ("in the loop", "KILLED", "the loop", ""))
    running = (
        ("another", "RUNNING", "", "2"),
        ("its task", "RUNNING", "another", ""),
        ("of a user", "RUNNING", "", ""),
    )
    return asked("tasks_end_with_their_parent", plain, settings=recorded(plain, "ended", *ended, *running))


@failing("mlflow_plugin.pipeline_run_has_one_parent", because="KFP's run 1 has 2 MLflow runs")
def test_a_run_that_was_recorded_twice(plain: TrackingApi) -> list[Finding]:
    settings = recorded(
        plain, "twice", ("a", "RUNNING", "", "1"), ("a", "FINISHED", "", "1"), ("b", "FINISHED", "", "2")
    )
    return asked("pipeline_run_has_one_parent", plain, settings=settings)


@passing("mlflow_plugin.pipeline_run_has_one_parent", because="each of 2 runs of pipelines has one MLflow run")
def test_runs_that_were_recorded_once(plain: TrackingApi) -> list[Finding]:
    settings = recorded(
        plain, "once", ("a", "FINISHED", "", "1"), ("a task", "FINISHED", "a", ""), ("b", "FAILED", "", "2")
    )
    return asked("pipeline_run_has_one_parent", plain, settings=settings)


@not_applicable("mlflow_plugin.pipeline_run_has_one_parent", because="has no run of the plugin's")
def test_nothing_was_recorded(plain: TrackingApi) -> list[Finding]:
    return asked("pipeline_run_has_one_parent", plain)


@not_applicable("mlflow_plugin.tasks_end_with_their_parent", because="has no run of the plugin's")
def test_nobody_ran_a_pipeline(plain: TrackingApi) -> list[Finding]:
    settings = recorded(plain, "of a user", ("a run", "RUNNING", "", ""))
    return asked("tasks_end_with_their_parent", plain, settings=settings)


@contextmanager
def _deleted_workspace(tracking: TrackingApi) -> Iterator[None]:
    gone = requests.delete(f"{tracking.uri}/api/3.0/mlflow/workspaces/{NAMESPACE}", timeout=20)
    assert gone.ok, gone.text
    try:
        yield
    finally:
        requests.post(f"{tracking.uri}/api/3.0/mlflow/workspaces", json={"name": NAMESPACE}, timeout=20)
