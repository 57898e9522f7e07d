"""A service says Ready while its model still loads: what clients get until it is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.integration import TrackingApi, is_ready, v2_request
from trivet.model.clients import ClusterClient, TrafficClient, TrainerClient
from trivet.model.fault import SERVING, AffectedObject, Verb
from trivet.model.handover import Handover
from trivet.model.scenario import Budgets, Case, Claim, Observation, Workload
from trivet.scenarios import deploying
from trivet.scenarios.deploying import READY, ROWS, Document, Model
from trivet.scenarios.observing import said
from trivet.toolkit.client_traffic import is_lost
from trivet.toolkit.faults import applied
from trivet.toolkit.watch import EFFECT, FAULT, Watch

NAME = "eager-classifier"
TOUCH = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=NAME, namespace=SERVING)
LOADING = 15.0
"""Seconds that the model takes to load, as real ones do."""
IN_A_ROW = 40
"""Good answers after which the model is taken to be there, at five a second."""
SERVER_READY = "/v2/health/ready"


@scenario(
    title="A service says Ready before its model is loaded",
    happens=(
        "KServe's MLServer runtime has no readiness probe, so that a pod is ready as soon as its port is open. The model loads after that; "
        "every request until then fails, at a first deployment, at each roll-out and at each new pod."
    ),
    recognise=(
        "HTTP 400 'Model … is not ready yet.' right after Ready=True, for seconds to minutes; the pods are Running and ready. "
        "/v2/models/NAME/ready answers 400 while Kubernetes calls the pod ready."
    ),
    remedy=(
        "Build the service with trivet.integration.build_inference_service, or give the model container a readinessProbe for "
        "/v2/models/NAME/ready. The contract rollout.ready_means_loaded watches over it."
    ),
    variants=(
        unprotected("runtime-default", "the service as KServe's runtime has it, without a readiness probe"),
        remedied("model-probe", "the core library's service, whose readiness probe asks for the model"),
        remedied(
            "server-probe",
            f"a readiness probe for the server, {SERVER_READY}, which is the same for every model",
            extended=True,
        ),
    ),
    affected_objects=(TOUCH,),
    budgets=Budgets(steady_state=60, symptom=90, recovery=120),
    claims=(
        Claim(
            text="An InferenceService that says Ready=True serves its model.",
            holds=False,
            found=(
                "it says so, and UpToDate of its model, for as long as the model loads, and every request fails; with a readiness probe "
                "it says so when the model is there"
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
    trainer: TrainerClient,
    tracking: TrackingApi,
    handover: Handover,
    variant: str,
) -> Iterator[Case]:
    model = deploying.model(trainer, tracking, handover.artifact_root, key="slow to load", load_seconds=LOADING)
    workload = Workload(service=NAME, request=v2_request(None, ROWS), models={model.name: model.answer})
    yield Case(
        fault=applied(
            service(cluster, model, variant),
            name=f"a service whose model takes {LOADING:g} s to load",
            shows="says Ready=True",
            when=is_ready,
            budget=READY,
        ),
        steady_state=lambda: "" if cluster.get("inferenceservice", NAME) else f"there is no InferenceService {NAME}",
        symptom=lambda watch: _asked_at_once(watch, cluster, traffic, workload),
    )


def service(cluster: ClusterClient, of: Model, variant: str) -> Document:
    """The InferenceService of a variant, for the hands: its namespace is the role."""
    document = deploying.service(NAME, of, cluster, namespace=SERVING)
    if variant == "runtime-default":
        return deploying.without_probe(document)
    if variant == "server-probe":
        document["spec"]["predictor"]["model"]["readinessProbe"]["httpGet"]["path"] = SERVER_READY
    return document


def _asked_at_once(watch: Watch, cluster: ClusterClient, traffic: TrafficClient, workload: Workload) -> Observation:
    """Whether clients that take Ready=True at its word lose anything until the model answers."""
    first = said(cluster.get("inferenceservice", NAME) or {})

    def answered() -> bool | None:
        last = watch.answers(EFFECT)[-IN_A_ROW:]
        return True if len(last) == IN_A_ROW and not any(is_lost(answer, workload) for answer in last) else None

    with watch.sending(traffic, workload):
        watch.wait(3)
        watch.until("the model answers", answered)
    outage = watch.outage(EFFECT)
    ready = round(watch.since(EFFECT) - watch.since(FAULT), 1)
    measured: Mapping[str, Any] = {
        "ready_after_seconds": ready,
        "said_then": first,
        "said_at_the_end": said(cluster.get("inferenceservice", NAME) or {}),
        "requests": outage.requests,
        "lost": outage.lost,
        "outage_seconds": outage.seconds,
    }
    told = symptom_observed if outage.lost else symptom_not_observed
    return told(f"Ready=True after {ready:.0f} s; from then on {outage}", **measured)
