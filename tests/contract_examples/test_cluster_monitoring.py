"""Examples of the contracts over metrics: queries as they are published, and the port that KServe names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contract_examples.live import STACK, Instead, findings
from contract_examples.registry import failing, passing

from trivet.contracts import monitoring
from trivet.contracts.monitoring import REQUESTS
from trivet.integration.request_metrics import MLSERVER_REST
from trivet.model.finding import Finding
from trivet.stacks.read import load_stack
from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.cluster


def asking(session: ClusterSession, change: Callable[[str], str]) -> Instead:
    """Prometheus asked in other words."""
    metrics = session.client("metrics")
    return Instead(metrics, query=lambda promql: metrics.query(change(promql)))


@failing("monitoring.requests_are_counted", because="Prometheus has no such series")
def test_a_metric_that_is_published_and_does_not_exist(
    cluster_session: ClusterSession, monkeypatch: pytest.MonkeyPatch
) -> list[Finding]:
    monkeypatch.setattr(monitoring, "SCRAPED", 20.0)
    example = asking(cluster_session, lambda promql: promql.replace(REQUESTS, "kserve_request_total"))
    return findings(cluster_session, "monitoring.requests_are_counted", metrics=example)


@failing("monitoring.requests_are_counted", because="counted by")
def test_a_query_that_counts_readiness_probes(
    cluster_session: ClusterSession, monkeypatch: pytest.MonkeyPatch
) -> list[Finding]:
    monkeypatch.setattr(monitoring, "SCRAPED", 20.0)
    (counter,) = MLSERVER_REST.requests
    example = asking(cluster_session, lambda promql: promql.replace(counter.where, 'path=~".*"'))
    return findings(cluster_session, "monitoring.requests_are_counted", metrics=example)


@passing("monitoring.requests_are_counted")
def test_the_queries_of_the_core_library(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "monitoring.requests_are_counted")


@failing("monitoring.annotated_port_has_metrics", because="returns HTTP 404")
def test_the_port_that_kserve_names(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "monitoring.annotated_port_has_metrics")


@passing("monitoring.annotated_port_has_metrics")
def test_the_port_that_mlserver_has(cluster_session: ClusterSession) -> list[Finding]:
    cluster = cluster_session.client("cluster")
    metrics_port = int(load_stack(STACK).settings["serving"]["metrics_port"])

    def pod_get(pod: str, port: int, path: str) -> Any:
        return cluster.pod_get(pod, metrics_port, path)

    return findings(cluster_session, "monitoring.annotated_port_has_metrics", cluster=Instead(cluster, pod_get=pod_get))
