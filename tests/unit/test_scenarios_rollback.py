"""The scenario of a rollback: how each variant prepares the service, and what it changes to go back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from fakes.scenario_session import FakeFaultClient, FakeInjector

from trivet.errors import CannotTell
from trivet.model.fault import SERVING
from trivet.model.handover import ServableModel
from trivet.model.scenario import Workload
from trivet.scenarios import rollback
from trivet.scenarios.rollback import NAME, _await_scale_down, _rolled_back, service

OLD = ServableModel(name="earlier model", registered="m", version="1", storage_uri="s3://models/1/", answer=[1])
FLOW = Workload(service=NAME, request={}, models={"earlier model": [1]})
PROMOTED: Mapping[str, Any] = {
    "spec": {"predictor": {"model": {"storageUri": "s3://models/2/"}}},
    "status": {
        "components": {
            "predictor": {
                "latestCreatedRevision": "c-2",
                "latestReadyRevision": "c-2",
                "latestRolledoutRevision": "c-2",
                "previousRolledoutRevision": "c-1",
                "traffic": [{"revisionName": "c-2", "percent": 100}],
            }
        }
    },
}
STABLE: Mapping[str, Any] = {"spec": {"predictor": {"model": {"storageUri": "s3://models/1/"}}}}


class Cluster:
    """A cluster client for a service that is promoted; ``ready`` says of the earlier revision whether it has a pod."""

    namespace = "ns"

    def __init__(self, *, ready: bool = False, answer: str = "", annotations: Mapping[str, str] | None = None) -> None:
        self.ready, self.answer = ready, answer
        self.annotations = annotations or {}

    def get(self, kind: str, name: str = "", *, selector: str = "") -> Mapping[str, Any] | None:
        if kind == "inferenceservice":
            return PROMOTED
        if kind.startswith("revision"):
            return {"metadata": {"annotations": self.annotations}}
        pod = {
            "metadata": {"name": "pod", "labels": {"serving.knative.dev/revision": "c-1"}},
            "status": {"conditions": [{"type": "Ready", "status": str(self.ready)}]},
        }
        return {"items": [pod]}

    def execute(self, pod: str, command: Any, **_: Any) -> tuple[int, str]:
        return 0, self.answer


def going_back(variant: str, cluster: Cluster) -> FakeInjector:
    """The injector after the rollback of the variant."""
    faults = FakeFaultClient({("inferenceservice", SERVING, NAME): PROMOTED})
    fault = _rolled_back(cluster, variant, STABLE, OLD, "c-1", FLOW)  # type: ignore[arg-type]
    injector = faults.injector(fault.affected_objects)
    fault.inject(injector)
    return injector


def stored(injector: FakeInjector) -> Mapping[str, Any]:
    found = injector.get("inferenceservice", NAME, namespace=SERVING)
    assert found
    predictor: Mapping[str, Any] = found["spec"]["predictor"]
    return predictor


@pytest.mark.parametrize("variant", ["percent-zero", "tolerant-probe", "min-scale", "canary-share"])
def test_going_back_by_the_percentage_leaves_the_model(variant: str) -> None:
    found = stored(going_back(variant, Cluster()))
    assert found["canaryTrafficPercent"] == 0
    assert found["model"]["storageUri"] == "s3://models/2/"


@pytest.mark.parametrize("variant", ["uri-swap", "reapply", "library"])
def test_the_other_ways_deploy_the_earlier_model_again(variant: str) -> None:
    assert stored(going_back(variant, Cluster()))["model"]["storageUri"] == "s3://models/1/"


def test_a_rollback_that_warms_up_with_a_share_moves_the_rest_when_there_is_a_pod() -> None:
    assert len(going_back("share-first", Cluster(ready=True)).changed_objects) == 2


def test_a_revision_that_a_request_did_not_wake_gets_no_traffic() -> None:
    assert going_back("request-first", Cluster(answer='[200, {"outputs": []}]')).changed_objects
    with pytest.raises(CannotTell, match="was answered with HTTP 504"):
        going_back("request-first", Cluster(answer='[504, "timeout"]'))


def test_a_remedy_that_keeps_the_pod_is_waited_for_no_longer_than_an_unkept_pod_would_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollback, "KEPT", 0.05)
    _await_scale_down(Cluster(ready=True), "c-1", "retention")  # type: ignore[arg-type]
    with pytest.raises(CannotTell, match="annotations are missing"):
        _await_scale_down(Cluster(ready=True), "c-1", "min-scale")  # type: ignore[arg-type]
    monkeypatch.setattr(rollback, "SCALED_DOWN", 0.05)
    with pytest.raises(CannotTell, match="waiting for c-1 to be scaled to zero"):
        _await_scale_down(Cluster(ready=True), "c-1", "model-probe")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("variant", "threshold", "annotated"),
    [
        ("model-probe", 3, {}),
        ("tolerant-probe", 120, {rollback.DEADLINE: "20m"}),
        ("min-scale", 3, {rollback.MIN_SCALE: "1", rollback.INITIAL_SCALE: "1"}),
        ("retention", 3, {rollback.RETENTION: "10m"}),
    ],
)
def test_each_variant_prepares_the_service_as_it_says(
    variant: str, threshold: int, annotated: Mapping[str, str]
) -> None:
    document = service(Cluster(), OLD, variant)  # type: ignore[arg-type]
    assert document["spec"]["predictor"]["model"]["readinessProbe"]["failureThreshold"] == threshold
    annotations = document["metadata"]["annotations"]
    assert {key: value for key, value in annotations.items() if "knative.dev" in key} == annotated
    assert "readinessProbe" not in service(Cluster(), OLD, "percent-zero")["spec"]["predictor"]["model"]  # type: ignore[arg-type]
