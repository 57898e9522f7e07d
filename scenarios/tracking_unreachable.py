"""MLflow is unreachable from the pipelines: whether a pipeline succeeds, which error MLflow's client reports, and how long that takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from trivet.authoring import (
    CUT,
    DNS,
    NETWORK_POLICY_ENFORCED,
    PIPELINES,
    AffectedObject,
    Budgets,
    CannotTell,
    Case,
    Claim,
    ClusterClient,
    Fault,
    NetworkPath,
    Observation,
    PipelineClient,
    Probed,
    TrackingApi,
    Verb,
    Watch,
    evidence,
    fault_proxy_objects,
    last_seen,
    network_cut,
    remedied,
    scenario,
    symptom_not_observed,
    unanswered,
    unprotected,
)
from trivet.scenarios._training_runs import (
    DEFAULT_RETRIES,
    ONE_RETRY,
    client_error,
    connects,
    path_to_tracking,
    require_mlflow_cause,
    runs_of,
    source,
    training_summary,
)

ALLOWING = "trivet-allow-tracking"
CATCHING = {
    "autologging": "autologging",
    "try-except": "try-except",
    "address": "try-except",
    "no-dns": "try-except",
    "allowing-policy": "try-except",
}
"""Variants whose training catches MLflow's errors, and how (``TRIVET_TRAINING``)."""
STORE: Mapping[str, Any] = {"ports": [{"protocol": "TCP", "port": 7070}]}
"""The store's port, which stays allowed, so that only MLflow is unreachable."""
ALLOWED_AFTER = 30.0
"""Seconds until an allowing policy must be enforced."""
SERVICE = "mlflow"
"""MLflow's Service on a cluster of trivet's own."""


