"""A storage URI without a model: what the InferenceService reports, and for how long it looks as if it were still starting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from trivet.authoring import (
    MINIMAL_RESOURCES,
    SERVING,
    AffectedObject,
    Budgets,
    CannotTell,
    Case,
    Claim,
    ClusterClient,
    Fault,
    FaultInjector,
    Handover,
    LoggedModel,
    Observation,
    PlatformError,
    StoreClient,
    TrackingApi,
    TrafficClient,
    TrivetError,
    Verb,
    Watch,
    applied,
    in_turn,
    remedied,
    scenario,
    symptom_not_observed,
    symptom_observed,
    unprotected,
)
from trivet.integration import build_inference_service, check_storage_uri, v2_request
from trivet.scenarios._deployments import absent
from trivet.scenarios._service_status import is_not_found, watch_loading

NAME = "lost-classifier"
SERVICE = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=NAME, namespace=SERVING)
NO_CREDENTIALS = "trivet-without-credentials"
ACCOUNT = AffectedObject(verb=Verb.CREATE, kind="ServiceAccount", name=NO_CREDENTIALS, namespace=SERVING)
ROW = {"age": 0.5, "sessions": 4, "basket": 0.2, "recency": -0.3, "discount": 0.1, "engagement": 0.4}
"""An input of the example pipeline's model."""


@scenario(
    title="KServe cannot find the model",
    happens=(
        "The storage URI of an InferenceService leads to a directory without a model: one level too high or too deep, another bucket, an "
        "MLflow URI, or the right directory without credentials. The service is admitted all the same, and never becomes ready."
    ),
    recognise=(
        "The pods are in Init:Error, Init:CrashLoopBackOff or restart; the container's log names the cause ('Could not find an \"MLmodel\" "
        "configuration file', 'NoSuchBucket', …). The InferenceService reports only Unknown, or that the revision is deploying."
    ),
    remedy=(
        "Take the URI from trivet.integration.resolve_storage_uri, never from run.artifact_uri and a suffix; `trivet lint` and the "
        "contracts paths.* find a wrong one before the deployment."
    ),
    variants=(
        unprotected("too-high", "the directory above the model's: `…/artifacts/` instead of `…/artifacts/model/`"),
        unprotected("too-deep", "a directory below the model's that does not exist", extended=True),
        unprotected("wrong-bucket", "a bucket that does not exist", extended=True),
        unprotected(
            "no-credentials", "the right URI, with a service account without the store's credentials", extended=True
        ),
        unprotected(
            "artifact-uri",
            "the run's artifact URI and the artifact path: there MLflow 2 stores a model, and MLflow 3 does not",
            expected=None,
            extended=True,
        ),
        unprotected("mlflow-uri", "a URI that only MLflow resolves, `models:/NAME/VERSION`", extended=True),
        unprotected(
            "proxied-uri",
            "the URI of a tracking server that proxies its store, `mlflow-artifacts:/…`",
            extended=True,
        ),
        remedied("resolved-uri", "the URI that the core library resolves"),
    ),
    affected_objects=(SERVICE, ACCOUNT),
    budgets=Budgets(steady_state=60, symptom=150, recovery=120),
    claims=(
        Claim(
            text="The InferenceService reports that the model could not be loaded.",
            holds=False,
            found=(
                "for more than a minute it reports only that it is not ready; the container's log names the cause within seconds. KServe "
                "0.20.0 reports a failed load as soon as the initializer fails, also when its retry succeeds, and no sooner for a server"
            ),
            variants=("too-high", "too-deep", "wrong-bucket", "no-credentials"),
        ),
    ),
    sources=(
        "kserve 0.14.1 python/storage: Storage.download",
        "measured with MLflow 3.17.2 and KServe 0.20.0: 'No model found' after 4 s at the run's artifact URI and the artifact path",
        "measured: `…/artifacts` instead of `…/artifacts/model` is BlockedByFailedLoad only after about 60 s",
        "measured: MLServer 1.5.0 exits with status 0 when its model does not load, so that the pod is Completed",
    ),
)
def wrong_storage_uri(
    cluster: ClusterClient,
    traffic: TrafficClient,
    store: StoreClient,
    tracking: TrackingApi,
    handover: Handover,
    variant: str,
) -> Iterator[Case]:
    run = tracking.get_run(handover.model.run_id)
    uri = wrong_uri(handover.storage_uri, variant, handover.model, run["info"]["artifact_uri"])

    def symptom(watch: Watch) -> Observation:
        if watch.refusal:
            return symptom_not_observed(
                f"refused at admission: {watch.refusal}", before_deployment=before_deployment(store, uri)
            )
        loading = watch_loading(cluster, watch, NAME, counts=is_not_found)
        measured = {**loading.measured, "before_deployment": before_deployment(store, uri)}
        if loading.ready_after is None and not loading.failed:
            raise CannotTell(f"neither Ready nor failed within the budget: {loading.message}")
        if loading.ready_after is None:
            return symptom_observed(loading.message, evidence=loading.evidence, **measured)
        answer = traffic.send(NAME, v2_request(None, [ROW]), times=1)[0]
        if answer.status != 200:
            return symptom_observed(
                f"{loading.message}, and then it answered {answer}", evidence=loading.evidence, **measured
            )
        return symptom_not_observed(f"{loading.message}, and answered a request", evidence=loading.evidence, **measured)

    fault = _deployed(_service(handover, uri, variant), uri)
    if variant == "no-credentials":
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": NO_CREDENTIALS, "namespace": SERVING},
        }
        fault = in_turn(applied(account, name="a service account without credentials"), fault)
    yield Case(
        fault=fault,
        steady_state=lambda: absent(cluster, NAME),
        symptom=symptom,
    )


