"""Deploys a service so that it can be rolled back without a hand, and what a judge does with a canary.

The InferenceService as it was before a deployment is kept in an annotation of the Lease of the service's judge, and a rollback makes the
service that again. While a canary runs it stays what the stable revision is made of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from trivet.integration.artifacts import resolve_storage_uri
from trivet.integration.deployment import (
    SERVING_TIMEOUT,
    Applied,
    RegistryNames,
    apply_inference_service,
    has_all_traffic,
    manifest_of,
    promote,
    record_traffic,
    roll_back,
    states_model,
    wait_until_serving,
)
from trivet.integration.inference_service import MODEL_VERSION, build_inference_service
from trivet.integration.kubernetes_api import INFERENCE_SERVICES, LEASES, KubernetesApi
from trivet.integration.rollout import stated_uri
from trivet.integration.tracking import TrackingApi
from trivet.model.operation import Decision, OperationReport
from trivet.operations.canary_run import CanaryActions, revisions_of
from trivet.operations.lease import annotate_lease, annotated_object, lease_name
from trivet.operations.registered_version import registered_version

PREVIOUS = "trivet.dev/previous-service"
"""The annotation of the Lease with the InferenceService as it was before the deployment, as JSON."""

_KUBECTL = "kubectl.kubernetes.io/last-applied-configuration"
Json = Mapping[str, Any]


def service_of(model: str, service: str, *, tracking: TrackingApi, **settings: Any) -> dict[str, Any]:
    """The InferenceService named ``service`` for the version that ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS`` names.

    ``settings`` are those of :func:`trivet.integration.build_inference_service`. Raises UsageError for a version that does not exist or
    cannot be served from where it lies, and for wrong settings; TrackingError.
    """
    version = registered_version(model, tracking)
    name, number = str(version["name"]), str(version["version"])
    return build_inference_service(
        name=service,
        storage_uri=resolve_storage_uri(f"models:/{name}/{number}", tracking=tracking),
        run_id=version.get("run_id") or "",
        model_name=name,
        model_version=number,
        # A first deployment is created without the percentage, whatever is asked for.
        exists=True,
        **settings,
    )


def deploy(
    service: Json,
    *,
    cluster: KubernetesApi,
    tracking: TrackingApi | None,
    registry: RegistryNames,
    timeout: float = SERVING_TIMEOUT,
    progress: Callable[[str], None] = lambda text: None,
) -> OperationReport:
    """Apply an InferenceService, wait until it serves what was asked, and with ``tracking`` move links and aliases. What is promoted
    already keeps all traffic.

    Raises KubernetesError, DeploymentError when it does not come to serve within ``timeout`` seconds, and TrackingError.
    """
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    before = cluster.get(INFERENCE_SERVICES, namespace, name)
    another = before is not None and _model_of(before) != _model_of(service)
    if before is not None and another:
        _keep(cluster, before, owner=before)
    if before is not None and has_all_traffic(before, service):
        applied = Applied(service=before, previous=None, changed=False)
    else:
        applied = apply_inference_service(service, cluster=cluster)
    if before is not None and applied.previous is not None and applied.changed and not another:
        _keep(cluster, applied.previous, owner=before)
    progress(f"{'applied' if applied.changed else 'unchanged'}: InferenceService {namespace}/{name}")
    serving = wait_until_serving(applied.service, cluster=cluster, timeout=timeout, progress=progress)
    if tracking is not None:
        record_traffic(serving.service, cluster=cluster, tracking=tracking, registry=registry)
    share = ", ".join(f"{revision} {percent} %" for revision, percent in serving.shares.items())
    return OperationReport(
        command="trivet deploy",
        decision=Decision.DEPLOYED if applied.changed else Decision.UNCHANGED,
        reason=f"{name} serves {_model_of(service)[0]}" + (f"; traffic: {share}" if share else ""),
        namespace=namespace,
        service=name,
        revision=serving.revision,
        acted=applied.changed,
        evidence={"storage_uri": _model_of(service)[0], "traffic": dict(serving.shares)},
    )


def canary_actions(
    service: str,
    namespace: str,
    *,
    cluster: KubernetesApi,
    tracking: TrackingApi | None,
    registry: RegistryNames,
    progress: Callable[[str], None] = lambda text: None,
) -> CanaryActions:
    """Promoting and rolling back this service, to what it was before the deployment. A service without trivet's labels has no registered
    version: its traffic moves, and MLflow's records stay."""

    def recorded() -> TrackingApi | None:
        observed = cluster.get(INFERENCE_SERVICES, namespace, service)
        if tracking is None or observed is None or states_model(observed):
            return tracking
        progress(f"{service} states no registered version in its labels: links, aliases and stages stay as they are")
        return None

    def promoting(revision: str) -> object:
        return promote(service, namespace, revision=revision, cluster=cluster, tracking=recorded(), registry=registry)

    def rolling_back(revision: str) -> object:
        return roll_back(
            service,
            namespace,
            revision=revision,
            cluster=cluster,
            previous=previous_service(cluster, namespace, service),
            tracking=recorded(),
            registry=registry,
        )

    return CanaryActions(promote=promoting, roll_back=rolling_back)


def previous_service(cluster: KubernetesApi, namespace: str, service: str) -> dict[str, Any] | None:
    """The service as it was before its deployment; None when nobody kept it. Raises PlatformError for what cannot be read."""
    lease = cluster.get(LEASES, namespace, lease_name(service))
    return annotated_object(lease, PREVIOUS, remedy="remove it, and deploy the earlier version by `trivet deploy`")


def _keep(cluster: KubernetesApi, service: Json, *, owner: Json) -> None:
    """Keep ``service``, what ``owner`` was before, unless a canary runs: then it is not what the stable revision is made of."""
    if revisions_of(owner) is not None:
        return
    kept = manifest_of(service)
    metadata = kept["metadata"]
    (metadata.get("annotations") or {}).pop(_KUBECTL, None)
    namespace, name = metadata["namespace"], metadata["name"]
    annotate_lease(
        cluster, namespace, lease_name(name), key=PREVIOUS, value=json.dumps(kept, sort_keys=True), owner=owner
    )


def _model_of(service: Json) -> tuple[str, str]:
    """Storage URI and version of the model that a service states."""
    labels = (service.get("metadata") or {}).get("labels") or {}
    return stated_uri(service), str(labels.get(MODEL_VERSION) or "")
