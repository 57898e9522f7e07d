"""The core integration library: what pipelines and platform teams import. Needs ``requests`` and nothing else; no
pytest in here.

A model on its way from MLflow to KServe: resolve its storage URI, check its signature, gate it, build the
InferenceService, link the two, roll it out, judge the canary, promote it or take it back.
"""

from trivet.integration.artifacts import UriProblem, check_storage_uri, resolve_storage_uri, scheme_of
from trivet.integration.canary import (
    Arm,
    Aspect,
    Check,
    Decision,
    Judgement,
    Limits,
    Standing,
    check,
    judge,
    measured,
    observe,
)
from trivet.integration.gate import GateDecision, gate, production_metric
from trivet.integration.inference_service import build_inference_service
from trivet.integration.labels import is_label_value, label_value
from trivet.integration.lineage import Lineage, Link, link, read_link, services_of_run, trace_service, verify_link
from trivet.integration.requirements import pinned_requirements
from trivet.integration.rollout import (
    Rollback,
    is_ready,
    newest_revision,
    promote,
    revision_url,
    rollback,
    set_canary,
    shares,
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
    "Arm",
    "Aspect",
    "Check",
    "Column",
    "Decision",
    "GateDecision",
    "Judgement",
    "Limits",
    "Lineage",
    "Link",
    "Rollback",
    "Signature",
    "Standing",
    "Tensor",
    "TrackingApi",
    "TrackingError",
    "UriProblem",
    "build_inference_service",
    "check",
    "check_rows",
    "check_signature",
    "check_storage_uri",
    "check_successor",
    "gate",
    "is_label_value",
    "is_ready",
    "judge",
    "label_value",
    "link",
    "measured",
    "newest_revision",
    "observe",
    "pinned_requirements",
    "production_metric",
    "promote",
    "read_link",
    "read_signature",
    "resolve_storage_uri",
    "revision_url",
    "rollback",
    "scheme_of",
    "services_of_run",
    "set_canary",
    "shares",
    "trace_service",
    "v2_request",
    "v2_values",
    "verify_link",
]
