"""A scenario that is killed or interrupted at any moment, on a real cluster: after the next run's cleaning every object is as it was.

``test_scenarios_killed.py`` does the same on a fake cluster, many times more.
"""

from __future__ import annotations

import inspect
import os
import random
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from trivet.authoring.scenarios import scenario, symptom_not_observed, unprotected
from trivet.engine.scenarios.play import play
from trivet.host.journal import Run, clean, leftovers
from trivet.host.signals import unwinding_on_signals
from trivet.model.clients import FaultClient
from trivet.model.fault import PIPELINES, SERVING, Fault
from trivet.model.scenario import Case, Verdict
from trivet.targets.cluster.fault_injector import ClusterFaults
from trivet.targets.cluster.session import ClusterSession
from trivet.toolkit import fault_proxy as faults_by_proxy
from trivet.toolkit import faults as faults_module
from trivet.toolkit.fault_proxy import failing, slowed, unanswered
from trivet.toolkit.faults import (
    applied,
    crashed,
    environment_changed,
    in_turn,
    network_cut,
    patched,
    restarted,
    secret_changed,
    stopped,
)

SEED = 20241125
WAREHOUSE = "warehouse"
KINDS = (
    "configmap",
    "deployment.apps",
    "inferenceservice",
    "lease",
    "networkpolicy",
    "pod",
    "secret",
    "service",
    "serviceaccount",
)
COUNTED = ("resourceVersion", "generation", "managedFields", "creationTimestamp")
"""What the API server counts with every change, there and back."""


def documents(image: str) -> Sequence[Mapping[str, Any]]:
    """What the faults strike: a deployment with one pod, and its secret and service."""
    pod = {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "keeper",
                "image": image,
                "command": ["sh", "-c", "sleep infinity & wait"],
                "env": [{"name": "SHELVES", "value": "1"}],
                "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}},
            }
        ],
    }
    labels = {"app": WAREHOUSE}
    return (
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": WAREHOUSE},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": WAREHOUSE}, "stringData": {"key": "right"}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": WAREHOUSE},
            "spec": {"selector": labels, "ports": [{"port": 80}]},
        },
    )


def faults(session: ClusterSession) -> Mapping[str, Fault]:
    """One fault of every kind, by the name of the function that makes it."""
    path = next(one for one in session.client("cluster").paths if one.name == "pipelines to MLflow")
    pod = session.access.kubectl.objects(
        "pod", namespace=path.namespace, selector=",".join(f"{key}={value}" for key, value in path.selector.items())
    )[0]["metadata"]["name"]
    proxy: Any = {"host": path.host, "port": path.port, "image": session.access.images["trainer"], "pod": pod}
    shelf = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shelf", "namespace": SERVING}}
    return {
        "network_cut": network_cut(pod=pod, host=path.host, port=path.port, namespace=PIPELINES),
        "applied": applied(shelf, name="a shelf too many"),
        "patched": patched(
            "service", WAREHOUSE, {"spec": {"selector": {"app": "nobody"}}}, namespace=SERVING, title="nobody serves"
        ),
        "secret_changed": secret_changed(WAREHOUSE, {"key": "wrong", "more": "x"}, namespace=SERVING),
        "environment_changed": environment_changed(WAREHOUSE, "keeper", {"SHELVES": "0", "X": "1"}, namespace=SERVING),
        "stopped": stopped(WAREHOUSE, namespace=SERVING),
        "crashed": crashed(f"app={WAREHOUSE}", "keeper", names=WAREHOUSE, namespace=SERVING),
        "restarted": restarted(f"app={WAREHOUSE}", names=WAREHOUSE, namespace=SERVING),
        "slowed": slowed("mlflow", path="/health", seconds=2, **proxy),
        "failing": failing("mlflow", path="/health", status=503, **proxy),
        "unanswered": unanswered("mlflow", **proxy),
        "in_turn": in_turn(
            secret_changed(WAREHOUSE, {"key": "wrong"}, namespace=SERVING),
            restarted(f"app={WAREHOUSE}", names=WAREHOUSE, namespace=SERVING),
        ),
    }


def makers() -> set[str]:
    """The functions of trivet's own faults; one that is new is to be killed here too."""
    return {
        name
        for module in (faults_module, faults_by_proxy)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and inspect.signature(function).return_annotation == "Fault"
        and function is not faults_module.idle
    }


