"""The quality gate: whether a candidate may replace the version in production."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trivet.errors import PlatformError, UsageError, choices, nearest
from trivet.integration.tracking import Json, TrackingApi, TrackingError, quoted

MINIMUM = 0.80
TOLERANCE = 0.02
_ROUNDING = 1e-9
_NEARLY_THE_SAME = 0.9
"""Similarity of names from which a missing alias is a misspelt one: "producton", but neither "production-eu" nor "prod"."""


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
    A metric that is missing or not finite never passes. Raises UsageError when ``minimum`` is no finite number, or ``tolerance`` none
    from 0 on.
    """
    if not math.isfinite(minimum) or not math.isfinite(tolerance) or tolerance < 0:
        raise UsageError(
            f"the minimum is {minimum!r} and the tolerance is {tolerance!r}",
            remedy="use finite numbers, and a tolerance of at least 0",
        )

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

    ``alias`` may be a stage too, such as ``Production``, for a registry that has versions in it; of several the newest counts.

    Raises UsageError when there is no registered model of that name, or when none of its versions has the alias but an alias or stage
    that is nearly the same: the gate would compare with nothing. Raises PlatformError when there is such a version but its run lacks the
    metric: that differs from "nothing in production".
    """
    version = _version_in_production(tracking, model_name, alias)
    if version is None:
        return None
    metrics = tracking.metrics(version["run_id"])
    if metric not in metrics:
        raise PlatformError(
            f"version {version['version']} of {model_name!r} is in production ({alias!r}), "
            f"but its run {version['run_id']} has no metric {metric!r}",
            remedy=f"compare one of these metrics: {', '.join(sorted(metrics)) or 'none, the run has no metrics'}",
        )
    return metrics[metric]


def _version_in_production(tracking: TrackingApi, model_name: str, alias: str) -> Json | None:
    try:
        return tracking.get_model_version_by_alias(model_name, alias)
    except TrackingError as error:
        if error.status not in (400, 404) or error.code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    try:
        aliases = [str(entry["alias"]) for entry in tracking.get_registered_model(model_name).get("aliases", [])]
    except TrackingError as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        names = [str(model["name"]) for model in tracking.all_registered_models()]
        raise UsageError(
            f"there is no registered model {model_name!r} to compare with",
            remedy=choices(model_name, names) if names else "register the candidate before the gate compares it",
        ) from error
    staged: dict[str, list[Json]] = {}
    for version in tracking.search_model_versions(f"name = {quoted(model_name)}"):
        staged.setdefault(str(version.get("current_stage") or "None"), []).append(version)
    staged.pop("None", None)
    if alias in staged:
        return max(staged[alias], key=lambda version: int(version["version"]))
    if near := nearest(alias, [*aliases, *staged], cutoff=_NEARLY_THE_SAME):
        raise UsageError(
            f"no version of {model_name!r} has the alias {alias!r}, but one has {near!r}",
            remedy=f"write {near!r}, or give the version in production the alias {alias!r}",
        )
    return None


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"
