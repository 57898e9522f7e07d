"""Examples of the contract over what Knative exports."""

from __future__ import annotations

import yaml
from contract_examples.registry import failing, inconclusive, not_applicable, passing
from contract_examples.static import findings

from trivet.model.finding import Finding

EXPORTED = "monitoring.request_metrics_are_exported"


def config_map(name: str = "config-observability", **data: str) -> str:
    """A ConfigMap of Knative; underscores in keys are hyphens."""
    metadata = {"name": name, "namespace": "knative-serving"}
    keys = {key.replace("__", ".").replace("_", "-"): value for key, value in data.items()}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": keys})


@failing(EXPORTED, because="Knative 1.21 export no metrics of requests: request-metrics-protocol is not set")
def test_a_configuration_that_leaves_the_default() -> list[Finding]:
    return findings(EXPORTED, config_map(metrics_protocol="prometheus"), "current")


@failing(
    EXPORTED,
    because="is none; it does not read metrics.request-metrics-backend-destination",
    at="request-metrics-protocol:",
)
def test_a_configuration_of_before_an_upgrade() -> list[Finding]:
    old = config_map(metrics__request_metrics_backend_destination="prometheus", request_metrics_protocol="none")
    return findings(EXPORTED, old, "current")


@failing(EXPORTED, because="'promotheus', which Knative 1.21 rejects", at="request-metrics-protocol:")
def test_a_protocol_that_does_not_exist() -> list[Finding]:
    return findings(EXPORTED, config_map(request_metrics_protocol="promotheus"), "current")


@passing(EXPORTED, because="serve http_server_request_duration_seconds")
def test_queue_proxies_that_prometheus_can_scrape() -> list[Finding]:
    return findings(EXPORTED, config_map(request_metrics_protocol="prometheus"), "current")


@inconclusive(EXPORTED, because="send their metrics by OTLP (grpc)")
def test_queue_proxies_that_send_their_metrics() -> list[Finding]:
    return findings(EXPORTED, config_map(request_metrics_protocol="grpc"), "current")


@not_applicable(EXPORTED, because="does not say what Knative exports")
def test_another_config_map() -> list[Finding]:
    return findings(EXPORTED, config_map("config-features"), "current")
