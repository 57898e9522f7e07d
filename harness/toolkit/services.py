"""InferenceServices of their own, for checks that must not disturb the one that was handed over."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trivet.integration import build_inference_service, is_ready
from trivet.model.clients import ClusterClient
from trivet.model.handover import ServableModel
from trivet.toolkit.readiness import describe_conditions
from trivet.toolkit.waiting import eventually

READY = 240.0
"""Seconds that a service may take to become Ready. A pod starts in 20 to 40 on two busy cores."""

MINIMAL_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "25m", "memory": "256Mi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}
"""What a service for a check asks for: a node of two cores has little left beside the platform itself."""

Service = Mapping[str, Any]


def minimal_service(name: str, model: ServableModel, **changes: Any) -> dict[str, Any]:
    """The core library's InferenceService for a model, with minimal resources and up to two replicas.

    ``changes`` are arguments of ``trivet.integration.build_inference_service``, such as ``namespace``.
    """
    arguments: dict[str, Any] = {
        "storage_uri": model.storage_uri,
        "run_id": model.run_id,
        "pipeline": "trivet",
        "model_name": model.registered,
        "model_version": model.version,
        "max_replicas": 2,
        "resources": MINIMAL_RESOURCES,
    }
    return build_inference_service(name=name, **{**arguments, **changes})


@contextlib.contextmanager
def deployed(cluster: ClusterClient, service: Service, *, timeout: float = READY) -> Iterator[Service]:
    """``service`` applied, as the API server has it once it is Ready; deleted at the end of the block.

    Raises CannotTell, with its conditions, when it is not Ready after ``timeout`` seconds.
    """
    name = service["metadata"]["name"]
    try:
        cluster.apply(service)
        yield wait_for_service(cluster, name, "to be Ready", is_ready, timeout=timeout)
    finally:
        cluster.delete("inferenceservice", name)


def wait_for_service(
    cluster: ClusterClient, name: str, what: str, until: Callable[[Service], object], *, timeout: float
) -> Service:
    """The InferenceService ``name`` once ``until`` is true of it; ``what`` completes "waiting for InferenceService x …".

    Raises CannotTell, with its conditions, after ``timeout`` seconds.
    """
    return eventually(
        f"InferenceService {name} {what}",
        lambda: cluster.get("inferenceservice", name) or {},
        until=until,
        describe=lambda observed: describe_conditions(observed or {}),
        timeout=timeout,
        poll=0.3,
    )
