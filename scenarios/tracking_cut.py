"""The pipelines are kept from MLflow: whether a pipeline ends green or red, what MLflow's client says, and how long that takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, unprotected
from trivet.errors import CannotTell
from trivet.integration import TrackingApi
from trivet.model.clients import ClusterClient, PipelineClient
from trivet.model.fault import PIPELINES, AffectedObject, Verb
from trivet.model.feature import NETWORK_POLICY_ENFORCED
from trivet.model.finding import evidence
from trivet.model.network import NetworkPath
from trivet.model.scenario import Budgets, Case, Claim, Observation
from trivet.scenarios.training import BOUNDED, OWN, client_error, reaches, runs_of, source, told, way_to_tracking
from trivet.toolkit.fault_proxy import fault_proxy_objects, unanswered
from trivet.toolkit.faults import CUT, DNS, network_cut
from trivet.toolkit.watch import Watch

ALLOWING = "trivet-allow-tracking"
SWALLOWING = {
    "autologging": "autologging",
    "try-except": "try-except",
    "address": "try-except",
    "no-dns": "try-except",
    "allowing-policy": "try-except",
}
"""Variants whose training goes on when MLflow does not answer."""
STORE: Mapping[str, Any] = {"ports": [{"protocol": "TCP", "port": 7070}]}
"""Egress that the cut spares: the store's port, so that only MLflow is away."""
MENDED = 30.0
"""Seconds that an allowing policy may take to be in force."""
SERVICE = "mlflow"
"""MLflow's Service on a cluster of trivet's own."""


