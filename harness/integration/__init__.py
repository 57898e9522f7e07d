"""The core integration library, which pipelines and platform teams import. It needs ``requests`` and nothing else, and no
pytest.

It follows a model from MLflow to KServe: resolve its storage URI, check its signature, apply the quality gate, build the
InferenceService, link run, version and service, roll the model out, judge the canary, promote it or roll it back. A name's module is
imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trivet.integration.artifacts import UriProblem, check_storage_uri, resolve_storage_uri, uri_scheme
    from trivet.integration.canary import (
        CanaryAspect,
        CanaryDecision,
        CanaryJudge,
        CanaryJudgement,
        CanaryLimits,
        ExpectedDecision,
        expected_decision_time,
    )
    from trivet.integration.canary_counts import ArmCounts, CanaryWindow
    from trivet.integration.deployment import (
        Applied,
        DeploymentError,
        PreconditionFailed,
        RegistryNames,
        Serving,
        apply_inference_service,
        promote,
        record_traffic,
        roll_back,
        wait_until_serving,
    )
    from trivet.integration.gate import GateDecision, production_metric, quality_gate
    from trivet.integration.inference_service import build_inference_service
    from trivet.integration.known_requests import KnownRequest, read_known_requests
    from trivet.integration.kubernetes_api import ConflictError, KubernetesApi, KubernetesError, connect
    from trivet.integration.labels import is_label_value, label_value
    from trivet.integration.lineage import (
        Lineage,
        ServiceLink,
        link_service,
        read_link,
        services_of_run,
        trace_service,
        unlink_service,
        verify_link,
    )
    from trivet.integration.requirements import pinned_requirements
    from trivet.integration.rollout import (
        RollbackPlan,
        canary_patch,
        is_ready,
        newest_revision,
        plan_rollback,
        promotion_patch,
        revision_url,
        traffic_shares,
    )
    from trivet.integration.signatures import (
        Column,
        Signature,
        Tensor,
        check_rows,
        check_signature,
        check_successor,
        read_signature,
        v2_request,
        v2_values,
    )
    from trivet.integration.tracking import TrackingApi, TrackingError

__all__ = [
    "Applied",
    "ArmCounts",
    "CanaryAspect",
    "CanaryDecision",
    "CanaryJudge",
    "CanaryJudgement",
    "CanaryLimits",
    "CanaryWindow",
    "Column",
    "ConflictError",
    "DeploymentError",
    "ExpectedDecision",
    "GateDecision",
    "KnownRequest",
    "KubernetesApi",
    "KubernetesError",
    "Lineage",
    "PreconditionFailed",
    "RegistryNames",
    "RollbackPlan",
    "ServiceLink",
    "Serving",
    "Signature",
    "Tensor",
    "TrackingApi",
    "TrackingError",
    "UriProblem",
    "apply_inference_service",
    "build_inference_service",
    "canary_patch",
    "check_rows",
    "check_signature",
    "check_storage_uri",
    "check_successor",
    "connect",
    "expected_decision_time",
    "is_label_value",
    "is_ready",
    "label_value",
    "link_service",
    "newest_revision",
    "pinned_requirements",
    "plan_rollback",
    "production_metric",
    "promote",
    "promotion_patch",
    "quality_gate",
    "read_known_requests",
    "read_link",
    "read_signature",
    "record_traffic",
    "resolve_storage_uri",
    "revision_url",
    "roll_back",
    "services_of_run",
    "trace_service",
    "traffic_shares",
    "unlink_service",
    "uri_scheme",
    "v2_request",
    "v2_values",
    "verify_link",
    "wait_until_serving",
]

_LATER = {
    "trivet.integration.artifacts": (
        "UriProblem",
        "check_storage_uri",
        "resolve_storage_uri",
        "uri_scheme",
    ),
    "trivet.integration.canary": (
        "CanaryAspect",
        "CanaryDecision",
        "CanaryJudge",
        "CanaryJudgement",
        "CanaryLimits",
        "ExpectedDecision",
        "expected_decision_time",
    ),
    "trivet.integration.canary_counts": (
        "ArmCounts",
        "CanaryWindow",
    ),
    "trivet.integration.deployment": (
        "Applied",
        "DeploymentError",
        "PreconditionFailed",
        "RegistryNames",
        "Serving",
        "apply_inference_service",
        "promote",
        "record_traffic",
        "roll_back",
        "wait_until_serving",
    ),
    "trivet.integration.gate": (
        "GateDecision",
        "production_metric",
        "quality_gate",
    ),
    "trivet.integration.inference_service": ("build_inference_service",),
    "trivet.integration.known_requests": ("KnownRequest", "read_known_requests"),
    "trivet.integration.kubernetes_api": (
        "ConflictError",
        "KubernetesApi",
        "KubernetesError",
        "connect",
    ),
    "trivet.integration.labels": (
        "is_label_value",
        "label_value",
    ),
    "trivet.integration.lineage": (
        "Lineage",
        "ServiceLink",
        "link_service",
        "read_link",
        "services_of_run",
        "trace_service",
        "unlink_service",
        "verify_link",
    ),
    "trivet.integration.requirements": ("pinned_requirements",),
    "trivet.integration.rollout": (
        "RollbackPlan",
        "canary_patch",
        "is_ready",
        "newest_revision",
        "plan_rollback",
        "promotion_patch",
        "revision_url",
        "traffic_shares",
    ),
    "trivet.integration.signatures": (
        "Column",
        "Signature",
        "Tensor",
        "check_rows",
        "check_signature",
        "check_successor",
        "read_signature",
        "v2_request",
        "v2_values",
    ),
    "trivet.integration.tracking": (
        "TrackingApi",
        "TrackingError",
    ),
}
"""The names by their module: the same as under ``TYPE_CHECKING``."""

_HOMES = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
