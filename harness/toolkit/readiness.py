"""Reads the state of Kubernetes objects: conditions, readiness, and the ready pods of an InferenceService."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trivet.integration import is_ready
from trivet.model.clients import ClusterClient

__all__ = [
    "SERVICE_LABEL",
    "conditions",
    "describe_conditions",
    "is_ready",
    "is_terminating",
    "ready_pods",
    "selector_of",
    "service_pods",
]

SERVICE_LABEL = "serving.kserve.io/inferenceservice"
"""KServe's label on the pods and revisions of an InferenceService; its value is the name of the service."""

Object = Mapping[str, Any]


def conditions(observed: Object) -> dict[str, Object]:
    """An object's ``status.conditions`` by type (``status``, ``reason``, ``message`` …); empty when it has no status yet."""
    return {str(one.get("type")): one for one in (observed.get("status") or {}).get("conditions") or ()}


def describe_conditions(observed: Object) -> str:
    """The conditions that are not True: ``Ready=Unknown (PodInitializing: …); IngressReady=False``."""
    if not observed:
        return "no such object"
    found = conditions(observed)
    if not found:
        return "no conditions"
    return "; ".join(_words(one) for one in found.values() if one.get("status") != "True") or "all conditions True"


def _words(condition: Object) -> str:
    why = ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
    return f"{condition.get('type')}={condition.get('status')}" + (f" ({why})" if why else "")


def is_terminating(pod: Object) -> bool:
    """Whether a pod is terminating; it may serve until its grace period ends."""
    return "deletionTimestamp" in pod["metadata"]


def service_pods(cluster: ClusterClient, service: str) -> list[Object]:
    """The pods of an InferenceService, including those that are terminating."""
    found = cluster.get("pod", selector=f"{SERVICE_LABEL}={service}") or {}
    return list(found.get("items") or ())


def ready_pods(pods: Sequence[Object]) -> list[Object]:
    """Those of ``pods`` that are Ready and not terminating."""
    return [pod for pod in pods if is_ready(pod) and not is_terminating(pod)]


def selector_of(labels: Mapping[str, str]) -> str:
    """A label selector for objects that have all of ``labels``."""
    return ",".join(f"{key}={value}" for key, value in labels.items())
