"""The InferenceService: valid labels, the probe on the model, autoscaling that suits the mode, no canary at first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import UsageError
from trivet.integration import build_inference_service, is_label_value, read_link

URI = "s3://models/1/models/m-0123/artifacts/"


def build(**changes: Any) -> dict[str, Any]:
    return build_inference_service(
        **{
            "name": "recommendation-classifier",
            "storage_uri": URI,
            "run_id": "0" * 32,
            "pipeline": "recommendation-training-pipeline",
            "model_name": "recommendation",
            "model_version": "3",
            **changes,
        }
    )


def test_defaults_are_the_reference_platform_s() -> None:
    predictor = build()["spec"]["predictor"]

    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 10)
    assert (predictor["scaleMetric"], predictor["scaleTarget"]) == ("cpu", 70)
    assert predictor["model"]["modelFormat"]["name"] == "mlflow"
    assert predictor["model"]["protocolVersion"] == "v2"
    assert predictor["model"]["storageUri"] == URI


def test_readiness_asks_for_the_model_not_for_the_server() -> None:
    probe = build(name="abc")["spec"]["predictor"]["model"]["readinessProbe"]

    assert probe["httpGet"] == {"path": "/v2/models/abc/ready", "port": 8080}


def test_a_first_deployment_has_no_canary_and_an_update_has() -> None:
    assert "canaryTrafficPercent" not in build()["spec"]["predictor"]
    assert build(exists=True)["spec"]["predictor"]["canaryTrafficPercent"] == 20
    assert build(exists=True)["spec"]["predictor"]["canaryTrafficPercent"] == 20
    assert "canaryTrafficPercent" not in build(exists=True, deployment_mode="Standard")["spec"]["predictor"]


def test_the_cpu_target_names_an_autoscaler_that_knows_cpu() -> None:
    knative = build()["metadata"]["annotations"]
    raw = build(deployment_mode="RawDeployment")["metadata"]["annotations"]

    assert knative["autoscaling.knative.dev/class"] == "hpa.autoscaling.knative.dev"
    assert "serving.kserve.io/autoscalerClass" not in knative
    assert raw["serving.kserve.io/autoscalerClass"] == "hpa"
    assert "autoscaling.knative.dev/class" not in raw


def test_without_a_cpu_target_the_mode_s_own_autoscaler_stays() -> None:
    service = build(cpu_target=None)

    assert "scaleMetric" not in service["spec"]["predictor"]
    assert service["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Serverless"}


@given(
    run_id=st.text(min_size=1),
    pipeline=st.text(min_size=1),
    model_name=st.text(min_size=1),
    version=st.text("1234", min_size=1),
)
def test_names_survive_as_valid_labels_and_are_read_back_whole(
    run_id: str, pipeline: str, model_name: str, version: str
) -> None:
    service = build(run_id=run_id, pipeline=pipeline, model_name=model_name, model_version=version)

    assert all(is_label_value(value) for value in service["metadata"]["labels"].values())
    link = read_link(service)
    assert (link.run_id, link.model_name, link.model_version) == (run_id, model_name, version)
    assert link.storage_uri == URI


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Recommendation"}, "Recommendation"),
        ({"name": "a" * 60}, "aaa"),
        ({"name": "model\n"}, "model"),
        ({"exists": True, "canary_percent": 120}, "120"),
        ({"canary_percent": -1}, "-1"),
        ({"cpu_target": 0}, "cpu_target"),
        ({"min_replicas": 3, "max_replicas": 2}, "max_replicas is 2"),
        ({"deployment_mode": "serverless"}, "serverless"),
        ({"deployment_mode": "RawDeployment", "exists": True, "canary_percent": 20}, "RawDeployment"),
        ({"storage_uri": "runs:/abc/model"}, "runs:"),
        ({"storage_uri": "mlflow-artifacts:/1/abc/artifacts/model"}, "mlflow-artifacts:"),
        ({"storage_uri": "s3://models/model/MLmodel"}, "MLmodel"),
        ({"storage_uri": ""}, "storage URI"),
        ({"namespace": "NOT valid!"}, "NOT valid!"),
        ({"namespace": ""}, "namespace"),
        ({"protocol": "v9"}, "v9"),
        ({"model_version": 3.5}, "3.5"),
        ({"run_id": None}, "run_id"),
        ({"format_version": 2}, "format_version"),
        ({"min_replicas": True}, "min_replicas"),
        ({"max_replicas": "10"}, "max_replicas"),
        ({"resources": {"limits": {"cpu": "lots"}}}, "lots"),
        ({"resources": {"limits": {"cpu": 1}}}, "limits.cpu"),
        ({"resources": {"limit": {"cpu": "1"}}}, "limit"),
        ({"resources": {"requests": {"memory": "1G"}, "limits": {"memory": "900Mi"}}}, "above limits.memory"),
        ({"service_account": "My Account"}, "service_account"),
        ({"image_pull_secrets": ["a", ""]}, "image_pull_secrets"),
        ({"env": {"1 A": "x"}}, "1 A"),
        ({"env": {"A": 1}}, "A=1"),
        ({"secrets": {"A": "token"}}, "A="),
        ({"env": {"A": "x"}, "secrets": {"A": ("s", "k")}}, "both set A"),
        ({"labels": {"a b": "x"}}, "a b"),
        ({"labels": {"team": "not a label"}}, "team="),
        ({"labels": {"trivet.dev/run-id": "x"}}, "trivet writes"),
        ({"annotations": {"serving.kserve.io/deploymentMode": "Standard"}}, "trivet writes"),
        ({"annotations": {"note": 1}}, "note=1"),
        ({"timeout": 0}, "timeout"),
        ({"tolerations": [{"keys": "gpu"}]}, "keys"),
        ({"node_selector": {"zone": "not a label"}}, "zone="),
    ],
)
def test_what_kserve_would_refuse_or_misread_is_refused_with_a_remedy(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as refusal:
        build(**changes)

    assert named in refusal.value.message
    assert refusal.value.remedy


def test_the_result_shares_nothing_with_the_next_one() -> None:
    build()["spec"]["predictor"]["model"]["resources"]["limits"]["cpu"] = "64"

    assert build()["spec"]["predictor"]["model"]["resources"]["limits"]["cpu"] == "1"


def test_what_the_pods_need_is_stated_without_editing_the_result() -> None:
    service = build(
        service_account="model-reader",
        env={"MLSERVER_PARALLEL_WORKERS": "0"},
        secrets={"HF_TOKEN": ("hub", "token")},
        labels={"team": "search"},
        annotations={"prometheus.io/scrape": "a text of any form"},
        timeout=30,
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        node_selector={"kubernetes.io/arch": "amd64"},
        image_pull_secrets=["registry"],
    )
    predictor = service["spec"]["predictor"]

    assert predictor["serviceAccountName"] == "model-reader"
    assert predictor["model"]["env"] == [
        {"name": "MLSERVER_PARALLEL_WORKERS", "value": "0"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
    ]
    assert service["metadata"]["labels"]["team"] == "search"
    assert service["metadata"]["annotations"]["prometheus.io/scrape"] == "a text of any form"
    assert predictor["timeout"] == 30
    assert predictor["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert predictor["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert predictor["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize(
    ("protocol", "path"), [("v1", "/v1/models/abc"), ("v2", "/v2/models/abc/ready"), ("grpc-v2", None)]
)
def test_readiness_is_asked_for_in_the_protocol_that_the_model_is_served_by(protocol: str, path: str | None) -> None:
    probe = build(name="abc", protocol=protocol)["spec"]["predictor"]["model"].get("readinessProbe")

    assert (probe and probe["httpGet"]["path"]) == path


def test_a_version_may_be_the_number_that_it_is() -> None:
    assert build(model_version=3) == build(model_version="3")


def test_a_version_that_was_registered_without_a_run_is_linked_too() -> None:
    link = read_link(build(run_id=""))

    assert (link.run_id, link.model_version) == ("", "3")


def test_the_link_of_a_revision_is_what_its_own_labels_and_annotations_state() -> None:
    newest = build(model_version="4")
    annotations = {"internal.serving.kserve.io/storage-initializer-sourceuri": URI}
    earlier = {"metadata": {"name": "r1", "labels": build()["metadata"]["labels"], "annotations": annotations}}

    link = read_link(newest, revision=earlier)

    assert (link.service, link.model_version, link.storage_uri) == ("recommendation-classifier", "3", URI)
