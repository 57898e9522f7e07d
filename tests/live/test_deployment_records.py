"""What deploying writes into the registry of real tracking servers of MLflow 2 and 3: links, aliases and stages follow the traffic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from fakes.object_store import ObjectStore
from integration_servers import tracking_server
from samples.serving_platform import ServingPlatform

from trivet.integration import (
    RegistryNames,
    TrackingApi,
    apply_inference_service,
    build_inference_service,
    promote,
    record_traffic,
    roll_back,
    wait_until_serving,
)
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

NAME, NAMESPACE = "classifier", "ml"
REGISTRY = RegistryNames(stages=True)
LINK = f"trivet.dev/service/{NAMESPACE}/{NAME}"


@pytest.fixture(scope="module", params=["2024.11-fixed", "current"])
def tracking(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingApi]:
    with tracking_server(load_stack(request.param), tmp_path_factory.mktemp("records") / "server") as uri:
        yield TrackingApi(uri)


def registered(tracking: TrackingApi, model: str, versions: int) -> None:
    api = f"{tracking.uri}/api/2.0/mlflow"
    requests.post(f"{api}/registered-models/create", json={"name": model}, timeout=30).raise_for_status()
    for number in range(1, versions + 1):
        source = {"name": model, "source": f"s3://models/{number}/"}
        requests.post(f"{api}/model-versions/create", json=source, timeout=30).raise_for_status()


def records(tracking: TrackingApi, model: str) -> dict[str, Any]:
    """Aliases, linked versions and stages."""
    versions = tracking.search_model_versions(f"name = '{model}'")
    aliases = tracking.get_registered_model(model).get("aliases", [])
    return {
        "aliases": {entry["alias"]: str(entry["version"]) for entry in aliases},
        "links": sorted(str(v["version"]) for v in versions for tag in v.get("tags", []) if tag["key"] == LINK),
        "stages": {str(v["version"]): v["current_stage"] for v in versions if v.get("current_stage") != "None"},
    }


class Deployed:
    """One service, with KServe's controller looking whenever a caller waits."""

    def __init__(self, tracking: TrackingApi, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tracking, self.model, self.store = tracking, model, ObjectStore()
        platform = ServingPlatform(self.store, self.store.set_status, NAMESPACE, NAME)
        monkeypatch.setattr(time, "sleep", lambda seconds: platform.reconcile())

    def deploy(self, version: str) -> dict[str, Any] | None:
        """Apply a version and record what it serves; returns the service from before."""
        built = build_inference_service(
            name=NAME,
            namespace=NAMESPACE,
            storage_uri=f"s3://models/{version}/",
            run_id="",
            pipeline="training",
            model_name=self.model,
            model_version=version,
            exists=True,
        )
        applied = apply_inference_service(built, cluster=self.store)
        serving = wait_until_serving(applied.service, cluster=self.store, timeout=5, interval=0)
        record_traffic(serving.service, cluster=self.store, tracking=self.tracking, registry=REGISTRY)
        return applied.previous

    def promote(self, number: int) -> None:
        promote(
            NAME,
            NAMESPACE,
            revision=f"{NAME}-predictor-{number:05}",
            cluster=self.store,
            tracking=self.tracking,
            registry=REGISTRY,
            timeout=5,
            interval=0,
        )

    def roll_back(self, number: int, previous: dict[str, Any] | None) -> None:
        roll_back(
            NAME,
            NAMESPACE,
            revision=f"{NAME}-predictor-{number:05}",
            cluster=self.store,
            previous=previous,
            tracking=self.tracking,
            registry=REGISTRY,
            timeout=5,
            interval=0,
        )


def test_links_aliases_and_stages_move_with_the_traffic_in_both_directions(
    tracking: TrackingApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(tracking, "both ways", 3)
    service = Deployed(tracking, "both ways", monkeypatch)

    service.deploy("1")
    assert records(tracking, "both ways") == {
        "aliases": {"production": "1"},
        "links": ["1"],
        "stages": {"1": "Production"},
    }
    service.deploy("2")
    assert records(tracking, "both ways") == {
        "aliases": {"production": "1", "canary": "2"},
        "links": ["1", "2"],
        "stages": {"1": "Production", "2": "Staging"},
    }
    service.promote(2)
    assert records(tracking, "both ways") == {
        "aliases": {"production": "2"},
        "links": ["2"],
        "stages": {"1": "Archived", "2": "Production"},
    }
    service.roll_back(3, service.deploy("3"))
    assert records(tracking, "both ways") == {
        "aliases": {"production": "2"},
        "links": ["2"],
        "stages": {"1": "Archived", "2": "Production", "3": "Archived"},
    }


def test_a_rollback_without_the_service_from_before_is_recorded_too(
    tracking: TrackingApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(tracking, "traffic alone", 2)
    service = Deployed(tracking, "traffic alone", monkeypatch)
    service.deploy("1")
    service.deploy("2")

    service.roll_back(2, None)

    assert records(tracking, "traffic alone")["aliases"] == {"production": "1"}
    assert records(tracking, "traffic alone")["links"] == ["1"]
