"""Which documents look meant for KServe, and which are another project's."""

from __future__ import annotations

from typing import Any

import pytest

from trivet.toolkit.addressing import is_misaddressed

PREDICTOR: dict[str, Any] = {"predictor": {"model": {}}}


def document(version: str | None, kind: str | None, **more: Any) -> dict[str, Any]:
    named = {"apiVersion": version, "kind": kind}
    return {key: value for key, value in named.items() if value is not None} | {"metadata": {"name": "a"}} | more


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("serving.kubeflow.org/v1beta1", "InferenceService"),
        ("serving.kubeflow.org/v1alpha2", "InferenceService"),
        ("kubeflow.org/v1", "InferenceService"),
        ("serving.knative.dev/v1", "InferenceService"),
        ("serving.kserv.io/v1beta1", "InferenceService"),
        ("Serving.kserve.io/v1beta1", "InferenceService"),
        ("kserve.io/v1beta1", "InferenceService"),
        ("serving.kserve.io", "InferenceService"),
        ("v1beta1", "InferenceService"),
        ("v1", "InferenceService"),
        ("apps/v1", "InferenceService"),
        (None, "InferenceService"),
        ("", "ServingRuntime"),
        ("serving.kserve.io/v1beta1", "InferenceServic"),
        ("serving.kserve.io/v1beta1", "inferenceservice"),
        ("serving.kserve.io/v1beta1", None),
        ("serving.kserve.io/v1beta1", ""),
        ("serving.kserve.io/v1alpha1", "LLMInferenceService"),
        ("v1beta1", "Secret"),
        ("core/v1", "ConfigMap"),
        (None, "PersistentVolumeClaim"),
        ("v1", "Configmap"),
        ("v1", "ServiceAcount"),
        ("v1", "PersistantVolumeClaim"),
        ("v1", "ServingRuntimes"),
    ],
)
def test_a_document_with_a_wrong_address_looks_meant_for_kserve(version: str | None, kind: str | None) -> None:
    assert is_misaddressed(document(version, kind))


@pytest.mark.parametrize("kind", ["InferenceServic", "inferenceService", None])
def test_a_predictor_tells_what_is_meant_without_an_api_version(kind: str | None) -> None:
    assert is_misaddressed(document(None, kind, spec=PREDICTOR))
    assert not is_misaddressed(document(None, kind, spec={"replicas": 1}))


@pytest.mark.parametrize("written", [{"apiVersion": 1}, {"kind": 1}])
def test_a_kind_or_version_that_is_no_text_is_as_none(written: dict[str, Any]) -> None:
    assert is_misaddressed(document("serving.kserve.io/v1beta1", "InferenceService", spec=PREDICTOR) | written)


def test_the_python_names_of_the_sdk_look_meant_for_kserve() -> None:
    written = {"api_version": "serving.kserve.io/v1beta1", "kind": "InferenceService", "spec": PREDICTOR}
    assert is_misaddressed(written)


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("v1", "Pod"),
        ("v1", "PersistentVolume"),
        ("v1", "Config"),
        ("v1", "Namespace"),
        ("serving.knative.dev/v1", "Service"),
        ("argoproj.io/v1alpha1", "Workflow"),
        ("networking.istio.io/v1", "VirtualService"),
        ("kubeflow.org/v1", "TFJob"),
        ("pipelines.kubeflow.org/v2beta1", "Pipeline"),
        ("ray.io/v1", "RayService"),
        ("serving.example.com/v1beta1", "InferenceService"),
        ("external-secrets.io/v1beta1", "Secret"),
        ("inference.networking.x-k8s.io/v1alpha2", "InferenceModel"),
        ("serving.kserve.io/v1alpha1", "Predictor"),
        ("v2", None),
        (None, "Deployment"),
        (None, None),
    ],
)
def test_a_document_of_another_project_is_left_alone(version: str | None, kind: str | None) -> None:
    assert not is_misaddressed(document(version, kind))


@pytest.mark.parametrize("value", [{}, {"kind": "Secret"}, {"kind": ["Secret"], "apiVersion": 1}, {"kind": 5}])
def test_a_document_that_is_no_object_of_kubernetes_is_left_alone(value: dict[str, Any]) -> None:
    assert not is_misaddressed(value)
