"""A service that is Ready=True while its model still loads: what clients get until it is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import (
    DEFAULT_ROWS,
    FAULT,
    INJECTED,
    SERVING,
    AffectedObject,
    Budgets,
    Case,
    Claim,
    ClusterClient,
    ModelMaker,
    Observation,
    ServableModel,
    TrafficClient,
    Verb,
    Watch,
    Workload,
    applied,
    is_lost,
    remedied,
    scenario,
    symptom_not_observed,
    symptom_observed,
    unprotected,
)
from trivet.integration import is_ready, v2_request
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import READY, Document, absent
from trivet.scenarios._service_status import summarize_status

NAME = "eager-classifier"
SERVICE = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=NAME, namespace=SERVING)
LOADING = 15.0
"""Seconds that the model takes to load, like a real one."""
CONSECUTIVE = 40
"""Correct answers in a row, at five per second, after which the model counts as loaded."""
SERVER_READY = "/v2/health/ready"


@scenario(
    title="A service is Ready before its model is loaded",
    happens=(
        "KServe's MLServer runtime has no readiness probe, so that a pod is ready as soon as its port is open. The model loads after that; "
        "until then every request fails, at the first deployment, at each roll-out and at each new pod."
    ),
    recognise=(
        "HTTP 400 'Model … is not ready yet.' right after Ready=True, for seconds to minutes; the pods are Running and ready. "
        "/v2/models/NAME/ready answers 400 while the pod is Ready=True."
    ),
    remedy=(
        "Build the service with trivet.integration.build_inference_service, or give the model container a readinessProbe for "
        "/v2/models/NAME/ready. The contract rollout.ready_means_loaded checks it."
    ),
    variants=(
        unprotected("runtime-default", "KServe's runtime as it is, without a readiness probe"),
        remedied("model-probe", "the core library's service, with a readiness probe for the model"),
        remedied(
            "server-probe",
            f"a readiness probe for the server, {SERVER_READY}, the same for every model",
            extended=True,
        ),
    ),
    affected_objects=(SERVICE,),
    budgets=Budgets(steady_state=60, symptom=90, recovery=120),
    claims=(
        Claim(
            text="An InferenceService that is Ready=True serves its model.",
            holds=False,
            found=(
                "it is Ready=True, and its model UpToDate, while the model loads and every request fails; with a readiness probe it is "
                "Ready=True once the model is loaded"
            ),
            variants=("runtime-default", "model-probe"),
        ),
    ),
    sources=(
        "kserve 0.14.1 and 0.20.0 config/runtimes/kserve-mlserver.yaml: no readinessProbe",
        "mlserver 1.5.0 mlserver/registry.py, SingleModelRegistry._load_model: a model is registered as not ready before it is loaded; "
        "mlserver/handlers/dataplane.py, ready: the server is ready when all of its models are",
    ),
)
def answers_not_ready(
    cluster: ClusterClient,
    traffic: TrafficClient,
    models: ModelMaker,
    variant: str,
) -> Iterator[Case]:
    model = models.make("slow to load", load_seconds=LOADING)
    workload = Workload(service=NAME, request=v2_request(None, DEFAULT_ROWS), models={model.name: model.answer})
    yield Case(
        fault=applied(
            service(cluster, model, variant),
            name=f"a service whose model takes {LOADING:g} s to load",
            shows="is Ready=True",
            when=is_ready,
            budget=READY,
        ),
        steady_state=lambda: absent(cluster, NAME),
        symptom=lambda watch: _observe(watch, cluster, traffic, workload),
    )


def service(cluster: ClusterClient, model: ServableModel, variant: str) -> Document:
    """The InferenceService of a variant; its namespace is the role that a fault names."""
    document = _deployments.service(NAME, model, cluster, namespace=SERVING)
    if variant == "runtime-default":
        return _deployments.without_probe(document)
    if variant == "server-probe":
        document["spec"]["predictor"]["model"]["readinessProbe"]["httpGet"]["path"] = SERVER_READY
    return document


def _observe(watch: Watch, cluster: ClusterClient, traffic: TrafficClient, workload: Workload) -> Observation:
    """Whether clients that send requests from Ready=True on lose any until the model answers."""
    first = summarize_status(cluster.get("inferenceservice", NAME) or {})

    def correct_in_a_row() -> int:
        answers = watch.answers_so_far(INJECTED)
        return next((n for n, answer in enumerate(reversed(answers)) if is_lost(answer, workload)), len(answers))

    with watch.sending(traffic, workload):
        watch.wait(3)
        watch.eventually(
            f"{CONSECUTIVE} correct answers in a row",
            correct_in_a_row,
            until=lambda count: count >= CONSECUTIVE,
            describe=lambda count: f"{count} correct answers in a row",
        )
    outage = watch.outage(INJECTED)
    ready = round(watch.since(INJECTED) - watch.since(FAULT), 1)
    measured: Mapping[str, Any] = {
        "ready_after_seconds": ready,
        "status_when_ready": first,
        "status_at_end": summarize_status(cluster.get("inferenceservice", NAME) or {}),
        "requests": outage.requests,
        "lost": outage.lost,
        "outage_seconds": outage.seconds,
    }
    result = symptom_observed if outage.lost else symptom_not_observed
    return result(f"Ready=True after {ready:.0f} s; from then on {outage}", **measured)
