"""Builds the InferenceService that serves a model. It applies nothing: it returns a dict for any Kubernetes client, or
for YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trivet.errors import UsageError, unknown
from trivet.integration.artifacts import check_storage_uri
from trivet.integration.labels import label_value

MIN_REPLICAS = 2
MAX_REPLICAS = 10
CPU_TARGET = 70
CANARY_PERCENT = 20

RUN_ID = "trivet.dev/run-id"
PIPELINE = "trivet.dev/pipeline"
MODEL_NAME = "trivet.dev/model-name"
MODEL_VERSION = "trivet.dev/model-version"

SMALL_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "200m", "memory": "512Mi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}
"""KServe's own default is a request of 1 CPU and 2 GiB, which leaves small nodes without room for a canary's second
revision."""

DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"
KNATIVE_MODES = ("Serverless", "Knative")
STANDARD_MODES = ("RawDeployment", "Standard")
"""The annotation, and its values for KServe's two ways to deploy: each with its newer name last, which the webhook writes
over the older one from 0.16 on."""
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # kserve, pkg/apis/serving/v1beta1/inference_service_validation.go
_LONGEST_NAME = 53  # KServe appends suffixes such as -predictor, and a DNS label has at most 63 characters


def build_inference_service(
    *,
    name: str,
    storage_uri: str,
    run_id: str,
    pipeline: str,
    model_name: str,
    model_version: str,
    namespace: str = "default",
    exists: bool = False,
    canary_percent: int | None = None,
    deployment_mode: str = "Serverless",
    runtime: str = "",
    protocol: str = "v2",
    format_version: str = "2",
    min_replicas: int = MIN_REPLICAS,
    max_replicas: int = MAX_REPLICAS,
    cpu_target: int | None = CPU_TARGET,
    resources: Mapping[str, Mapping[str, str]] = SMALL_RESOURCES,
) -> dict[str, Any]:
    """The InferenceService ``name`` for the model at ``storage_uri``, of KServe's API ``serving.kserve.io/v1beta1``.

    ``exists`` states whether the service exists already: a first deployment has no revision to split traffic with, so
    it gets no canary percentage. ``canary_percent`` is 0 to 100, where 100 is all traffic at once; None means
    CANARY_PERCENT in a Knative mode and all traffic in a standard one, because only a Knative mode splits traffic.
    ``deployment_mode`` is ``Serverless`` or ``RawDeployment``, or their names since KServe 0.16, ``Knative`` and
    ``Standard``. ``runtime`` names a ServingRuntime; without it KServe selects one by format, format version and
    protocol. KServe's MLServer runtime declares the mlflow format versions 1 and 2, not 3
    (``config/runtimes/kserve-mlserver.yaml``, 0.14.1 to 0.20.0), so 2 is right for models of MLflow 3 too.
    ``cpu_target`` is a utilisation in percent. In a Knative mode it needs Knative's HPA extension, because Knative's own
    autoscaler supports concurrency and requests per second only; None keeps the autoscaler's default.

    Run id, pipeline, model and version become labels; a value that Kubernetes would reject is shortened there, and the
    annotation of the same key has it in full. The readiness probe requests the model itself, because MLServer opens
    its port long before the model is loaded.

    Raises UsageError for a name, percentage, replica count, mode or storage URI that KServe would reject or misread.
    """
    _check_name(name)
    _check_range("canary_percent", canary_percent, 0, 100)
    _check_range("cpu_target", cpu_target, 1, 100)
    if not 0 <= min_replicas <= max_replicas or max_replicas < 1:
        raise UsageError(
            f"min_replicas is {min_replicas} and max_replicas is {max_replicas}",
            remedy="use 0 <= min_replicas <= max_replicas, and max_replicas >= 1",
        )
    if deployment_mode not in KNATIVE_MODES + STANDARD_MODES:
        raise unknown("deployment mode", deployment_mode, KNATIVE_MODES + STANDARD_MODES)
    for problem in check_storage_uri(storage_uri):
        if not problem.advice:
            raise UsageError(problem.message, remedy=problem.remedy)
    knative = deployment_mode in KNATIVE_MODES
    annotations = {DEPLOYMENT_MODE: deployment_mode}
    labels = {}
    for key, value in {
        RUN_ID: run_id,
        PIPELINE: pipeline,
        MODEL_NAME: model_name,
        MODEL_VERSION: model_version,
    }.items():
        labels[key] = label_value(value)
        if labels[key] != value:
            annotations[key] = value
    predictor: dict[str, Any] = {"minReplicas": min_replicas, "maxReplicas": max_replicas}
    if cpu_target is not None:
        predictor |= {"scaleMetric": "cpu", "scaleTarget": cpu_target}
        if knative:
            annotations["autoscaling.knative.dev/class"] = "hpa.autoscaling.knative.dev"
        else:
            annotations["serving.kserve.io/autoscalerClass"] = "hpa"
    if exists and (canary_percent is not None or knative):
        if not knative:
            raise UsageError(
                f"KServe does not split traffic in deployment mode {deployment_mode}",
                remedy="omit canary_percent, or use a Knative mode (Serverless)",
            )
        predictor["canaryTrafficPercent"] = CANARY_PERCENT if canary_percent is None else canary_percent
    predictor["model"] = {
        "modelFormat": {"name": "mlflow", "version": format_version},
        "protocolVersion": protocol,
        **({"runtime": runtime} if runtime else {}),
        "storageUri": storage_uri,
        "resources": {kind: dict(amounts) for kind, amounts in resources.items()},
        "readinessProbe": {
            "httpGet": {"path": f"/v2/models/{name}/ready", "port": 8080},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": {"predictor": predictor},
    }


def _check_name(name: str) -> None:
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid name of an InferenceService",
            remedy=f"use at most {_LONGEST_NAME} characters of a-z, 0-9 and -, starting with a letter and not ending in -",
        )


def _check_range(what: str, value: int | None, lowest: int, highest: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest):
        raise UsageError(f"{what} is {value!r}", remedy=f"use a whole number from {lowest} to {highest}, or None")
