"""The quality gate for a registered version."""

from __future__ import annotations

from dataclasses import asdict

from trivet.errors import UsageError
from trivet.integration.gate import production_metric, quality_gate
from trivet.integration.tracking import TrackingApi
from trivet.model.operation import Decision, OperationReport
from trivet.operations.registered_version import registered_version


def gate_version(
    model: str,
    *,
    tracking: TrackingApi,
    metric: str,
    minimum: float,
    tolerance: float,
    production_alias: str = "production",
) -> OperationReport:
    """Whether the version that ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS`` names may be deployed, by a metric of its run.

    A metric that its run lacks does not pass. Raises UsageError for another URI, for a version that does not exist or has no run, and for
    wrong thresholds; TrackingError; PlatformError when the run of the version in production lacks the metric.
    """
    version = registered_version(model, tracking)
    if not version.get("run_id"):
        raise UsageError(
            f"{model} has no run, so that no metric of it is known",
            remedy="register it from the run that trained it",
        )
    decision = quality_gate(
        tracking.metrics(version["run_id"]).get(metric),
        production_metric(tracking, version["name"], production_alias, metric),
        minimum=minimum,
        tolerance=tolerance,
    )
    evidence = {name: value for name, value in asdict(decision).items() if name not in ("passed", "reason")}
    return OperationReport(
        command="trivet gate",
        decision=Decision.PASSED if decision.passed else Decision.FAILED,
        reason=f"{metric} of version {version['version']} of {version['name']!r}: {decision.reason}",
        evidence={
            "model_name": version["name"],
            "model_version": str(version["version"]),
            "run_id": version["run_id"],
            "metric": metric,
            **evidence,
        },
    )
