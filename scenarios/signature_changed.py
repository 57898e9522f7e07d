"""A version that demands another input than the one in production, promoted under a client that sends what it always sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.integration import (
    TrackingApi,
    check_successor,
    newest_revision,
    read_signature,
    set_canary,
    shares,
    v2_request,
)
from trivet.integration.signatures import Signature
from trivet.model.clients import ClusterClient, StoreClient, TrafficClient, TrainerClient
from trivet.model.fault import SERVING, AffectedObject, Verb
from trivet.model.feature import CANARY_TRAFFIC
from trivet.model.handover import Handover
from trivet.model.scenario import Budgets, Case, Claim, Observation, Workload
from trivet.model.subjects import ModelDirectory
from trivet.scenarios import deploying
from trivet.scenarios.deploying import ROWS, Model, all_by
from trivet.toolkit.rollout import deployed
from trivet.toolkit.subjects import read_model_directory
from trivet.toolkit.watch import EFFECT, Watch

NAME = "promised-classifier"
TOUCH = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=NAME, namespace=SERVING)
COLUMNS = {"a": "float64", "b": "float64", "c": "float64"}
SUCCESSORS: Mapping[str, Mapping[str, Any]] = {
    "added-column": {"columns": {**COLUMNS, "d": "float64"}, "asked": [{**ROWS[0], "d": 0.75}]},
    "renamed-column": {
        "columns": {"a": "float64", "b": "float64", "tempo": "float64"},
        "asked": [{"a": 0.5, "b": -0.25, "tempo": 1.5}],
    },
    "optional-column": {"columns": {**COLUMNS, "d": "float64"}, "optional": ["d"]},
}
"""What the new version was trained with, and what a client would ask of it; the other variants have the first one."""
SLICE = 10
WATCHED = 8.0
"""Seconds of traffic after the new version has its share."""


@scenario(
    title="The new version demands an input that running clients do not send",
    happens=(
        "A new version was trained with a column that is new, or has another name, and is promoted. Clients send what they always sent, "
        "and from the moment it has the traffic MLflow refuses their rows inside the server, which is ready and well."
    ),
    recognise=(
        "HTTP 500 to every request since the promotion; the body says that the model is missing inputs, and the server's log "
        "'Failed to enforce schema of data'. The InferenceService is Ready=True, and its pods do not restart."
    ),
    remedy=(
        "Compare the new signature with the one in production before the promotion (trivet.integration.check_successor); give new columns "
        "a value in the model and make them optional, or deploy beside the old service and move clients over."
    ),
    variants=(
        unprotected("added-column", "the new version demands one column more"),
        unprotected("renamed-column", "the new version calls a column by another name", extended=True),
        remedied("checked", "trivet.integration.check_successor is asked before the promotion"),
        remedied(
            "optional-column",
            "the new column is optional, and the model has a value for it",
            extended=True,
        ),
        remedied("canary-slice", f"the new version gets {SLICE} % of the traffic first", protects=False, extended=True),
    ),
    affected_objects=(TOUCH,),
    budgets=Budgets(steady_state=60, symptom=60, recovery=180),
    features=(CANARY_TRAFFIC,),
    claims=(
        Claim(
            text="Signature enforcement keeps a model with another input from the clients of the one in production.",
            holds=False,
            found="it is registered, deployed and Ready like any other; what is enforced is each request, and each of them fails",
            variants=("added-column", "renamed-column"),
        ),
        Claim(
            text="A request that a signature refuses is answered as the client's mistake, HTTP 400.",
            holds=False,
            found="MLServer answers HTTP 500 with MLflow's exception, so that whoever counts server errors blames the model",
            variants=("added-column", "renamed-column"),
        ),
    ),
    sources=(
        "mlflow 2.10.2 mlflow/models/utils.py, _enforce_schema: a missing column is an exception while predicting",
        "mlserver-mlflow 1.5.0 mlserver_mlflow/runtime.py: the exception passes through, as HTTP 500",
    ),
)
def promoted_under_clients(
    cluster: ClusterClient,
    traffic: TrafficClient,
    trainer: TrainerClient,
    tracking: TrackingApi,
    store: StoreClient,
    handover: Handover,
    variant: str,
) -> Iterator[Case]:
    root = handover.artifact_root
    old = deploying.model(trainer, tracking, root, key="the model in production")
    change = variant if variant in SUCCESSORS else "added-column"
    refused: list[str] = []
    watched: list[Watch] = []

    def symptom(watch: Watch) -> Observation:
        watched.append(watch)
        return deploying.calm(watch, refused) if refused else _lost(watch)

    new = deploying.model(
        trainer, tracking, root, key=f"the new version, {change}", label_offset=10, **SUCCESSORS[change]
    )
    workload = Workload(
        service=NAME, request=v2_request(None, ROWS), models={one.name: one.answer for one in (old, new)}
    )
    percent = SLICE if variant == "canary-slice" else 100
    patch = deploying.to_model(new)
    if variant == "canary-slice":
        patch["spec"]["predictor"] |= set_canary(SLICE)["spec"]["predictor"]
    with deployed(cluster, deploying.service(NAME, old, cluster)) as stable:
        before = newest_revision(stable)
        yield Case(
            fault=deploying.changed(
                NAME,
                patch,
                what=f"{new.name} is promoted to {percent} % of the traffic",
                shows=lambda observed: _shared(observed, before, percent),
                gate=(lambda: _broken(store, new, old)) if variant == "checked" else lambda: "",
                refused=refused,
            ),
            steady_state=lambda: all_by(traffic, workload, old.name),
            symptom=symptom,
            afterwards=lambda sighting: deploying.with_the_way_back(watched[0], sighting, innocent=bool(refused)),
            workload=workload,
        )


def _lost(watch: Watch) -> Observation:
    """What clients lose once the new version has its share of the traffic."""
    watch.wait(WATCHED)
    since, whole = watch.outage(EFFECT), watch.outage()
    told = symptom_observed if whole.lost else symptom_not_observed
    return told(
        f"with the new version in place {since.lost} of {since.requests} lost; since the patch was sent {whole}",
        lost=since.lost,
        requests=since.requests,
        share_lost=round(since.lost / since.requests, 3),
    )


def _shared(observed: Mapping[str, Any], before: str, percent: int) -> str:
    newest = newest_revision(observed)
    there = newest not in ("", before) and shares(observed).get(newest) == percent
    return f"{newest} has {percent} % of the traffic" if there else ""


def _broken(store: StoreClient, new: Model, old: Model) -> str:
    """What the core library has against the new version, by the signatures of both as they lie in the store."""
    problems = check_successor(_signature(store, new), _signature(store, old))
    return problems[0] if problems else ""


def _signature(store: StoreClient, of: Model) -> Signature | None:
    (subject,) = read_model_directory(store.download(of.storage_uri).directory).subjects
    return read_signature(subject.mlmodel) if isinstance(subject, ModelDirectory) else None