def stored(session: ClusterSession) -> dict[str, Any]:
    """Every object of the namespaces that faults may affect, without counters, and without what controllers create for it."""
    found: dict[str, Any] = {}
    own = session.namespaces
    for namespace in (own.pipelines, own.serving, "trivet-platform"):
        for one in session.access.kubectl.objects(",".join(KINDS), namespace=namespace):
            metadata = {key: value for key, value in one["metadata"].items() if key not in COUNTED}
            metadata.get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
            # What a controller makes of an object comes and goes with it; that the warehouse is well again is waited for.
            if not any(owner.get("controller") for owner in metadata.get("ownerReferences") or ()):
                rest = {key: value for key, value in one.items() if key not in ("metadata", "status")}
                found[f"{namespace}/{one['kind']}/{metadata['name']}"] = {**rest, "metadata": metadata}
    return found


def disturbing(session: ClusterSession, fault: Fault) -> int:
    """A process that plays a scenario with the fault, holding the lease; its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:

        @scenario(
            title="-",
            happens="-",
            recognise="-",
            remedy="-",
            variants=[unprotected("bare", "-")],
            affected_objects=fault.affected_objects,
        )
        def killed() -> Iterator[Case]:
            yield Case(
                fault=fault, steady_state=lambda: "well", symptom=lambda watch: symptom_not_observed("nothing happened")
            )

        with unwinding_on_signals(), Run() as run:
            client = ClusterFaults(session.access, session.namespaces, run)
            with client.lease() as lease:
                result = play(killed, killed.variants[0], session, client, lambda event: None, lease=lease)
            status = result.verdict is not Verdict.PROTECTED
    finally:
        os._exit(status)


def well(session: ClusterSession) -> None:
    """Wait until the warehouse has its pod again."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = session.access.kubectl.get("deployment", WAREHOUSE, namespace=session.namespaces.serving) or {}
        if (found.get("status") or {}).get("readyReplicas") == 1:
            return
        time.sleep(0.5)
    pytest.fail(f"{WAREHOUSE} did not get well again")


@pytest.mark.parametrize(
    "each", [pytest.param(1, marks=pytest.mark.cluster), pytest.param(5, marks=pytest.mark.catalogue)]
)
def test_killed_at_any_moment_of_any_fault_every_object_is_as_it_was_after_the_next_run(
    cluster_session: ClusterSession, each: int
) -> None:
    kubectl, serving = cluster_session.access.kubectl, cluster_session.namespaces.serving
    try:
        for document in documents(cluster_session.access.images["trainer"]):
            kubectl.apply(document, namespace=serving)
        well(cluster_session)
        # Nothing of the session itself is to come into being any more.
        assert cluster_session.client("serving").ready
        assert set(faults(cluster_session)) == makers()
        moments, disturbed, kills = random.Random(SEED), 0, 0
        for name, fault in faults(cluster_session).items():
            before = stored(cluster_session)
            idle: FaultClient = cluster_session.client("faults")
            assert not fault.verify_injected(idle.injector(fault.affected_objects)), (
                f"{name} is in force before it is made"
            )
            began = time.monotonic()
            assert os.waitstatus_to_exitcode(os.waitpid(disturbing(cluster_session, fault), 0)[1]) == 0, name
            whole = time.monotonic() - began
            assert stored(cluster_session) == before, name
            for number in range(each):
                how = signal.SIGKILL if kills % 2 == 0 else signal.SIGINT
                pid = disturbing(cluster_session, fault)
                time.sleep(whole * moments.random())
                os.kill(pid, how)
                os.waitpid(pid, 0)
                kills += 1
                disturbed += stored(cluster_session) != before
                for leftover in leftovers():
                    assert clean(leftover) == "", f"{name}: {how.name} number {number}"
                assert stored(cluster_session) == before, f"{name}: {how.name} number {number}"
                if name == "crashed":
                    # A container that crashes again and again is started later each time; that of a new pod is not.
                    kubectl.run("delete", "pod", "-n", serving, "-l", f"app={WAREHOUSE}", "--wait")
                well(cluster_session)
        assert disturbed > kills // 8, "some kills must hit a run whose fault is in force"
    finally:
        for kind in ("deployment", "secret", "service"):
            kubectl.delete(kind, WAREHOUSE, namespace=serving)
