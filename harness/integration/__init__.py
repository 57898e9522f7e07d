"""The core integration library, which pipelines and platform teams import. It needs ``requests`` and nothing else, and no
pytest.

It follows a model from MLflow to KServe: resolve its storage URI, check its signature, apply the quality gate, build the
InferenceService, link run, version and service, roll the model out, judge the canary, promote it or roll it back.
"""

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
