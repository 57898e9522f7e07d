"""Examples of the contracts over a roll-out: the core library's own, and one with what upstream does by default."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from contract_examples.live import findings
from contract_examples.registry import failing, passing

from trivet.integration import RollbackPlan, canary_patch, newest_revision
from trivet.model.finding import Finding
from trivet.model.rollout import Rollout, RolloutChange
from trivet.targets.cluster.session import ClusterSession
from trivet.toolkit.rollout import drive

pytestmark = pytest.mark.cluster

LOADING = 15.0
"""Seconds that the example's models take to load: what a service answers meanwhile must not hang on the speed of the machine."""


def bare(service: dict[str, Any]) -> dict[str, Any]:
    """Without what the core library adds to KServe's defaults: no readiness probe, Knative's own autoscaler."""
    predictor = service["spec"]["predictor"]
    predictor["model"].pop("readinessProbe")
    for field in ("scaleMetric", "scaleTarget"):
        predictor.pop(field, None)
    service["metadata"]["annotations"].pop("autoscaling.knative.dev/class", None)
    return service


@pytest.fixture(scope="session")
def by_default(cluster_session: ClusterSession) -> Rollout:
    """A roll-out of services without a readiness probe, rolled back by its percentage when the earlier revision is at zero."""
    cluster = cluster_session.client("cluster")

    def rollback(observed: Mapping[str, Any], previous: Mapping[str, Any]) -> RollbackPlan:
        old, deadline = newest_revision(previous), time.monotonic() + 180
        while cluster.get("pod", selector=f"serving.knative.dev/revision={old}")["items"]:
            assert time.monotonic() < deadline, f"{old} is not scaled to zero"
            time.sleep(1)
        return RollbackPlan(patch=canary_patch(0), revision=old, reason="the published way")

    return drive(
        cluster=cluster,
        traffic=cluster_session.client("traffic"),
        models=cluster_session.client("models"),
        name="bare-classifier",
        alter=bare,
        rollback=rollback,
        last=RolloutChange.ROLLED_BACK,
        load_seconds=LOADING,
    )


@failing("rollout.ready_means_loaded", because="is not ready yet")
def test_a_service_without_a_readiness_probe(cluster_session: ClusterSession, by_default: Rollout) -> list[Finding]:
    return findings(cluster_session, "rollout.ready_means_loaded", rollout=by_default)


@passing("rollout.ready_means_loaded")
def test_a_service_whose_probe_asks_for_the_model(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "rollout.ready_means_loaded")


@failing("rollout.traffic_split_matches_the_request", because="but 32 % were requested")
def test_a_split_of_another_percentage(cluster_session: ClusterSession) -> list[Finding]:
    asked = replace(cluster_session.client("rollout"), percent=32)
    return findings(cluster_session, "rollout.traffic_split_matches_the_request", rollout=asked)


@passing("rollout.traffic_split_matches_the_request")
def test_the_split_that_was_asked_for(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "rollout.traffic_split_matches_the_request")


@failing("rollout.promotion_loses_no_request", because="is not ready yet")
def test_a_canary_that_has_not_loaded_its_model(cluster_session: ClusterSession, by_default: Rollout) -> list[Finding]:
    return findings(cluster_session, "rollout.promotion_loses_no_request", rollout=by_default)


@passing("rollout.promotion_loses_no_request")
def test_a_promotion_by_the_core_library(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "rollout.promotion_loses_no_request")


@failing("rollout.rollback_loses_no_request", because="around rollback were lost")
def test_a_rollback_to_a_revision_at_zero(cluster_session: ClusterSession, by_default: Rollout) -> list[Finding]:
    return findings(cluster_session, "rollout.rollback_loses_no_request", rollout=by_default)


@passing("rollout.rollback_loses_no_request")
def test_rollbacks_by_the_core_library(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "rollout.rollback_loses_no_request")


@failing("rollout.status_names_the_serving_revisions", because="neither model answered")
def test_a_status_that_names_a_revision_before_it_answers(
    cluster_session: ClusterSession, by_default: Rollout
) -> list[Finding]:
    return findings(cluster_session, "rollout.status_names_the_serving_revisions", rollout=by_default)


@passing("rollout.status_names_the_serving_revisions")
def test_the_status_of_a_roll_out(cluster_session: ClusterSession) -> list[Finding]:
    return findings(cluster_session, "rollout.status_names_the_serving_revisions")
