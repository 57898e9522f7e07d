"""The versions that running components state themselves, as facts. A component that does not answer is unknown, with the reason."""

from __future__ import annotations

import re
from pathlib import Path

from trivet.errors import TrivetError
from trivet.integration import TrackingApi
from trivet.model.clients import ServingClient
from trivet.model.detection import Fact

SERVER = "mlserver"
"""The name by which the runtime whose version is the component ``runtime`` states itself (MLServer 1.5.0 and 1.7.1, GET /v2)."""


def tracking_version(tracking: TrackingApi) -> Fact:
    """The version of MLflow that a tracking server states at ``/version``."""
    try:
        return Fact(name="mlflow", value=tracking.server_version(), source=f"GET {tracking.uri}/version")
    except TrivetError as error:
        return Fact(name="mlflow", reason=error.message)


def runtime_version(serving: ServingClient) -> Fact:
    """The version that the server of a deployed model states: the server metadata of the V2 protocol, ``GET /v2``."""
    try:
        exchange = serving.get("/v2")
    except TrivetError as error:
        return Fact(name="runtime", reason=error.message)
    body = exchange.body if isinstance(exchange.body, dict) else {}
    if exchange.status == 200 and body.get("name") == SERVER and body.get("version"):
        return Fact(name="runtime", value=str(body["version"]), source="GET /v2 of the served model, version")
    return Fact(
        name="runtime", reason=f"GET /v2 of the served model: HTTP {exchange.status}: {str(exchange.body)[:200]}"
    )


def sdk_version(compiled: Path) -> Fact:
    """The version of the KFP SDK that compiled a pipeline, as it writes it into the pipeline (kfp 2.9.0 and 2.17.0: ``sdkVersion``)."""
    found = re.search(r"^sdkVersion: kfp-(\S+)$", compiled.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        return Fact(name="kfp", reason=f"the compiled pipeline {compiled.name} has no sdkVersion")
    return Fact(name="kfp", value=found[1], source=f"sdkVersion of the compiled pipeline {compiled.name}")
