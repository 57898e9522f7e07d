"""Which alerts fire, as Prometheus says. It needs a Prometheus that evaluates rules, and no Alertmanager."""

from __future__ import annotations

from collections.abc import Collection

from trivet.errors import UsageError
from trivet.integration.prometheus import Prometheus

FIRING = 'ALERTS{alertstate="firing"}'
"""The series that Prometheus writes of alerts (prometheus 3.10 rules/alerting.go, alertMetricName)."""


RULES = "count(ALERTS) or count(trivet:inference_requests:increase5m)"
"""What there is as soon as the rules of `trivet monitor render` are evaluated: without any predictor, InferenceNoData is pending."""


def check_rules(prometheus: Prometheus) -> None:
    """Raise UsageError for a Prometheus that does not evaluate the rules, since its silence says nothing; PrometheusError without an
    answer."""
    if not prometheus.query(RULES):
        raise UsageError(
            f"the Prometheus at {prometheus.url} evaluates no rules of trivet's",
            remedy="give it what `trivet monitor render` writes, and wait for two intervals",
        )


def firing_for(prometheus: Prometheus, service: str) -> Collection[str]:
    """The names of the alerts that fire now for an InferenceService, or that name none; without ``service`` for any. Raises
    PrometheusError."""
    found = prometheus.query(FIRING)
    return {
        one.labels["alertname"]
        for one in found
        if not service or one.labels.get("inferenceservice", service) == service
    }
