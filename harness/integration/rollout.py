"""Plans a roll-out: which change of the InferenceService begins a canary, promotes it or takes it back, and how to read from its status
that the change has come about.

It applies nothing. A change is a dict, a JSON merge patch for any Kubernetes client; whoever sends it waits until :func:`shares` says what
was asked for. Canaries need a Knative mode (Serverless); :func:`rollback` works in every mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trivet.errors import UsageError
from trivet.integration.inference_service import CANARY_PERCENT

_OURS = "trivet.dev/"


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """How to go back.

    ``patch`` is the change. ``revision`` is the revision that will have all traffic afterwards; empty where a new one is made for the
    earlier model. ``reason`` says in a sentence why this way was taken.
    """

    patch: dict[str, Any]
    revision: str
    reason: str


def set_canary(percent: int = CANARY_PERCENT) -> dict[str, Any]:
    """The change that gives the newest revision ``percent`` % of the traffic, and the one rolled out before the rest."""
    if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
        raise UsageError(f"a canary of {percent!r} %", remedy="use a whole number from 0 to 100")
    return _percent(percent)


def promote() -> dict[str, Any]:
    """The change that gives the newest revision all traffic.

    It touches nothing but the percentage: another label or annotation would make a new revision, which would have to start first. The
    percentage is removed, so that the next model is not deployed at 100 % by a number that was left behind.
    """
    return _percent(None)


def rollback(
    observed: Mapping[str, Any], *, previous: Mapping[str, Any] | None = None, previous_is_warm: bool = False
) -> Rollback:
    """The change that takes ``observed``, an InferenceService as the API server has it, back to what it served before.

    While a canary has part of the traffic, the other revision runs, and a percentage of 0 gives it everything at once. After a promotion
    the earlier revision may be down to no pod (Knative's ``min-scale`` holds for revisions with traffic only): sending traffic there at
    once would stall or fail every request until a pod is up. The earlier model is then deployed again, from ``previous``, the
    InferenceService before the roll-out; Knative moves the traffic when the new pods are ready. With ``previous_is_warm`` the caller says
    that pods of the earlier revision are ready, and the percentage is used after a promotion too.

    Raises UsageError when there is nothing to go back to.
    """
    component = _predictor_status(observed)
    rolled_out = str(component.get("latestRolledoutRevision") or "")
    created = str(component.get("latestCreatedRevision") or "")
    name = (observed.get("metadata") or {}).get("name")
    if rolled_out and created != rolled_out:
        return Rollback(
            patch=_percent(0), revision=rolled_out, reason=f"{rolled_out} still has traffic, so its pods are running"
        )
    earlier = str(component.get("previousRolledoutRevision") or "")
    if previous_is_warm and earlier:
        return Rollback(
            patch=_percent(0), revision=earlier, reason=f"the pods of {earlier} are running, as the caller says"
        )
    if previous is None:
        raise UsageError(
            f"{name} has rolled out {rolled_out or 'nothing yet'} completely, and what it served before is not known",
            remedy="keep the InferenceService as it was before the roll-out, and pass it as previous",
        )
    old_uri, new_uri = _storage_uri(previous), _storage_uri(observed)
    if old_uri == new_uri:
        raise UsageError(
            f"{name} serves {new_uri} already, and so did the InferenceService given as previous",
            remedy="pass the InferenceService as it was before the roll-out",
        )
    return Rollback(
        patch=_restoring(observed, previous),
        revision="",
        reason=f"{new_uri} has all traffic, so {old_uri} is deployed anew and takes over when it is ready",
    )


def shares(observed: Mapping[str, Any]) -> dict[str, int]:
    """Revision → percent of the traffic, as the status of an InferenceService says; revisions without traffic are left out."""
    found: dict[str, int] = {}
    for target in _predictor_status(observed).get("traffic") or ():
        if target.get("percent"):
            found[target["revisionName"]] = found.get(target["revisionName"], 0) + int(target["percent"])
    return found


def revision_url(revision: str, namespace: str, *, domain: str = "cluster.local") -> str:
    """Where a revision is asked whatever its share of the traffic is: the Service of its own that Knative gives it.

    It is reached within the cluster only. A request there starts a pod of a revision that was scaled to zero, and waits for it.
    """
    return f"http://{revision}.{namespace}.svc.{domain}"


def is_ready(observed: Mapping[str, Any]) -> bool:
    """Whether an InferenceService says ``Ready=True``."""
    conditions = (observed.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions)


def newest_revision(observed: Mapping[str, Any]) -> str:
    """The newest revision, once it is ready; empty before."""
    component = _predictor_status(observed)
    created = str(component.get("latestCreatedRevision") or "")
    return created if created == component.get("latestReadyRevision") else ""


def _percent(value: int | None) -> dict[str, Any]:
    return {"spec": {"predictor": {"canaryTrafficPercent": value}}}


def _restoring(observed: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch by which ``observed`` gets the predictor of ``previous``, and the labels and annotations that name its model."""
    metadata: dict[str, Any] = {}
    for kind in ("labels", "annotations"):
        now = (observed.get("metadata") or {}).get(kind) or {}
        before = (previous.get("metadata") or {}).get(kind) or {}
        changed: dict[str, Any] = {
            key: before.get(key) for key in {*now, *before} if key.startswith(_OURS) and now.get(key) != before.get(key)
        }
        if changed:
            metadata[kind] = changed
    predictor = _difference(
        (observed.get("spec") or {}).get("predictor") or {}, (previous.get("spec") or {}).get("predictor") or {}
    )
    predictor["canaryTrafficPercent"] = None
    return ({"metadata": metadata} if metadata else {}) | {"spec": {"predictor": predictor}}


def _difference(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) from ``now`` to ``before``."""
    patch: dict[str, Any] = {key: None for key in now if key not in before}
    for key, value in before.items():
        if isinstance(value, Mapping) and isinstance(now.get(key), Mapping):
            if nested := _difference(now[key], value):
                patch[key] = nested
        elif key not in now or now[key] != value:
            patch[key] = value
    return patch


def _predictor_status(observed: Mapping[str, Any]) -> Mapping[str, Any]:
    components = (observed.get("status") or {}).get("components") or {}
    found: Mapping[str, Any] = components.get("predictor") or {}
    return found


def _storage_uri(service: Mapping[str, Any]) -> str:
    predictor = (service.get("spec") or {}).get("predictor") or {}
    return str((predictor.get("model") or {}).get("storageUri") or "")
