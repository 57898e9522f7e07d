"""Examples of the contracts over KFP's MLflow plugin that ask MLflow's server, on servers of MLflow 3.17.2 that are started differently."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
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


def asked(identifier: str, tracking: TrackingApi, *, is_users: bool = True, **changes: Any) -> list[Finding]:
    described = replace(platform({"mlflow": {**SOUND, **changes}}), is_users=is_users)
    return list(contract(f"mlflow_plugin.{identifier}").check(platform=described, tracking=tracking))


def called(tracking: TrackingApi, endpoint: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    headers = dict(tracking._session.headers)
    answer = requests.post(f"{tracking.uri}/api/2.0/mlflow/{endpoint}", json=body, headers=headers, timeout=20)
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
    because="MLflow answers 500 FEATURE_DISABLED: the plugin tries again for up to 10s",
)
def test_a_workspace_and_a_server_without(plain: TrackingApi) -> list[Finding]:
    return asked("server_answers_the_plugin", plain, endpoint="http://10.96.3.4:5000", settings={})


@failing(
    "mlflow_plugin.server_answers_the_plugin",
    because="MLflow answers 404 RESOURCE_DOES_NOT_EXIST: it has no workspace kubeflow",
)
def test_a_workspace_that_the_users_server_does_not_have(mended: TrackingApi) -> list[Finding]:
    with _deleted_workspace(mended):
        return asked("server_answers_the_plugin", mended, settings={})


@not_applicable("mlflow_plugin.server_answers_the_plugin", because="there is no workspace kubeflow of the platform's")
def test_a_workspace_that_trivets_own_server_does_not_have(mended: TrackingApi) -> list[Finding]:
    with _deleted_workspace(mended):
        return asked("server_answers_the_plugin", mended, is_users=False, settings={})


@not_applicable("mlflow_plugin.default_experiment_is_active", because="MLflow has no workspace kubeflow")
def test_an_experiment_in_a_workspace_that_the_server_does_not_have(mended: TrackingApi) -> list[Finding]:
    with _deleted_workspace(mended):
        return asked("default_experiment_is_active", mended, settings={})


@passing("mlflow_plugin.server_answers_the_plugin", because="MLflow answers 404 RESOURCE_DOES_NOT_EXIST")
def test_an_experiment_whose_name_is_like_a_workspace(mended: TrackingApi) -> list[Finding]:
    return asked("server_answers_the_plugin", mended, settings={"defaultExperimentName": "team-workspace"})


@inconclusive(
    "mlflow_plugin.server_answers_the_plugin", because="and the one that is judged is http://mlflow.other:5000"
)
def test_a_plugin_that_asks_another_server(plain: TrackingApi) -> list[Finding]:
    described = replace(platform({"mlflow": SOUND}), tracking_uri="http://user:secret@mlflow.other:5000")
    check = contract("mlflow_plugin.server_answers_the_plugin").check
    return list(check(platform=described, tracking=plain))


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


@failing("mlflow_plugin.default_experiment_is_active", because="it refuses the plugin's runs")
def test_a_deleted_experiment_of_the_plugins_workspace(mended: TrackingApi) -> list[Finding]:
    there = mended.in_workspace(NAMESPACE)
    identifier = called(there, "experiments/create", {"name": "gone"})["experiment_id"]
    called(there, "experiments/delete", {"experiment_id": identifier})
    return asked("default_experiment_is_active", mended, settings={"defaultExperimentName": "gone"})


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
        ended = {} if status == "RUNNING" else {"end_time": 1}
        called(tracking, "runs/update", {"run_id": made[name], "status": status, **ended})
    return {"authType": "none", "defaultExperimentName": experiment}


TERMINATED = (("a run", "KILLED", "", "1"), ("the loop", "FINISHED", "a run", ""))


@failing(
    "mlflow_plugin.tasks_end_with_their_parent",
    because="of the task in the loop is RUNNING, and that of its pipeline",
)
def test_a_terminated_run_with_a_task_in_its_loop(plain: TrackingApi) -> list[Finding]:
    settings = recorded(plain, "terminated", *TERMINATED, ("in the loop", "RUNNING", "the loop", ""))
    return asked("tasks_end_with_their_parent", plain, settings=settings)


@failing("mlflow_plugin.tasks_end_with_their_parent", because="of the task in the loop is RUNNING")
def test_a_terminated_run_in_the_plugins_workspace(mended: TrackingApi) -> list[Finding]:
    settings = recorded(
        mended.in_workspace(NAMESPACE), "terminated", *TERMINATED, ("in the loop", "RUNNING", "the loop", "")
    )
    return asked("tasks_end_with_their_parent", mended, settings={**settings, "authType": "kubernetes"})


@passing("mlflow_plugin.tasks_end_with_their_parent", because="of 1 runs of pipelines none has ended before its tasks")
def test_a_loop_that_has_ended_in_a_run_that_runs(plain: TrackingApi) -> list[Finding]:
    running = (
        ("a run", "RUNNING", "", "1"),
        ("the loop", "FINISHED", "a run", ""),
        ("a task", "RUNNING", "the loop", ""),
    )
    of_a_user = (("of a user", "FINISHED", "", ""), ("below it", "RUNNING", "of a user", ""))
    settings = recorded(plain, "running", *running, *of_a_user)
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
