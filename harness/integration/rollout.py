"""Plans a roll-out: the patch of the InferenceService that starts, promotes or rolls back a canary, and functions that read the progress
from its status.

It applies nothing. A patch is a dict, a JSON merge patch for any Kubernetes client; after sending it the caller waits until
:func:`traffic_shares` returns the requested shares. Canaries need a Knative mode (Serverless); :func:`plan_rollback` works in every mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trivet.errors import UsageError
from trivet.integration.inference_service import CANARY_PERCENT, DEPLOYMENT_MODE, is_own_key


@dataclass(frozen=True, kw_only=True)
class RollbackPlan:
    """A rollback to the model served before.

    ``patch`` is the merge patch to send. ``revision`` is the revision that has all traffic afterwards; empty when Knative creates a new
    revision for the earlier model. ``reason`` explains the choice in one sentence.
    """

    patch: dict[str, Any]
    revision: str
    reason: str


def canary_patch(percent: int = CANARY_PERCENT) -> dict[str, Any]:
    """The patch that gives the newest revision ``percent`` % of the traffic, and the last rolled-out revision the rest."""
    if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
        raise UsageError(f"the canary percentage is {percent!r}", remedy="use a whole number from 0 to 100")
    return _percent(percent)


def promotion_patch() -> dict[str, Any]:
    """The patch that gives the newest revision all traffic.

    It changes only the percentage: a changed label or annotation would create a new revision, which would have to start first. The
    percentage is removed rather than set to 100, so that it does not apply to the next model.
    """
    return _percent(None)


def plan_rollback(
    observed: Mapping[str, Any], *, previous: Mapping[str, Any] | None = None, previous_is_warm: bool = False
) -> RollbackPlan:
    """Plan the rollback of ``observed``, an InferenceService as the API server returns it, to the model served before.

    While a canary has part of the traffic, the other revision runs, and a percentage of 0 gives it all traffic at once. After a promotion
    the earlier revision may be scaled to zero (Knative's ``min-scale`` applies only to revisions with traffic): traffic sent there would
    stall or fail until a pod is up. The plan then deploys the earlier model again, from ``previous``, the InferenceService before the
    roll-out; Knative moves the traffic when the new pods are ready. With ``previous_is_warm`` the caller states that pods of the earlier
    revision are ready, and the plan uses the percentage after a promotion too.

    Raises UsageError when there is no earlier model to roll back to.
    """
    component = predictor_status(observed)
    rolled_out = str(component.get("latestRolledoutRevision") or "")
    created = str(component.get("latestCreatedRevision") or "")
    name = (observed.get("metadata") or {}).get("name")
    if rolled_out and created != rolled_out:
        return RollbackPlan(
            patch=_percent(0), revision=rolled_out, reason=f"{rolled_out} still has traffic, so its pods are running"
        )
    earlier = str(component.get("previousRolledoutRevision") or "")
    if previous_is_warm and earlier:
        return RollbackPlan(
            patch=_percent(0), revision=earlier, reason=f"the pods of {earlier} are running (previous_is_warm)"
        )
    if previous is None:
        raise UsageError(
            f"the rollout of {name} is complete ({rolled_out or 'no revision yet'}), and its earlier model is unknown",
            remedy="keep the InferenceService from before the roll-out, and pass it as previous",
        )
    old_uri, new_uri = stated_uri(previous), stated_uri(observed)
    patch = restoring_patch(observed, previous)
    if patch == promotion_patch():
        raise UsageError(
            f"{name} serves {new_uri}, and the InferenceService passed as previous serves the same model",
            remedy="pass the InferenceService from before the roll-out",
        )
    if old_uri == new_uri:
        return RollbackPlan(
            patch=patch,
            revision="",
            reason=f"both serve {new_uri}, so its earlier settings are deployed as a new revision, which takes over when it is ready",
        )
    return RollbackPlan(
        patch=patch,
        revision="",
        reason=f"{new_uri} has all traffic, so {old_uri} is deployed as a new revision, which takes over when it is ready",
    )


def traffic_shares(observed: Mapping[str, Any]) -> dict[str, int]:
    """The percentage of the traffic by revision, from the status of an InferenceService, without revisions that have none."""
    found: dict[str, int] = {}
    for target in predictor_status(observed).get("traffic") or ():
        if target.get("percent"):
            found[target["revisionName"]] = found.get(target["revisionName"], 0) + int(target["percent"])
    return found


def revision_url(revision: str, namespace: str, *, domain: str = "cluster.local") -> str:
    """The URL of one revision, whatever its share of the traffic: of the Service that Knative creates for each revision.

    It is reachable only within the cluster. A request to a revision at zero starts a pod and waits for it.
    """
    return f"http://{revision}.{namespace}.svc.{domain}"


def is_ready(observed: Mapping[str, Any]) -> bool:
    """Whether the status of an InferenceService, or of a pod, has ``Ready=True``."""
    conditions = (observed.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions)


def newest_revision(observed: Mapping[str, Any]) -> str:
    """The newest revision if it is ready, else the empty string."""
    component = predictor_status(observed)
    created = str(component.get("latestCreatedRevision") or "")
    return created if created == component.get("latestReadyRevision") else ""


def _percent(value: int | None) -> dict[str, Any]:
    return {"spec": {"predictor": {"canaryTrafficPercent": value}}}


def restoring_patch(observed: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that gives ``observed`` the predictor of ``previous``, and those of its labels and annotations that trivet writes."""
    metadata: dict[str, Any] = {}
    for kind in ("labels", "annotations"):
        now = (observed.get("metadata") or {}).get(kind) or {}
        before = (previous.get("metadata") or {}).get(kind) or {}
        changed: dict[str, Any] = {
            key: before.get(key) for key in {*now, *before} if is_own_key(key) and now.get(key) != before.get(key)
        }
        if changed:
            metadata[kind] = changed
    predictor = merge_difference(
        (observed.get("spec") or {}).get("predictor") or {}, (previous.get("spec") or {}).get("predictor") or {}
    )
    predictor["canaryTrafficPercent"] = None
    return ({"metadata": metadata} if metadata else {}) | {"spec": {"predictor": predictor}}


def merge_difference(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) from ``now`` to ``before``."""
    patch: dict[str, Any] = {key: None for key in now if key not in before}
    for key, value in before.items():
        if isinstance(value, Mapping) and isinstance(now.get(key), Mapping):
            if nested := merge_difference(now[key], value):
                patch[key] = nested
        elif key not in now or now[key] != value:
            patch[key] = value
    return patch


def predictor_status(observed: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the status of an InferenceService says of its predictor; empty before KServe wrote it."""
    components = (observed.get("status") or {}).get("components") or {}
    found: Mapping[str, Any] = components.get("predictor") or {}
    return found


def deployment_mode(observed: Mapping[str, Any]) -> str:
    """The mode of its annotation, else the one that its status names, which may be the platform's default; empty when neither does."""
    annotations = (observed.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(DEPLOYMENT_MODE) or (observed.get("status") or {}).get("deploymentMode") or "")


def stated_uri(service: Mapping[str, Any]) -> str:
    """The storage URI of the predictor's model; empty without one."""
    predictor = (service.get("spec") or {}).get("predictor") or {}
    return str((predictor.get("model") or {}).get("storageUri") or "")
