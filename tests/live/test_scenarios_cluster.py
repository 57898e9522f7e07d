"""The catalogue's first three incidents on a cluster: each happens, its remedy protects, and a fault that does nothing shows nothing."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from trivet.engine.registry import Registry
from trivet.engine.scenarios.choose import choose
from trivet.engine.scenarios.faults import idle
from trivet.engine.scenarios.play import play_all
from trivet.model.fault import SERVING, Touch, Verb
from trivet.model.scenario import Case, Scenario, ScenarioResult, Verdict
from trivet.targets.cluster.hands import ClusterFaults
from trivet.targets.cluster.session import ClusterSession
from trivet.targets.local.journal import Run, clean, leftovers

pytestmark = pytest.mark.cluster


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


def test_a_cut_network_leaves_a_green_pipeline_without_a_run_unless_training_insists(
    cluster_session: ClusterSession,
) -> None:
    before = policies(cluster_session)
    found = played(cluster_session, "tracking_cut.*[try-except]", "tracking_cut.*[component]")
    assert {name: one.verdict for name, one in found.items()} == {
        "try-except": Verdict.VULNERABLE,
        "component": Verdict.PROTECTED,
    }, [one.reason for one in found.values()]
    assert "Max retries exceeded" in str(found["try-except"].measured["client_said"])
    assert policies(cluster_session) == before


def test_a_model_that_is_not_there_is_found_missing_before_it_is_deployed(cluster_session: ClusterSession) -> None:
    found = played(cluster_session, "model_not_found.*[too-high]", "model_not_found.*[resolved-uri]")
    assert {name: one.verdict for name, one in found.items()} == {
        "too-high": Verdict.VULNERABLE,
        "resolved-uri": Verdict.PROTECTED,
    }, [one.reason for one in found.values()]
    assert "no MLmodel" in str(found["too-high"].measured["before_deployment"])
    assert found["resolved-uri"].measured["before_deployment"] == "a model lies there"


def test_a_rollback_to_a_revision_at_zero_loses_requests_and_the_core_librarys_loses_none(
    cluster_session: ClusterSession,
) -> None:
    found = played(cluster_session, "rollback.*[percent-zero]", "rollback.*[library]")
    assert {name: one.verdict for name, one in found.items()} == {
        "percent-zero": Verdict.VULNERABLE,
        "library": Verdict.PROTECTED,
    }, [one.reason for one in found.values()]


def test_a_fault_that_silently_does_nothing_is_inconclusive(cluster_session: ClusterSession) -> None:
    (scenario,) = (one for one in Registry().scenarios.values() if one.id.startswith("tracking_cut."))

    def stage(**given: Any) -> Iterator[Case]:
        with contextmanager(scenario.stage)(**given) as case:
            yield replace(case, fault=idle(case.fault))

    twin: Scenario = replace(scenario, stage=stage)
    (result,) = play_all([(twin, twin.variants[:1])], cluster_session, lambda event: None, allow_faults=False)
    assert result.verdict is Verdict.INCONCLUSIVE


KILLS = 10
WAREHOUSE: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "warehouse"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "warehouse"}},
        "template": {
            "metadata": {"labels": {"app": "warehouse"}},
            "spec": {"containers": [{"name": "a", "image": "none", "env": [{"name": "X", "value": "1"}]}]},
        },
    },
}
TOUCHES = (
    Touch(verb=Verb.PATCH, kind="deployment", name="warehouse", namespace=SERVING, count=2),
    Touch(verb=Verb.CREATE, kind="NetworkPolicy", name="trivet-fault-killed", namespace=SERVING),
)
CUT: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "trivet-fault-killed", "namespace": SERVING},
    "spec": {"podSelector": {"matchLabels": {"app": "nobody"}}, "policyTypes": ["Egress"]},
}


def test_killed_at_any_moment_the_cluster_is_as_it_was_after_the_next_run(cluster_session: ClusterSession) -> None:
    """Kills a process that makes and takes back faults; what the whole engine does in between is killed on paper, many times more."""
    cluster_session.access.kubectl.apply(WAREHOUSE, namespace=cluster_session.namespaces.serving)
    before = stored(cluster_session)
    began = time.monotonic()
    os.waitpid(disturbing(cluster_session), 0)
    whole = time.monotonic() - began
    assert stored(cluster_session) == before
    moments = random.Random(7)
    for number in range(KILLS):
        pid = disturbing(cluster_session)
        time.sleep(whole * moments.random())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for leftover in leftovers():
            assert clean(leftover) == "", f"kill {number}"
        assert stored(cluster_session) == before, f"kill {number}"


def stored(session: ClusterSession) -> list[dict[str, Any]]:
    """The objects that faults may have changed, without what the API server counts."""
    found = []
    for kind in ("deployment", "networkpolicy"):
        for one in session.access.kubectl.objects(kind, namespace=session.namespaces.serving):
            if one["metadata"]["name"] in ("warehouse", "trivet-fault-killed"):
                metadata = {key: one["metadata"].get(key) for key in ("name", "labels", "annotations", "uid")}
                annotations = dict(metadata["annotations"] or {})
                annotations.pop("deployment.kubernetes.io/revision", None)
                found.append({"metadata": {**metadata, "annotations": annotations}, "spec": one["spec"]})
    return found


def disturbing(session: ClusterSession) -> int:
    """A process that makes faults and takes them back; its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        with Run() as run:
            hands = ClusterFaults(session.access, session.namespaces, run).take(TOUCHES)
            hands.create(CUT)
            hands.patch("deployment", "warehouse", {"metadata": {"labels": {"x": "y"}}}, namespace=SERVING)
            hands.patch("deployment", "warehouse", {"spec": {"paused": True, "minReadySeconds": 7}}, namespace=SERVING)
            hands.revert()
    finally:
        os._exit(0)