@scenario(
    title="The pipeline succeeds, and its run is missing",
    happens=(
        "A NetworkPolicy denies the pipelines' namespace egress to the tracking server. A training step that catches MLflow's errors, as "
        "autologging does by itself, succeeds, and nothing is recorded: no metrics, no model, nothing to roll back to."
    ),
    recognise=(
        "The step's log has 'Max retries exceeded with url: …' or an autologging warning, after a minute with MLflow's default retries; "
        "the pipeline is Succeeded, and MLflow has no run of it."
    ),
    remedy=(
        "Allow egress from the pipelines' namespace to MLflow and to DNS, let training fail when it cannot record (start_run without "
        "try/except, as in the example pipeline's component), and limit the client's retries: MLFLOW_HTTP_REQUEST_MAX_RETRIES."
    ),
    variants=(
        unprotected("autologging", "training that only calls mlflow.autolog()"),
        unprotected("try-except", "training that catches MLflow's errors"),
        unprotected(
            "address",
            "the same, with the cluster IP of MLflow's Service instead of its name",
            extended=True,
        ),
        unprotected(
            "no-dns",
            "the same, where the policy allows MLflow's port and not DNS",
            extended=True,
        ),
        remedied("component", "the core library's training component, with one retry"),
        remedied("default-retries", "the same component, with MLflow's default retries", extended=True),
        remedied(
            "allowing-policy",
            "a second policy that allows egress to MLflow, and training that catches errors",
            protects=None,
        ),
    ),
    affected_objects=(AffectedObject(verb=Verb.CREATE, kind="NetworkPolicy", name=CUT, namespace=PIPELINES),),
    budgets=Budgets(steady_state=60, symptom=240, recovery=60),
    features=(NETWORK_POLICY_ENFORCED,),
    claims=(
        Claim(
            text="A pipeline that cannot reach MLflow succeeds without a run.",
            holds=True,
            found="where the code catches the error, which autologging does by itself; the core library's component fails",
            variants=("autologging", "try-except", "component"),
        ),
        Claim(
            text="A cluster-internal DNS name instead of an address fixes it.",
            holds=False,
            found=(
                "a policy selects pods, whether they are reached by name or by address; and where it does not allow port 53, the name does "
                "not resolve"
            ),
            variants=("try-except", "address", "no-dns"),
        ),
        Claim(
            text="Retries in the client fix it.",
            holds=False,
            found="a policy outlasts them: with MLflow's default five retries the pipeline fails after about a minute, with one at once",
            variants=("component", "default-retries"),
        ),
        Claim(
            text="A policy that allows the path fixes it.",
            holds=True,
            found="policies are additive: with a second one that allows egress to MLflow's port the run is recorded, beside the first one",
            variants=("allowing-policy",),
        ),
    ),
    sources=(
        "mlflow utils/autologging_utils/safety.py: errors become warnings",
        "kube-router 2.2.1 pkg/controllers/netpol/pod.go: what no policy allows is rejected; it cannot be configured to drop",
    ),
)
def pipeline_succeeds_without_run(
    cluster: ClusterClient, pipelines: PipelineClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    path, pod = path_to_tracking(cluster)
    environment = DEFAULT_RETRIES if variant == "default-retries" else ONE_RETRY
    if variant == "address":
        environment = {**environment, "MLFLOW_TRACKING_URI": f"http://{_address(cluster, path)}:{path.port}"}
    spared = (STORE, _egress(path)) if variant == "no-dns" else (DNS, STORE)

    def allow(watch: Watch) -> None:
        cluster.apply(_allowing(path))
        watch.eventually(
            f"{pod} to connect to MLflow again",
            lambda: connects(cluster, pod, path),
            timeout=ALLOWED_AFTER,
            describe=last_seen,
        )
        watch.mark("path allowed")

    try:
        yield _case(
            pipelines,
            tracking,
            training=CATCHING.get(variant, ""),
            environment=environment,
            fault=network_cut(pod=pod, host=path.host, port=path.port, spared=spared),
            steady_state=lambda: connects(cluster, pod, path),
            remedy=allow if variant == "allowing-policy" else None,
        )
    finally:
        if variant == "allowing-policy":
            cluster.delete("networkpolicy", ALLOWING, namespace=path.namespace)


@scenario(
    title="The pipeline stalls and succeeds, and its run is missing",
    happens=(
        "The network between the pipelines and MLflow drops packets, as most firewalls and many NetworkPolicies do, instead of rejecting "
        "them. MLflow's client waits for the timeout of each connection attempt: 10 s with one retry and a timeout of 5 s, where a "
        "rejecting network takes 0.1 s."
    ),
    recognise=(
        "The step stalls without output, and then its log has 'ConnectTimeoutError' where a rejecting network has 'Connection refused'; "
        "the pipeline is Succeeded, and MLflow has no run of it."
    ),
    remedy=(
        "As for a rejecting network; and limit the timeout too: MLFLOW_HTTP_REQUEST_TIMEOUT applies to connecting, by default 120 s for "
        "each attempt."
    ),
    variants=(
        unprotected("try-except", "training that catches MLflow's errors, with one retry"),
        remedied("component", "the core library's training component, with one retry"),
    ),
    affected_objects=fault_proxy_objects(SERVICE),
    budgets=Budgets(steady_state=60, symptom=240, recovery=60),
    sources=(
        "measured: connecting to a listener whose queue is full times out as on a network that drops packets (Linux, tcp_conn_request)",
    ),
)
def packets_dropped(
    cluster: ClusterClient, pipelines: PipelineClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    path, pod = path_to_tracking(cluster)
    yield _case(
        pipelines,
        tracking,
        training=CATCHING.get(variant, ""),
        environment=ONE_RETRY,
        fault=unanswered(SERVICE, host=path.host, port=path.port, image=cluster.images["trainer"], pod=pod),
        steady_state=lambda: connects(cluster, pod, path),
    )


def _case(
    pipelines: PipelineClient,
    tracking: TrackingApi,
    *,
    training: str,
    environment: Mapping[str, str],
    fault: Fault,
    steady_state: Callable[[], Probed],
    remedy: Callable[[Watch], None] | None = None,
) -> Case:
    """A pipeline runs under the fault, and after recovery its runs in MLflow are counted. Without ``training`` it is the example pipeline.

    ``remedy`` is applied after the fault.
    """
    name = f"trivet-cut-{uuid4().hex[:8]}"

    def symptom(watch: Watch) -> Observation:
        if remedy:
            remedy(watch)
        watch.mark("pipeline starts")
        began = time.monotonic()
        run = pipelines.run(
            {"experiment": name, "registered_name": name},
            {**environment, "TRIVET_TRAINING": training},
            source("unguarded") if training else None,
        )
        took = round(time.monotonic() - began, 1)
        watch.mark("pipeline ends")
        error = client_error(run.log)
        require_mlflow_cause(run, error)
        waited = training_summary(run.log).get("waited")
        state = "succeeded" if run.succeeded else "failed"
        return symptom_not_observed(
            f"the pipeline {state} after {took:.0f} s",
            evidence=(evidence("log of the pipeline", "log", run.log, limit=8000),),
            pipeline=state,
            pipeline_seconds=took,
            **({"client_error": error} if error else {}),
            **({} if waited is None else {"client_seconds": waited}),
        )

    def afterwards(watch: Watch, observation: Observation) -> Observation:
        recorded = len(runs_of(tracking, name))
        return replace(
            observation,
            observed=observation.measured["pipeline"] == "succeeded" and not recorded,
            message=f"{observation.message}, and MLflow has {recorded} runs of it",
            measured={**observation.measured, "runs_recorded": recorded},
        )

    return Case(fault=fault, steady_state=steady_state, symptom=symptom, afterwards=afterwards)


def _address(cluster: ClusterClient, path: NetworkPath) -> str:
    """The cluster IP of the Service, which needs no DNS."""
    service, _, namespace = path.host.partition(".")
    found = cluster.get("service", service, namespace=namespace.partition(".")[0])
    if found is None:
        raise CannotTell(f"{path.host} is not a Service of this cluster")
    return str(found["spec"]["clusterIP"])


def _egress(path: NetworkPath) -> dict[str, Any]:
    return {"ports": [{"protocol": "TCP", "port": path.port}]}


def _allowing(path: NetworkPath) -> dict[str, Any]:
    """The remedy: egress to MLflow's port, in addition to what other policies allow.

    And to DNS, which this policy would deny to pods that no other one selects.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": ALLOWING, "namespace": path.namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [DNS, _egress(path)]},
    }
