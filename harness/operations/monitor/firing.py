"""Which alerts fire, as Prometheus says. It needs a Prometheus that evaluates rules, and no Alertmanager."""

from __future__ import annotations

from collections.abc import Collection

from trivet.integration.prometheus import Prometheus

FIRING = 'ALERTS{alertstate="firing"}'
"""The series that Prometheus writes of alerts (prometheus 3.10 rules/alerting.go, alertMetricName)."""


def firing_for(prometheus: Prometheus, service: str) -> Collection[str]:
    """The names of the alerts that fire now for an InferenceService, or that name none. Raises PrometheusError."""
    found = prometheus.query(FIRING)
    return {one.labels["alertname"] for one in found if one.labels.get("inferenceservice", service) == service}
