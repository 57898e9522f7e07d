"""The quality gate: whether a candidate may replace the version in production."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trivet.errors import PlatformError
from trivet.integration.tracking import TrackingApi, TrackingError

MINIMUM = 0.80
TOLERANCE = 0.02
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """Whether the candidate passed, the reason in one sentence with the numbers, and the values that were compared."""

    passed: bool
    reason: str
    candidate: float | None
    production: float | None
    minimum: float
    tolerance: float


def quality_gate(
    candidate: float | None,
    production: float | None,
    *,
    minimum: float = MINIMUM,
    tolerance: float = TOLERANCE,
) -> GateDecision:
    """Pass a candidate that reaches ``minimum`` and is at most ``tolerance`` below ``production``.

    ``production`` is None when no version is in production: then only ``minimum`` decides, and the reason says so.
    A metric that is missing or not finite never passes.
    """

    def decide(passed: bool, reason: str) -> GateDecision:
        return GateDecision(
            passed=passed,
            reason=reason,
            candidate=candidate,
            production=production,
            minimum=minimum,
            tolerance=tolerance,
        )

    if candidate is None or not math.isfinite(candidate):
        return decide(False, f"the candidate's metric is {_number(candidate)}: it was not measured")
    if production is not None and not math.isfinite(production):
        return decide(False, f"the metric in production is {_number(production)}: there is nothing to compare with")
    if candidate < minimum - _ROUNDING:
        return decide(False, f"{_number(candidate)} is below the minimum {_number(minimum)}")
    if production is None:
        return decide(
            True,
            f"{_number(candidate)} reaches the minimum {_number(minimum)}; no version in production to compare with",
        )
    if candidate < production - tolerance - _ROUNDING:
        return decide(
            False,
            f"{_number(candidate)} is {_number(production - candidate)} below production ({_number(production)}), "
            f"more than the tolerated {_number(tolerance)}",
        )
    return decide(
        True,
        f"{_number(candidate)} reaches the minimum {_number(minimum)} and is within {_number(tolerance)} of production "
        f"({_number(production)}), or above it",
    )


def production_metric(tracking: TrackingApi, model_name: str, alias: str, metric: str) -> float | None:
    """The metric of the run of the version that has the alias, such as ``production``; None when no version has it.

    Raises PlatformError when there is such a version but its run lacks the metric: that differs from "nothing in
    production".
    """
    try:
        version = tracking.get_model_version_by_alias(model_name, alias)
    except TrackingError as error:
        if error.status in (400, 404) and error.code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    metrics = tracking.metrics(version["run_id"])
    if metric not in metrics:
        raise PlatformError(
            f"version {version['version']} of {model_name!r} is in production ({alias!r}), "
            f"but its run {version['run_id']} has no metric {metric!r}",
            remedy=f"compare one of these metrics: {', '.join(sorted(metrics)) or 'none, the run has no metrics'}",
        )
    return metrics[metric]


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"
