"""Examples of the contract over the deployment mode without Knative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from contract_examples.live import STACK, Instead, findings
from contract_examples.registry import failing, passing
from contract_examples.static import stack

from trivet.contracts.deployment import standard_mode
from trivet.model.finding import Finding
from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.cluster

MODE = standard_mode(stack(STACK))


@failing("deployment.standard_mode_answers_when_ready", because=f"after Ready=True in mode {MODE} failed")
def test_a_deployment_whose_probe_asks_for_the_port_only(cluster_session: ClusterSession) -> list[Finding]:
    cluster = cluster_session.client("cluster")

    def apply(document: Mapping[str, Any]) -> Mapping[str, Any]:
        predictor = document["spec"]["predictor"]
        model = {key: value for key, value in predictor["model"].items() if key != "readinessProbe"}
        # Slow to load on any machine: what is answered meanwhile must not hang on its speed.
        model["resources"] = {**model["resources"], "limits": {"cpu": "150m", "memory": "2Gi"}}
        stored: Mapping[str, Any] = cluster.apply({**document, "spec": {"predictor": {**predictor, "model": model}}})
        return stored

    return findings(
        cluster_session, "deployment.standard_mode_answers_when_ready", cluster=Instead(cluster, apply=apply)
    )


@passing("deployment.standard_mode_answers_when_ready")
def test_a_deployment_whose_probe_asks_for_the_model(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "deployment.standard_mode_answers_when_ready")
