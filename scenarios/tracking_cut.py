"""A NetworkPolicy keeps the pipelines from MLflow: whether the pipeline ends green or red, and how long that takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

from trivet.engine.authoring import evidence
from trivet.engine.scenarios.authoring import remedied, scenario, seen, unprotected, unseen
from trivet.engine.scenarios.faults import CUT, network_cut
from trivet.engine.scenarios.watch import Watch
from trivet.errors import CannotTell
from trivet.integration import TrackingApi, TrackingError
from trivet.model.fault import PIPELINES, Touch, Verb
from trivet.model.feature import NETWORK_POLICY_ENFORCED
from trivet.model.network import NetworkPath
from trivet.model.scenario import Budgets, Case, Claim, Sighting
from trivet.targets.base import ClusterClient, PipelineClient

ALLOWING = "trivet-allow-tracking"
BOUNDED = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5", "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}
"""As MLflow has them by itself up to 2.17; 2.22 and later try 7 times."""
SWALLOWING = {"autologging": "autologging", "try-except": "try-except", "allowing-policy": "try-except"}
"""Variants whose training goes on when MLflow does not answer."""
UNGUARDED = Path(str(files("trivet.fixtures.pipelines").joinpath("unguarded.py")))
WITNESS = "prometheus.trivet-platform"
STORE: Mapping[str, Any] = {"ports": [{"protocol": "TCP", "port": 7070}]}
"""Egress that the cut spares: the store's port, so that only MLflow is away."""


@scenario(
    title="The pipeline is green, and its run is missing",
    happens=(
        "A NetworkPolicy keeps the pipelines' namespace from the tracking server. Training whose code swallows MLflow's errors, as "
        "autologging does by itself, ends green, and nothing was recorded: no metrics, no model, nothing to roll back to."
    ),
    recognise=(
        "The step's log says 'Max retries exceeded with url: …/runs/create' or an autologging warning, after a pause of minutes; the "
        "pipeline is Succeeded, and MLflow knows no run of it."
    ),
    remedy=(
        "Allow the path (egress from the pipelines' namespace to MLflow), let training fail when it cannot record (start_run without "
        "try/except, as the example pipeline's component does), and bound the client's retries: MLFLOW_HTTP_REQUEST_MAX_RETRIES."
    ),
    variants=(
        unprotected("autologging", "training that only says mlflow.autolog()"),
        unprotected("try-except", "training that catches MLflow's errors and goes on"),
        remedied("component", "the core library's training component, with bounded retries"),
        remedied("default-retries", "the same component with MLflow's own retries", protects=None),
        remedied(
            "allowing-policy", "a second policy that allows the path, and training that catches errors", protects=None
        ),
    ),
    touches=(Touch(verb=Verb.CREATE, kind="NetworkPolicy", name=CUT, namespace=PIPELINES),),
    budgets=Budgets(steady=60, symptom=240, recovery=60),
    features=(NETWORK_POLICY_ENFORCED,),
    claims=(
        Claim(
            text="A pipeline that cannot reach MLflow is green without a run.",
            holds=True,
            found="where the code swallows the error, which autologging does by itself; plain start_run ends red",
            variants=("autologging", "try-except", "component"),
        ),
        Claim(
            text="A cluster-internal DNS name instead of an address fixes it.",
            holds=False,
            found="all variants use the internal name; a policy selects pods, whatever name led to them",
            variants=("autologging", "try-except"),
        ),
    ),
    sources=(
        "incident 1 of the reference platform",
        "mlflow utils/autologging_utils/safety.py: errors become warnings",
    ),
)
def pipeline_green_run_missing(
    cluster: ClusterClient, pipelines: PipelineClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    path = next((one for one in cluster.paths if one.name == "pipelines to MLflow"), None)
    if path is None:
        raise CannotTell("the cluster names no path from the pipelines to MLflow")
    pod = _pod(cluster, path)
    swallowing = variant in SWALLOWING

    def symptom(watch: Watch) -> Sighting:
        name = f"trivet-cut-{uuid4().hex[:8]}"
        environment = {
            **(DEFAULTS if variant == "default-retries" else BOUNDED),
            "TRIVET_TRAINING": SWALLOWING.get(variant, ""),
        }
        watch.mark("the pipeline begins")
        began = time.monotonic()
        run = pipelines.run(
            {"experiment": name, "registered_name": name}, environment, UNGUARDED if swallowing else None
        )
        took = round(time.monotonic() - began, 1)
        watch.mark("the pipeline ends")
        recorded = runs_of(tracking, name)
        error = client_error(run.log)
        told = seen if run.succeeded and not recorded else unseen
        return told(
            f"the pipeline was {'green' if run.succeeded else 'red'} after {took:.0f} s, and MLflow has {recorded} runs of it",
            evidence=(evidence("the pipeline's log", "log", run.log, limit=8000),),
            pipeline_seconds=took,
            runs_recorded=recorded,
            **({"client_said": error} if error else {}),
        )

    # With the allowed path the cut shows by another service, which the second policy does not let through.
    host, port = (WITNESS, 9090) if variant == "allowing-policy" else (path.host, path.port)
    try:
        if variant == "allowing-policy":
            cluster.apply(_allowing(path))
        yield Case(
            fault=network_cut(pod=pod, host=host, port=port, spared=(STORE,)),
            steady=lambda: reaches(cluster, pod, path),
            symptom=symptom,
        )
    finally:
        if variant == "allowing-policy":
            cluster.delete("networkpolicy", ALLOWING, namespace=path.namespace)


def runs_of(tracking: TrackingApi, experiment: str) -> int:
    """How many runs MLflow has in an experiment; none when there is no such experiment."""
    try:
        found = tracking.get_experiment_by_name(experiment)
    except TrackingError as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST":
            return 0
        raise
    return len(tracking.search_runs(found["experiment_id"]))


def client_error(log: str) -> str:
    """The line of a step's log in which MLflow's client says that it gave up; empty when it says nothing."""
    lines = [
        line.strip() for line in log.splitlines() if "Max retries exceeded" in line or "runs/create failed" in line
    ]
    return lines[-1][:400] if lines else ""


def reaches(cluster: ClusterClient, pod: str, path: NetworkPath) -> str:
    """That the pod gets through to the path's end, in a sentence; empty when it does not."""
    connect = f"import socket; socket.create_connection(({path.host!r}, {path.port}), timeout=3)"
    status, _ = cluster.execute(pod, ["python", "-c", connect], namespace=path.namespace)
    return "" if status else f"{pod} connects to {path.host}:{path.port}"


def _pod(cluster: ClusterClient, path: NetworkPath) -> str:
    selector = ",".join(f"{key}={value}" for key, value in path.selector.items())
    found = (cluster.get("pod", namespace=path.namespace, selector=selector) or {}).get("items") or ()
    if not found:
        raise CannotTell(f"there is no pod in {path.namespace} from which MLflow could be reached")
    return str(found[0]["metadata"]["name"])


def _allowing(path: NetworkPath) -> dict[str, Any]:
    """The remedy: egress to MLflow's port, beside whatever other policies allow."""
    rule = {"ports": [{"protocol": "TCP", "port": path.port}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": ALLOWING, "namespace": path.namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]},
    }
