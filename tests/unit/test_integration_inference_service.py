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
