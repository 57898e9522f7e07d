"""Every way to name a model, on real tracking servers of MLflow 2 and 3 with and without their artifact proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from integration_servers import in_trainer, tracking_server

from trivet.errors import UsageError
from trivet.integration import (
    TrackingApi,
    TrackingError,
    build_inference_service,
    link_service,
    production_metric,
    resolve_storage_uri,
    services_of_run,
    trace_service,
    unlink_service,
    verify_link,
)
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

LOG_MODELS = """
import json, os, sys
import mlflow
from sklearn.dummy import DummyClassifier

client = mlflow.MlflowClient()
mlflow.set_experiment("resolve")
found = []
for name in json.loads(os.environ["NAMES"]):
    with mlflow.start_run() as run:
        mlflow.log_metric("f1", 0.9)
        model = DummyClassifier().fit([[0.0]], [0])
        registered = "of " + name.replace("/", "-")
        info = mlflow.sklearn.log_model(
            model, name, registered_model_name=registered, pip_requirements=["scikit-learn"], serialization_format="cloudpickle"
        )
        client.set_registered_model_alias(registered, "prod", "1")
    found.append(
        {
            "path": name,
            "run": run.info.run_id,
            "root": run.info.artifact_uri,
            "registered": registered,
            "logged": getattr(info, "model_id", None),
            "download": client.get_model_version_download_uri(registered, "1"),
        }
    )
