"""Every scenario on a cluster with a fault that silently does nothing: no verdict, and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from trivet.engine.registry import Registry
from trivet.engine.scenarios.play import play_all
from trivet.model.feature import PIPELINE_BACKEND, lacking
from trivet.model.scenario import Case, Scenario, Verdict
from trivet.targets.cluster.session import ClusterSession
from trivet.toolkit.faults import idle

SCENARIOS = Registry().scenarios
ALWAYS = ("tracking_unreachable.pipeline_succeeds_without_run", "model_not_found.wrong_storage_uri")
"""Those that are played with the cluster's tests; the others are controlled with the whole catalogue."""


def idling(scenario: Scenario) -> Scenario:
    """The same scenario, its fault doing nothing."""

    def stage(**given: Any) -> Iterator[Case]:
        with contextmanager(scenario.stage)(**given) as case:
            yield replace(case, fault=idle(case.fault))

    return replace(scenario, stage=stage)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.cluster if name in ALWAYS else pytest.mark.catalogue) for name in SCENARIOS],
)
def test_a_fault_that_silently_does_nothing_is_inconclusive(cluster_session: ClusterSession, name: str) -> None:
    idle_scenario = idling(SCENARIOS[name])
    if PIPELINE_BACKEND in idle_scenario.features and (
        without := lacking(idle_scenario.features, cluster_session.features())
    ):
        pytest.skip(without)
    (result,) = play_all(
        [(idle_scenario, idle_scenario.variants[:1])], cluster_session, lambda event: None, allow_faults=False
    )
    (variant,) = result.variants
    assert variant.verdict is Verdict.INCONCLUSIVE, variant.reason
    assert "waiting for the fault to be verified" in variant.reason
