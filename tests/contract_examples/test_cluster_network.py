"""Examples of the contracts over paths through the network: real policies make the failing examples."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from contract_examples.live import Instead, findings
from contract_examples.registry import failing, passing

from trivet.contracts import network
from trivet.model.finding import Finding
from trivet.targets.cluster.session import ClusterSession
from trivet.toolkit.tcp_probe import Connection

pytestmark = pytest.mark.cluster

PLATFORM = "trivet-platform"


@contextmanager
def policy(session: ClusterSession, namespace: str, spec: Mapping[str, Any], *, until: str) -> Iterator[None]:
    """A further NetworkPolicy in effect: the first path of that name is no longer as the platform has it."""
    kubectl, cluster = session.access.kubectl, session.client("cluster")
    (path,) = [path for path in cluster.paths if path.name == until]

    def settle(*, changed: bool) -> None:
        deadline = time.monotonic() + network.EFFECT
        while ((network._probed(cluster, path) == Connection.OPEN) is path.allowed) is changed:
            assert time.monotonic() < deadline, f"{until} is {'not ' if changed else 'still '}as the policy has it"
            time.sleep(0.5)

    metadata = {"name": "trivet-control", "namespace": namespace}
    document = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
    try:
        kubectl.apply(document)
        settle(changed=True)
        yield
    finally:
        kubectl.delete("networkpolicy", "trivet-control", namespace=namespace)
        settle(changed=False)


@failing("network.policies_are_enforced", because="waiting for the policy to block the connection: last seen open")
def test_a_policy_that_nothing_enforces(cluster_session: ClusterSession) -> list[Finding]:
    cluster = cluster_session.client("cluster")

    def apply(document: Mapping[str, Any]) -> Mapping[str, Any]:
        if document["kind"] == "NetworkPolicy":
            nobody = {**document["spec"], "podSelector": {"matchLabels": {"trivet.dev/probe": "nobody"}}}
            document = {**document, "spec": nobody}
        stored: Mapping[str, Any] = cluster.apply(document)
        return stored

    return findings(cluster_session, "network.policies_are_enforced", cluster=Instead(cluster, apply=apply))


@passing("network.policies_are_enforced")
def test_a_policy_of_the_cluster(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "network.policies_are_enforced")


@failing("network.needed_paths_are_open", because="but the platform needs it")
def test_a_policy_that_keeps_pipelines_from_everything_but_names(cluster_session: ClusterSession) -> list[Finding]:
    names = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": names}]}
    pipelines = cluster_session.client("cluster").pipeline_namespace
    with policy(cluster_session, pipelines, spec, until="pipelines to MLflow"):
        return findings(cluster_session, "network.needed_paths_are_open")


@passing("network.needed_paths_are_open")
def test_the_paths_that_the_platform_needs(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "network.needed_paths_are_open")


@failing("network.forbidden_paths_are_closed", because="but the platform forbids it")
def test_a_policy_that_lets_everybody_in(cluster_session: ClusterSession) -> list[Finding]:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
    with policy(cluster_session, PLATFORM, spec, until="services to the database"):
        return findings(cluster_session, "network.forbidden_paths_are_closed")


@passing("network.forbidden_paths_are_closed")
def test_the_paths_that_the_platform_forbids(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "network.forbidden_paths_are_closed")