print(json.dumps(found))
"""

PLAIN = ["model", "my model", "modèle", "pl+us"]
MLFLOW_2_ONLY = ["a/b/model", "50% off", "100%25 sure"]
"""Names that an MLflow 3 server refuses for a logged model."""


@dataclass(frozen=True)
class Server:
    tracking: TrackingApi
    models: list[dict[str, Any]]

    def resolve(self, model: str) -> str:
        return resolve_storage_uri(model, tracking=self.tracking)


@pytest.fixture(
    scope="module",
    params=[
        (stack, way) for stack in ("2024.11-fixed", "current") for way in ("direct", "direct as file URI", "proxied")
    ],
    ids=lambda param: "-".join(param).replace(" ", "-"),
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    name, way = request.param
    stack = load_stack(name)
    folder = tmp_path_factory.mktemp("resolve")
    store = folder / "the store"
    root = {"direct": str(store), "direct as file URI": f"file://{quote(str(store))}", "proxied": str(store)}[way]
    option = ["--artifacts-destination"] if way == "proxied" else ["--no-serve-artifacts", "--default-artifact-root"]
    names = PLAIN + (MLFLOW_2_ONLY if stack.components["mlflow"].startswith("2.") else [])
    with tracking_server(stack, folder / "server", *option, root) as uri:
        printed = in_trainer(stack, LOG_MODELS, folder, MLFLOW_TRACKING_URI=uri, NAMES=json.dumps(names))
        yield Server(
            TrackingApi(uri, artifact_root=root if way == "proxied" else ""), json.loads(printed.splitlines()[-1])
        )


def test_every_way_to_name_a_model_leads_to_the_same_directory_with_mlmodel(server: Server) -> None:
    for model in server.models:
        name = model["registered"]
        ways = [f"runs:/{model['run']}/{model['path']}", f"runs:/{model['run']}/{model['path']}//"]
        ways += [f"models:/{name}/1", f"models:/{name}@prod", f"models:/{name}/latest", f"models:/{name}/1/"]
        ways += [model["download"], model["download"] + "/"]
        ways += [f"models:/{model['logged']}"] if model["logged"] else []

        resolved = {way: server.resolve(way) for way in ways}

        (uri,) = set(resolved.values())
        assert Path(uri.removeprefix("file://"), "MLmodel").is_file(), resolved
        assert uri.endswith("/")
        assert server.resolve(uri) == uri


def test_one_level_too_high_or_too_deep_is_refused_and_the_right_one_named(server: Server) -> None:
    for model in server.models:
        right = server.resolve(f"models:/{model['registered']}/1")
        named = f"runs:/{model['run']}/{model['path']}"
        wrong = {right.rstrip("/").rpartition("/")[0]: right, right + "MLmodel": right}
        wrong |= {f"runs:/{model['run']}": named, f"{named}/data": named}
        for spelling, remedy in wrong.items():
            with pytest.raises(UsageError) as refusal:
                server.resolve(spelling)
            if "%" not in model["path"]:  # MLflow's listing cannot show what lies below a name with an escape in it
                assert remedy in refusal.value.remedy


def test_the_mlflow_2_convention_on_an_mlflow_3_layout_is_refused_and_the_right_place_named(server: Server) -> None:
    model = server.models[0]
    if not model["logged"]:
        pytest.skip("MLflow 2 keeps models where the convention says")
    with pytest.raises(UsageError) as refusal:
        server.resolve(f"{model['root']}/model")

    assert server.resolve(f"models:/{model['logged']}") in refusal.value.remedy


@pytest.mark.parametrize(
    ("model", "available"),
    [
        ("models:/of model/7", "registered versions: 1"),
        ("models:/of model@nobody", "prod (version 1)"),
        ("models:/of model/Production", "registered versions: 1"),
        ("models:/nothing@prod", "there is no registered model 'nothing'"),
        (f"models:/m-{'0' * 32}", "models:/NAME/VERSION"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_with_what_there_is(server: Server, model: str, available: str) -> None:
    with pytest.raises(UsageError) as refusal:
        server.resolve(model)

    assert available in refusal.value.remedy


def test_an_unknown_run_is_reported_in_mlflow_s_words(server: Server) -> None:
    with pytest.raises(TrackingError, match="not found") as failure:
        server.resolve(f"runs:/{'f' * 32}/model")

    assert (failure.value.status, failure.value.code) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_the_metric_in_production_is_none_only_when_nothing_is_in_production(server: Server) -> None:
    assert production_metric(server.tracking, "of model", "prod", "f1") == 0.9
    assert production_metric(server.tracking, "of model", "nobody", "f1") is None


@pytest.mark.parametrize(
    ("name", "alias", "remedy"),
    [("off model", "prod", "of model"), ("of model", "Prod", "prod")],
)
def test_a_misspelt_name_does_not_switch_the_comparison_off(server: Server, name: str, alias: str, remedy: str) -> None:
    with pytest.raises(UsageError) as refusal:
        production_metric(server.tracking, name, alias, "f1")

    assert remedy in refusal.value.remedy


def test_a_stage_names_the_version_in_production_too_and_aliases_are_written(server: Server) -> None:
    tracking, name = server.tracking, server.models[0]["registered"]
    tracking.transition_model_version_stage(name, "1", "Production", archive_existing=True)
    try:
        assert production_metric(tracking, name, "Production", "f1") == 0.9
        with pytest.raises(UsageError, match="but one has 'Production'"):
            production_metric(tracking, name, "production", "f1")
        tracking.set_registered_model_alias(name, "production", "1")
        assert production_metric(tracking, name, "production", "f1") == 0.9
        tracking.delete_registered_model_alias(name, "production")
        tracking.delete_registered_model_alias(name, "production")
    finally:
        tracking.transition_model_version_stage(name, "1", "None")
    assert [entry["alias"] for entry in tracking.get_registered_model(name)["aliases"]] == ["prod"]


def test_a_link_notices_each_thing_that_stops_being_true(server: Server) -> None:
    model, other = server.models[:2]
    service = build_inference_service(
        name="classifier",
        storage_uri=server.resolve(f"models:/{model['registered']}/1"),
        run_id=model["run"],
        pipeline="training",
        model_name=model["registered"],
        model_version="1",
    )

    def problems(changed: dict[str, Any], alias: str = "prod") -> list[str]:
        return verify_link(changed, server.tracking, alias=alias)

    assert any("has no tag for the service default/classifier" in text for text in problems(service))
    link_service(service, server.tracking)
    assert problems(service) == []
    assert trace_service(service, server.tracking).pipeline == "training"
    (linked,) = services_of_run(model["run"], server.tracking)
    unlink_service(linked, server.tracking, serving=["1"])
    assert services_of_run(model["run"], server.tracking) == [linked]
    unlink_service(linked, server.tracking)
    assert services_of_run(model["run"], server.tracking) == []
    link_service(service, server.tracking)
    assert problems(service, alias="nobody") == ["'of model' has no alias 'nobody'"]

    moved = json.loads(json.dumps(service))
    moved["spec"]["predictor"]["model"]["storageUri"] = server.resolve(f"models:/{other['registered']}/1")
    assert any("resolves to" in text for text in problems(moved))

    traffic = [{"revisionName": "c-00001", "percent": 100}, {"revisionName": "c-00002", "percent": 0}]
    newest = {"latestCreatedRevision": "c-00002", "latestReadyRevision": "c-00002", "traffic": traffic}
    rolled_back = {**service, "status": {"components": {"predictor": newest}}}
    assert problems(rolled_back, alias="nobody") == [
        "the service states version 1 of 'of model', whose revision has no traffic: c-00001 has 100 %"
    ]

    foreign = json.loads(json.dumps(service))
    foreign["metadata"]["labels"]["trivet.dev/run-id"] = other["run"]
    assert any("belongs to run" in text for text in problems(foreign))
    with pytest.raises(UsageError, match="belongs to run"):
        link_service(foreign, server.tracking)

    server.tracking.delete_run(model["run"])
    try:
        assert any("is deleted" in text for text in problems(service))
    finally:
        server.tracking.restore_run(model["run"])
    assert problems(service) == []


def test_a_host_name_that_the_server_does_not_allow_is_named_with_the_remedy(tmp_path: Path) -> None:
    with tracking_server(load_stack("current"), tmp_path / "server", "--allowed-hosts", "elsewhere:5000") as uri:
        with pytest.raises(TrackingError, match="Invalid Host header") as failure:
            TrackingApi(uri).get_run("f" * 32)

        assert "--allowed-hosts" in failure.value.remedy
        assert uri.removeprefix("http://") in failure.value.remedy