def wrong_uri(right: str, variant: str, model: LoggedModel, artifact_uri: str) -> str:
    """The storage URI of a variant, from the right one and the run's artifact URI."""
    above = right.rstrip("/").rpartition("/")[0]
    bucket, _, path = right.partition("://")[2].partition("/")
    return {
        "too-high": f"{above}/",
        "too-deep": f"{right.rstrip('/')}/model/",
        "wrong-bucket": f"s3://{bucket}-nonexistent/{path}",
        "no-credentials": right,
        "artifact-uri": f"{artifact_uri}/{model.artifact_path}/",
        "mlflow-uri": f"models:/{model.registered_name}/{model.version}",
        "proxied-uri": f"mlflow-artifacts:/{path}",
        "resolved-uri": right,
    }[variant]


def _deployed(document: Mapping[str, Any], uri: str) -> Fault:
    """The service is applied; an admission webhook may refuse it."""
    admitted = applied(document, name=f"an InferenceService for {uri}")

    def inject(injector: FaultInjector) -> str | None:
        try:
            return admitted.inject(injector)
        except PlatformError as error:
            if "admission webhook" not in error.message:
                raise
            return error.message[-400:]

    return replace(admitted, inject=inject)


def before_deployment(store: StoreClient, uri: str) -> str:
    """The result of checking a storage URI before the deployment, by the core library and by reading the store."""
    if problems := [one.message for one in check_storage_uri(uri) if not one.advice]:
        return f"refused: {problems[0]}"
    try:
        files = store.files(uri)
    except TrivetError as error:
        return f"refused: {error.message}"
    return (
        "accepted: the URI has an MLmodel"
        if "MLmodel" in files
        else f"refused: no MLmodel among {len(files)} files at the URI"
    )


def _service(handover: Handover, uri: str, variant: str) -> dict[str, Any]:
    document = build_inference_service(
        name=NAME,
        storage_uri=handover.storage_uri,
        run_id=handover.model.run_id,
        pipeline="trivet",
        model_name=handover.model.registered_name,
        model_version=handover.model.version,
        min_replicas=1,
        max_replicas=1,
        cpu_target=None,
        resources=MINIMAL_RESOURCES,
    )
    document["metadata"]["namespace"] = SERVING
    # The core library refuses some of these URIs; a manifest written by hand is not checked.
    document["spec"]["predictor"]["model"]["storageUri"] = uri
    if variant == "no-credentials":
        document["spec"]["predictor"]["serviceAccountName"] = NO_CREDENTIALS
    return document
