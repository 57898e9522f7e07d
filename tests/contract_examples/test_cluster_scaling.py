"""Examples of the contracts over numbers of replicas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from contract_examples.live import Instead, findings
from contract_examples.registry import failing, passing

from trivet.contracts import scaling
from trivet.model.finding import Finding
from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.cluster

QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "trivet-no-more-pods"},
    "spec": {"hard": {"count/pods": "0"}},
}


@failing("scaling.min_replicas_are_ready", because="minReplicas is 2, but the numbers of ready pods were")
def test_a_replica_that_is_lost_while_the_quota_is_used_up(
    cluster_session: ClusterSession, monkeypatch: pytest.MonkeyPatch
) -> list[Finding]:
    monkeypatch.setattr(scaling, "REACHED", 20.0)
    cluster = cluster_session.client("cluster")
    lost: list[str] = []

    def get(kind: str, name: str = "", **where: str) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = cluster.get(kind, name, **where)
        if kind == "pod" and found and found["items"] and not lost:
            cluster.apply(QUOTA)
            lost.append(found["items"][0]["metadata"]["name"])
            cluster.delete("pod", lost[0])
            found = cluster.get(kind, name, **where)
        return found

    try:
        return findings(cluster_session, "scaling.min_replicas_are_ready", cluster=Instead(cluster, get=get))
    finally:
        cluster.delete("resourcequota", QUOTA["metadata"]["name"])  # type: ignore[index]


@passing("scaling.min_replicas_are_ready")
def test_the_replicas_of_a_service(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "scaling.min_replicas_are_ready")


@failing("scaling.scales_to_zero_and_back", because="last seen idle-classifier")
def test_a_service_that_keeps_a_pod(cluster_session: ClusterSession, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    monkeypatch.setattr(scaling, "TO_ZERO", 60.0)
    cluster = cluster_session.client("cluster")

    def apply(document: Mapping[str, Any]) -> Mapping[str, Any]:
        predictor = {**document["spec"]["predictor"], "minReplicas": 1}
        stored: Mapping[str, Any] = cluster.apply({**document, "spec": {"predictor": predictor}})
        return stored

    return findings(cluster_session, "scaling.scales_to_zero_and_back", cluster=Instead(cluster, apply=apply))


@passing("scaling.scales_to_zero_and_back")
def test_a_service_that_goes_and_comes_back(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "scaling.scales_to_zero_and_back")
