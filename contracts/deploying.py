"""Separate services for contracts that must not disturb the service of the handover. Not a contract module."""

from __future__ import annotations

from typing import Any

from trivet.contracts.manifests import MODE
from trivet.integration import build_inference_service
from trivet.model.handover import Handover
from trivet.toolkit.rollout import FRUGAL


def service_like(handover: Handover, name: str, **changes: Any) -> dict[str, Any]:
    """The core library's service ``name`` for the model of the handover, deployed in the same way except for ``changes``."""
    metadata, predictor = handover.service["metadata"], handover.service["spec"]["predictor"]
    deployment = {
        "deployment_mode": metadata.get("annotations", {}).get(MODE, "Serverless"),
        "cpu_target": predictor.get("scaleTarget"),
        "max_replicas": 2,
        "resources": FRUGAL,
    }
    return build_inference_service(
        name=name,
        namespace=metadata.get("namespace", "default"),
        storage_uri=handover.storage_uri,
        run_id=handover.model.run_id,
        pipeline="trivet",
        model_name=handover.model.registered_name,
        model_version=handover.model.version,
        **{**deployment, **changes},
    )
