"""Separate services for contracts that must not disturb the service of the handover."""

from __future__ import annotations

from typing import Any

from trivet.authoring import (
    Handover,
    ServableModel,
    minimal_service,
)
from trivet.integration.inference_service import DEPLOYMENT_MODE


def service_like(handover: Handover, name: str, **changes: Any) -> dict[str, Any]:
    """The core library's service ``name`` for the model of the handover, deployed in the same way except for ``changes``."""
    metadata, predictor = handover.service["metadata"], handover.service["spec"]["predictor"]
    model = ServableModel(
        name=name,
        storage_uri=handover.storage_uri,
        answer=(),
        registered=handover.model.registered_name,
        version=handover.model.version,
        run_id=handover.model.run_id,
    )
    deployment = {
        "namespace": metadata.get("namespace", "default"),
        "deployment_mode": metadata.get("annotations", {}).get(DEPLOYMENT_MODE, "Serverless"),
        "cpu_target": predictor.get("scaleTarget"),
    }
    return minimal_service(name, model, **{**deployment, **changes})