@scenario(
    title="The pipeline is green, and its run is missing",
    happens=(
        "A NetworkPolicy keeps the pipelines' namespace from the tracking server. Training whose code swallows MLflow's errors, as "
        "autologging does by itself, ends green, and nothing was recorded: no metrics, no model, nothing to roll back to."
    ),
    recognise=(
        "The step's log says 'Max retries exceeded with url: …' or has an autologging warning, after a pause of a minute where the client "
        "has MLflow's own retries; the pipeline is Succeeded, and MLflow knows no run of it."
    ),
    remedy=(
        "Allow the path (egress from the pipelines' namespace to MLflow and to DNS), let training fail when it cannot record (start_run "
        "without try/except, as the example pipeline's component does), and bound the client's retries: MLFLOW_HTTP_REQUEST_MAX_RETRIES."
    ),
    variants=(
        unprotected("autologging", "training that only says mlflow.autolog()"),
        unprotected("try-except", "training that catches MLflow's errors and goes on"),
        unprotected(
            "address",
            "the same, with the address of MLflow's Service in place of its name",
            extended=True,
        ),
        unprotected(
            "no-dns",
            "the same, where the policy lets MLflow's port through and forgets DNS",
            extended=True,
        ),
        remedied("component", "the core library's training component, with bounded retries"),
        remedied("default-retries", "the same component with MLflow's own retries", extended=True),
        remedied(
            "allowing-policy", "a second policy, which allows the path, and training that catches errors", protects=None
        ),
    ),
    affected_objects=(AffectedObject(verb=Verb.CREATE, kind="NetworkPolicy", name=CUT, namespace=PIPELINES),),
    budgets=Budgets(steady_state=60, symptom=240, recovery=60),
    features=(NETWORK_POLICY_ENFORCED,),
    claims=(
        Claim(
            text="A pipeline that cannot reach MLflow is green without a run.",
            holds=True,
            found="where the code swallows the error, which autologging does by itself; the core library's component ends red",
            variants=("autologging", "try-except", "component"),
        ),
        Claim(
            text="A cluster-internal DNS name instead of an address fixes it.",
            holds=False,
            found=(
                "the name is kept from MLflow as the address is: a policy selects pods, whatever led to them; and where it forgets port "
                "53, it is the name that fails"
            ),
            variants=("try-except", "address", "no-dns"),
        ),
        Claim(
            text="Retries in the client fix it.",
            holds=False,
            found="a policy outlasts them: with MLflow's own five retries the pipeline is red after about a minute, with one at once",
            variants=("component", "default-retries"),
        ),
        Claim(
            text="A policy that allows the path fixes it.",
            holds=True,
            found="policies add up: with a second one that allows egress to MLflow's port the run is recorded, the first one still there",
            variants=("allowing-policy",),
        ),
    ),
    sources=(
        "mlflow utils/autologging_utils/safety.py: errors become warnings",
        "kube-router 2.2.1 pkg/controllers/netpol/pod.go: what no policy allows is rejected, and nothing makes it drop",
    ),
)
def pipeline_green_run_missing(
    cluster: ClusterClient, pipelines: PipelineClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    path, pod = way_to_tracking(cluster)
    environment = OWN if variant == "default-retries" else BOUNDED
    if variant == "address":
        environment = {**environment, "MLFLOW_TRACKING_URI": f"http://{_address(cluster, path)}:{path.port}"}
    spared = (STORE, _egress(path)) if variant == "no-dns" else (DNS, STORE)

    def mended(watch: Watch) -> None:
        cluster.apply(_allowing(path))
        watch.until("MLflow is reached again", lambda: reaches(cluster, pod, path) or None, seconds=MENDED)
        watch.mark("the path is allowed")

    try:
        yield _case(
            pipelines,
            tracking,
            training=SWALLOWING.get(variant, ""),
            environment=environment,
            fault=network_cut(pod=pod, host=path.host, port=path.port, spared=spared),
            steady_state=lambda: reaches(cluster, pod, path),
            mended=mended if variant == "allowing-policy" else None,
        )
    finally:
        if variant == "allowing-policy":
            cluster.delete("networkpolicy", ALLOWING, namespace=path.namespace)


@scenario(
    title="The pipeline stands still, is green, and its run is missing",
    happens=(
        "The network between the pipelines and MLflow drops packets, as most firewalls and many NetworkPolicies do, instead of rejecting "
        "them. MLflow's client waits for each connection until its time-out, and tries again: 10 s with one retry and a time-out of 5 s, "
        "where a rejecting network takes 0.1 s."
    ),
    recognise=(
        "The step stands still without a word, and then its log says 'ConnectTimeoutError' where a rejecting network has "
        "'Connection refused'; the pipeline is Succeeded, and MLflow knows no run of it."
    ),
    remedy=(
        "As for the rejecting network; and bound the time-out too: MLFLOW_HTTP_REQUEST_TIMEOUT is for connecting as well, 120 s by itself, "
        "spent anew by each try."
    ),
    variants=(
        unprotected("try-except", "training that catches MLflow's errors and goes on, with bounded retries"),
        remedied("component", "the core library's training component, with bounded retries"),
    ),
    affected_objects=fault_proxy_objects(SERVICE),
    budgets=Budgets(steady_state=60, symptom=240, recovery=60),
    sources=(
        "measured: a listener whose queue is full is met as a dropping network is, by a time-out of connecting (Linux, tcp_conn_request)",
    ),
)
def packets_dropped(
    cluster: ClusterClient, pipelines: PipelineClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    path, pod = way_to_tracking(cluster)
    yield _case(
        pipelines,
        tracking,
        training=SWALLOWING.get(variant, ""),
        environment=BOUNDED,
        fault=unanswered(SERVICE, host=path.host, port=path.port, image=cluster.images["trainer"], pod=pod),
        steady_state=lambda: reaches(cluster, pod, path),
    )


def _case(
    pipelines: PipelineClient,
    tracking: TrackingApi,
    *,
    training: str,
    environment: Mapping[str, str],
    fault: Any,
    steady_state: Callable[[], str],
    mended: Callable[[Watch], None] | None = None,
) -> Case:
    """A pipeline is run under the fault; once all is well again MLflow is asked for its run. The example's own without ``training``.

    ``mended`` applies a remedy that comes after the fault.
    """
    name = f"trivet-cut-{uuid4().hex[:8]}"

    def symptom(watch: Watch) -> Observation:
        if mended:
            mended(watch)
        watch.mark("the pipeline begins")
        began = time.monotonic()
        run = pipelines.run(
            {"experiment": name, "registered_name": name},
            {**environment, "TRIVET_TRAINING": training},
            source("unguarded") if training else None,
        )
        took = round(time.monotonic() - began, 1)
        watch.mark("the pipeline ends")
        said = client_error(run.log)
        if not run.succeeded and not said:
            last = run.log.strip().rpartition("\n")[2][-300:]
            raise CannotTell(
                f"the pipeline was red, and nothing in its log shows that it was for MLflow; it ends: {last}"
            )
        waited = told(run.log).get("waited")
        return symptom_not_observed(
            f"the pipeline was {'green' if run.succeeded else 'red'} after {took:.0f} s",
            evidence=(evidence("the pipeline's log", "log", run.log, limit=8000),),
            pipeline="green" if run.succeeded else "red",
            pipeline_seconds=took,
            **({"client_said": said} if said else {}),
            **({} if waited is None else {"client_seconds": waited}),
        )

    def afterwards(sighting: Observation) -> Observation:
        recorded = len(runs_of(tracking, name))
        return replace(
            sighting,
            seen=sighting.measured["pipeline"] == "green" and not recorded,
            message=f"{sighting.message}, and MLflow has {recorded} runs of it",
            measured={**sighting.measured, "runs_recorded": recorded},
        )

    return Case(fault=fault, steady_state=steady_state, symptom=symptom, afterwards=afterwards)


def _address(cluster: ClusterClient, path: NetworkPath) -> str:
    """The Service's own address, by which nobody needs DNS."""
    service, _, namespace = path.host.partition(".")
    found = cluster.get("service", service, namespace=namespace.partition(".")[0])
    if found is None:
        raise CannotTell(f"{path.host} is no Service of this cluster")
    return str(found["spec"]["clusterIP"])


def _egress(path: NetworkPath) -> dict[str, Any]:
    return {"ports": [{"protocol": "TCP", "port": path.port}]}


def _allowing(path: NetworkPath) -> dict[str, Any]:
    """The remedy: egress to MLflow's port, beside whatever other policies allow.

    And to DNS, which this policy would itself keep from pods that no other one selects.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": ALLOWING, "namespace": path.namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [DNS, _egress(path)]},
    }
