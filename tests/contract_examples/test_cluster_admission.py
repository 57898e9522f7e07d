"""Examples of the contracts over what the API server and KServe's webhooks admit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from contract_examples.live import Instead, findings
from contract_examples.registry import failing, passing

from trivet.model.clients import Refused
from trivet.model.finding import Finding
from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.cluster

WEBHOOK = ("validatingwebhookconfiguration", "inferenceservice.serving.kserve.io")
UNWATCHED = "trivet.dev/unwatched"


def as_the_python_client_asks(session: ClusterSession) -> Instead:
    """The cluster through a client that does not ask for strict validation."""
    cluster = session.client("cluster")

    def apply(document: Mapping[str, Any], *, dry_run: bool = False) -> Mapping[str, Any]:
        stored: Mapping[str, Any] = cluster.apply(document, strict=False, dry_run=dry_run)
        return stored

    return Instead(cluster, apply=apply)


@failing("admission.applied_fields_are_stored", because="spec.predictor.containerSpec is missing")
def test_a_service_with_a_field_that_the_api_does_not_have(cluster_session: ClusterSession) -> list[Finding]:
    handover = cluster_session.client("handover")
    spec = {"predictor": {**handover.service["spec"]["predictor"], "containerSpec": {"readinessProbe": {}}}}
    example = replace(handover, service={**handover.service, "spec": spec})
    return findings(cluster_session, "admission.applied_fields_are_stored", handover=example)


@passing("admission.applied_fields_are_stored")
def test_the_service_that_was_handed_over(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "admission.applied_fields_are_stored")


@failing("admission.unknown_field_is_rejected", because="accepted and silently dropped")
def test_a_client_that_does_not_ask_for_validation(cluster_session: ClusterSession) -> list[Finding]:
    example = as_the_python_client_asks(cluster_session)
    return findings(cluster_session, "admission.unknown_field_is_rejected", cluster=example)


@passing("admission.unknown_field_is_rejected")
def test_a_client_that_asks_for_validation(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "admission.unknown_field_is_rejected")


@contextmanager
def webhook_looking_away(session: ClusterSession) -> Iterator[None]:
    """KServe's validating webhook covers every namespace but the session's own: what a selector gone wrong does."""
    kubectl, namespace = session.access.kubectl, session.client("cluster").namespace
    (before,) = json.loads(kubectl.run("get", *WEBHOOK, "-o", "json"))["webhooks"]
    elsewhere = {"matchExpressions": [{"key": UNWATCHED, "operator": "DoesNotExist"}]}

    def select(selector: Mapping[str, Any]) -> None:
        patch = [{"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": selector}]
        kubectl.run("patch", *WEBHOOK, "--type=json", "-p", json.dumps(patch))

    kubectl.run("label", "namespace", namespace, f"{UNWATCHED}=true")
    select(elsewhere)
    try:
        yield
    finally:
        select(before.get("namespaceSelector") or {})
        kubectl.run("label", "namespace", namespace, f"{UNWATCHED}-")


@failing("admission.inconsistent_service_is_rejected", because="is admitted")
def test_a_webhook_that_does_not_cover_the_namespace(cluster_session: ClusterSession) -> list[Finding]:
    with webhook_looking_away(cluster_session):
        return findings(cluster_session, "admission.inconsistent_service_is_rejected")


@passing("admission.inconsistent_service_is_rejected")
def test_the_webhook_of_kserve(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "admission.inconsistent_service_is_rejected")


# KServe itself is the failing example, and what the remedy says the passing one.


@failing("admission.undeployable_service_is_rejected", because="a canary of 150 % is admitted")
def test_what_kserve_admits(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "admission.undeployable_service_is_rejected")


@passing("admission.undeployable_service_is_rejected")
def test_a_gateway_that_looks_at_manifests_before_kserve_does(cluster_session: ClusterSession) -> list[Finding]:
    cluster = cluster_session.client("cluster")

    def apply(document: Mapping[str, Any], *, dry_run: bool = False) -> Mapping[str, Any]:
        predictor = document["spec"]["predictor"]
        if "sklearn" in predictor:
            raise Refused("exactly one of model and sklearn")
        if predictor.get("canaryTrafficPercent", 0) > 100:
            raise Refused("canaryTrafficPercent is more than 100")
        if predictor["model"]["storageUri"].startswith("ftp:"):
            raise Refused("storage URI of a scheme that nothing fetches")
        if "serving.kserve.io/autoscalerClass" in document["metadata"].get("annotations", {}):
            raise Refused("autoscaler class is ignored in this mode")
        stored: Mapping[str, Any] = cluster.apply(document, dry_run=dry_run)
        return stored

    example = Instead(cluster, apply=apply)
    return findings(cluster_session, "admission.undeployable_service_is_rejected", cluster=example)
