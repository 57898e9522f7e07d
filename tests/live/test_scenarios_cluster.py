"""Incidents on a cluster, the catalogue's first three and two others: each happens, its remedy protects, and no fault is left."""

from __future__ import annotations

from typing import Any

import pytest

from trivet.engine.registry import Registry
from trivet.engine.scenarios.choose import choose
from trivet.engine.scenarios.play import play_all
from trivet.model.scenario import ScenarioResult, Verdict
from trivet.targets.cluster.session import ClusterSession


def played(session: ClusterSession, *patterns: str) -> dict[str, Any]:
    """Variant → its result, of the scenarios that come with trivet."""
    results: list[ScenarioResult] = list(
        play_all(choose(Registry().scenarios, patterns), session, lambda event: None, allow_faults=False)
    )
    return {variant.name: variant for result in results for variant in result.variants}


def policies(session: ClusterSession) -> list[str]:
    return [
        policy["metadata"]["name"]
        for namespace in (session.namespaces.pipelines, session.namespaces.serving)
        for policy in session.access.kubectl.objects("networkpolicy", namespace=namespace)
    ]


@pytest.mark.cluster
def test_a_cut_network_leaves_a_green_pipeline_without_a_run_unless_training_insists(
    cluster_session: ClusterSession,
) -> None:
    before = policies(cluster_session)
    found = played(
        cluster_session, "tracking_unreachable.pipeline*[try-except]", "tracking_unreachable.pipeline*[component]"
    )
    assert {name: one.verdict for name, one in found.items()} == {
        "try-except": Verdict.VULNERABLE,
        "component": Verdict.PROTECTED,
    }, [one.reason for one in found.values()]
    assert "Max retries exceeded" in str(found["try-except"].measured["client_error"])
    assert policies(cluster_session) == before


@pytest.mark.catalogue
def test_a_run_with_holes_is_green_unless_training_keeps_what_mlflow_did_not_take(
    cluster_session: ClusterSession,
) -> None:
    found = played(cluster_session, "tracking_failure.*[outage]", "tracking_failure.*[outage-buffered]")
    assert {name: one.verdict for name, one in found.items()} == {
        "outage": Verdict.VULNERABLE,
        "outage-buffered": Verdict.PROTECTED,
    }, [one.reason for one in found.values()]
    assert found["outage-buffered"].measured["run_status"] == "FINISHED"


@pytest.mark.cluster
def test_a_model_that_is_not_there_is_found_missing_before_it_is_deployed(cluster_session: ClusterSession) -> None:
    found = played(cluster_session, "model_not_found.*[too-high]", "model_not_found.*[resolved-uri]")
    assert {name: one.verdict for name, one in found.items()} == {
        "too-high": Verdict.VULNERABLE,
        "resolved-uri": Verdict.PROTECTED,
    }, [one.reason for one in found.values()]
    assert "no MLmodel" in str(found["too-high"].measured["before_deployment"])
    assert found["resolved-uri"].measured["before_deployment"] == "accepted: the URI has an MLmodel"


@pytest.mark.cluster
def test_a_rollback_to_a_revision_at_zero_loses_requests_and_the_core_librarys_loses_none(
    cluster_session: ClusterSession,
) -> None:
    found = played(cluster_session, "rollback.*[percent-zero]", "rollback.*[library]")
    assert {name: one.verdict for name, one in found.items()} == {
        "percent-zero": Verdict.VULNERABLE,
        "library": Verdict.PROTECTED,
    }, [one.reason for one in found.values()]


@pytest.mark.catalogue
def test_a_canary_with_wrong_values_passes_constants_and_the_core_librarys_judge_takes_it_back(
    cluster_session: ClusterSession,
) -> None:
    found = played(cluster_session, "bad_canary.*[constants]", "bad_canary.*[wrong-values]")
    assert {name: one.verdict for name, one in found.items()} == {
        "constants": Verdict.VULNERABLE,
        "wrong-values": Verdict.PROTECTED,
    }, [one.reason for one in found.values()]
