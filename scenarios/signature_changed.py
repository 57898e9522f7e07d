"""A version that requires another input than the one in production, promoted while clients send the old one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import (
    CANARY_TRAFFIC,
    DEFAULT_ROWS,
    INJECTED,
    SERVING,
    AffectedObject,
    Budgets,
    Case,
    Claim,
    ClusterClient,
    ModelDirectory,
    ModelMaker,
    NotYet,
    Observation,
    Probed,
    ServableModel,
    StoreClient,
    TrafficClient,
    Verb,
    Watch,
    Workload,
    deployed,
    read_model_directory,
    remedied,
    scenario,
    symptom_not_observed,
    symptom_observed,
    unprotected,
)
from trivet.integration import (
    canary_patch,
    check_successor,
    newest_revision,
    read_signature,
    traffic_shares,
    v2_request,
)
from trivet.integration.signatures import Signature
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import answered_only_by

NAME = "promised-classifier"
SERVICE = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=NAME, namespace=SERVING)
COLUMNS = {"a": "float64", "b": "float64", "c": "float64"}
SUCCESSORS: Mapping[str, Mapping[str, Any]] = {
    "added-column": {"columns": {**COLUMNS, "d": "float64"}, "rows": [{**DEFAULT_ROWS[0], "d": 0.75}]},
    "renamed-column": {
        "columns": {"a": "float64", "b": "float64", "tempo": "float64"},
        "rows": [{"a": 0.5, "b": -0.25, "tempo": 1.5}],
    },
    "optional-column": {"columns": {**COLUMNS, "d": "float64"}, "optional": ["d"]},
}
"""Arguments of the new version, with rows that suit its signature; the other variants use the first one."""
CANARY_SHARE = 10
"""Percent of the traffic."""
OBSERVED = 8.0
"""Seconds of traffic after the new version has its share."""


@scenario(
    title="The new version requires an input that running clients do not send",
    happens=(
        "A new version is trained with a column that is new, or has another name, and is promoted. Clients keep sending the old columns, "
        "and once it has the traffic MLflow rejects their rows inside the server, which is ready and healthy."
    ),
    recognise=(
        "HTTP 500 for every request since the promotion; the body names the missing inputs, and the server's log has 'Failed to enforce "
        "schema of data'. The InferenceService is Ready=True, and its pods do not restart."
    ),
    remedy=(
        "Compare the new signature with the one in production before the promotion (trivet.integration.check_successor); make new columns "
        "optional with a default in the model, or deploy a second service and migrate the clients."
    ),
    variants=(
        unprotected("added-column", "the new version requires one more column"),
        unprotected("renamed-column", "the new version has another name for a column", extended=True),
        remedied("checked", "trivet.integration.check_successor runs before the promotion"),
        remedied(
            "optional-column",
            "the new column is optional, with a default in the model",
            extended=True,
        ),
        remedied(
            "canary-share", f"the new version gets {CANARY_SHARE} % of the traffic first", protects=False, extended=True
        ),
    ),
    affected_objects=(SERVICE,),
    budgets=Budgets(steady_state=60, symptom=60, recovery=180),
    features=(CANARY_TRAFFIC,),
    claims=(
        Claim(
            text="Signature enforcement keeps a model with another input from replacing the one in production.",
            holds=False,
            found="the model is registered, deployed and Ready like any other; each request is checked, and each fails",
            variants=("added-column", "renamed-column"),
        ),
        Claim(
            text="A request that violates the signature is answered as a client error, HTTP 400.",
            holds=False,
            found="MLServer answers HTTP 500 with MLflow's exception, so that it counts as a server error of the model",
            variants=("added-column", "renamed-column"),
        ),
    ),
    sources=(
        "mlflow 2.10.2 mlflow/models/utils.py, _enforce_schema: a missing column is an exception while predicting",
        "mlserver-mlflow 1.5.0 mlserver_mlflow/runtime.py: the exception is not caught, which makes HTTP 500",
    ),
)
def promoted_under_clients(
    cluster: ClusterClient,
    traffic: TrafficClient,
    models: ModelMaker,
    store: StoreClient,
    variant: str,
) -> Iterator[Case]:
    old = models.make("the model in production")
    change = variant if variant in SUCCESSORS else "added-column"
    new = models.make(f"the new version, {change}", label_offset=10, **SUCCESSORS[change])
    workload = Workload(
        service=NAME, request=v2_request(None, DEFAULT_ROWS), models={one.name: one.answer for one in (old, new)}
    )
    percent = CANARY_SHARE if variant == "canary-share" else 100
    patch = _deployments.model_patch(new)
    if variant == "canary-share":
        patch["spec"]["predictor"] |= canary_patch(CANARY_SHARE)["spec"]["predictor"]

    def symptom(watch: Watch) -> Observation:
        return _deployments.observe_refused(watch) if watch.refusal else _observe(watch)

    def afterwards(watch: Watch, observation: Observation) -> Observation:
        return _deployments.with_recovery(watch, observation, harmless=bool(watch.refusal))

    with deployed(cluster, _deployments.service(NAME, old, cluster)) as stable:
        before = newest_revision(stable)
        yield Case(
            fault=_deployments.service_patched(
                NAME,
                patch,
                title=f"{new.name} is promoted to {percent} % of the traffic",
                shows=lambda observed: _shared(observed, before, percent),
                gate=(lambda: _incompatibility(store, new, old)) if variant == "checked" else lambda: "",
            ),
            steady_state=lambda: answered_only_by(traffic, workload, old.name),
            symptom=symptom,
            afterwards=afterwards,
            workload=workload,
        )


def _observe(watch: Watch) -> Observation:
    """What clients lose once the new version has its share of the traffic."""
    watch.wait(OBSERVED)
    since, whole = watch.outage(INJECTED), watch.outage()
    result = symptom_observed if whole.lost else symptom_not_observed
    return result(
        f"{since.lost} of {since.requests} requests lost once the new version had its traffic; since the patch {whole}",
        lost=since.lost,
        requests=since.requests,
        share_lost=round(since.lost / since.requests, 3),
    )


def _shared(observed: Mapping[str, Any], before: str, percent: int) -> Probed:
    newest = newest_revision(observed)
    if newest in ("", before) or traffic_shares(observed).get(newest) != percent:
        return NotYet(f"traffic by revision: {traffic_shares(observed)}")
    return f"{newest} has {percent} % of the traffic"


def _incompatibility(store: StoreClient, new: ServableModel, old: ServableModel) -> str:
    """The first incompatibility of the new version's signature with the old one's, both read from the store; empty for none."""
    problems = check_successor(_signature(store, new), _signature(store, old))
    return problems[0] if problems else ""


def _signature(store: StoreClient, model: ServableModel) -> Signature | None:
    (subject,) = read_model_directory(store.download(model.storage_uri).directory).subjects
    return read_signature(subject.mlmodel) if isinstance(subject, ModelDirectory) else None
