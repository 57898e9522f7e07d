"""KServe is told to serve what is not there, or not a model: what the service says, and how long it looks as if it were only starting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.errors import CannotTell, PlatformError, TrivetError
from trivet.integration import TrackingApi, build_inference_service, check_storage_uri, v2_request
from trivet.model.clients import ClusterClient, FaultInjector, StoreClient, TrafficClient
from trivet.model.fault import SERVING, AffectedObject, Fault, Verb
from trivet.model.handover import Handover, LoggedModel
from trivet.model.scenario import Budgets, Case, Claim, Observation
from trivet.scenarios.observing import not_found, watch_loading
from trivet.toolkit.faults import applied, in_turn
from trivet.toolkit.rollout import FRUGAL
from trivet.toolkit.watch import Watch

NAME = "lost-classifier"
TOUCH = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=NAME, namespace=SERVING)
POOR = "trivet-without-credentials"
ACCOUNT = AffectedObject(verb=Verb.CREATE, kind="ServiceAccount", name=POOR, namespace=SERVING)
ROW = {"age": 0.5, "sessions": 4, "basket": 0.2, "recency": -0.3, "discount": 0.1, "engagement": 0.4}
"""An input of the example pipeline's model."""


@scenario(
    title="KServe cannot find the model",
    happens=(
        "The storage URI of an InferenceService leads to a directory without a model: one level too high or too deep, another bucket, a "
        "URI of MLflow's own, or the right place without the credentials for it. The service is admitted all the same, and never serves."
    ),
    recognise=(
        "The pods are in Init:Error, Init:CrashLoopBackOff or restart; the container's log names the cause ('Could not find an \"MLmodel\" "
        "configuration file', 'NoSuchBucket', …). The InferenceService itself only says Unknown or that the revision is deploying."
    ),
    remedy=(
        "Take the URI from trivet.integration.resolve_storage_uri, never from run.artifact_uri and a suffix; `trivet lint` and the "
        "contracts of paths.* find a wrong one before anything is deployed."
    ),
    variants=(
        unprotected("too-high", "the directory above the model's: `…/artifacts/` instead of `…/artifacts/model/`"),
        unprotected("too-deep", "a directory below the model's that does not exist", extended=True),
        unprotected("wrong-bucket", "a bucket that does not exist", extended=True),
        unprotected(
            "no-credentials", "the right URI, for a service account without the store's credentials", extended=True
        ),
        unprotected(
            "artifact-uri",
            "the run's artifact URI and the artifact path, which is where MLflow 2 puts a model, and MLflow 3 does not",
            expected=None,
            extended=True,
        ),
        unprotected("mlflow-uri", "a URI that only MLflow resolves, `models:/NAME/VERSION`", extended=True),
        unprotected(
            "proxied-uri",
            "the URI of a tracking server that stands before its store, `mlflow-artifacts:/…`",
            extended=True,
        ),
        remedied("resolved-uri", "the URI that the core library resolves"),
    ),
    affected_objects=(TOUCH, ACCOUNT),
    budgets=Budgets(steady_state=60, symptom=150, recovery=120),
    claims=(
        Claim(
            text="The InferenceService tells when the model could not be loaded.",
            holds=False,
            found=(
                "for a long time it only says that it is not ready; the container's log names the cause within seconds. KServe 0.20.0 says "
                "that loading failed as soon as its initializer did, also of one that only had to try twice, and no sooner of a server"
            ),
            variants=("too-high", "too-deep", "wrong-bucket", "no-credentials"),
        ),
    ),
    sources=(
        "kserve 0.14.1 python/storage: Storage.download",
        "measured with MLflow 3.17.2 and KServe 0.20.0: at the run's artifact URI and the artifact path 'No model found', said after 4 s",
        "measured: `…/artifacts` instead of `…/artifacts/model` is BlockedByFailedLoad only after about 60 s",
        "measured: MLServer 1.5.0 ends with exit status 0 when its model does not load, so that the pod says Completed",
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
    refused: list[str] = []

    def symptom(watch: Watch) -> Observation:
        if refused:
            return symptom_not_observed(
                f"admission refused it: {refused[0]}", before_deployment=before_deployment(store, uri)
            )
        told = watch_loading(cluster, watch, NAME, counts=not_found)
        measured = {**told.measured, "before_deployment": before_deployment(store, uri)}
        if told.ready is None and not told.failed:
            raise CannotTell(f"neither ready nor failed, which only shows that all is slow: {told.message}")
        if told.ready is None:
            return symptom_observed(told.message, evidence=told.proof, **measured)
        answer = traffic.send(NAME, v2_request(None, [ROW]), times=1)[0]
        if answer.status != 200:
            return symptom_observed(f"{told.message}, and then it answered {answer}", evidence=told.proof, **measured)
        return symptom_not_observed(f"{told.message}, and answered a request", evidence=told.proof, **measured)

    fault = _deployed(_service(handover, uri, variant), uri, refused)
    if variant == "no-credentials":
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": POOR, "namespace": SERVING}}
        fault = in_turn(applied(account, name="an account without credentials"), fault)
    yield Case(
        fault=fault,
        steady_state=lambda: "" if cluster.get("inferenceservice", NAME) else f"there is no InferenceService {NAME}",
        symptom=symptom,
    )


def wrong_uri(right: str, variant: str, model: LoggedModel, artifact_uri: str) -> str:
    """The storage URI of a variant, from the right one and the run's artifact URI."""
    above = right.rstrip("/").rpartition("/")[0]
    bucket, _, path = right.partition("://")[2].partition("/")
    return {
        "too-high": f"{above}/",
        "too-deep": f"{right.rstrip('/')}/model/",
        "wrong-bucket": f"s3://{bucket}-that-is-not-there/{path}",
        "no-credentials": right,
        "artifact-uri": f"{artifact_uri}/{model.artifact_path}/",
        "mlflow-uri": f"models:/{model.registered_name}/{model.version}",
        "proxied-uri": f"mlflow-artifacts:/{path}",
        "resolved-uri": right,
    }[variant]


def _deployed(document: Mapping[str, Any], uri: str, refused: list[str]) -> Fault:
    """The service is applied. A webhook that refuses it has seen the fault too; its words go into ``refused``."""
    plain = applied(document, name=f"an InferenceService for {uri}")

    def inject(injector: FaultInjector) -> None:
        try:
            plain.inject(injector)
        except PlatformError as error:
            if "admission webhook" not in error.message:
                raise
            refused.append(error.message[-400:])

    def verify_injected(injector: FaultInjector) -> str:
        return f"the API server was asked for it and said: {refused[0]}" if refused else plain.verify_injected(injector)

    return replace(plain, inject=inject, verify_injected=verify_injected)


def before_deployment(store: StoreClient, uri: str) -> str:
    """What can be said of a storage URI before anything is deployed, as the core library and the contracts of paths.* say it."""
    if problems := [one.message for one in check_storage_uri(uri) if not one.advice]:
        return f"refused: {problems[0]}"
    try:
        files = store.files(uri)
    except TrivetError as error:
        return f"refused: {error.message}"
    return "a model lies there" if "MLmodel" in files else f"refused: no MLmodel among {len(files)} files there"


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
        resources=FRUGAL,
    )
    document["metadata"]["namespace"] = SERVING
    # The core library refuses some of these; a manifest written by hand is refused by nobody.
    document["spec"]["predictor"]["model"]["storageUri"] = uri
    if variant == "no-credentials":
        document["spec"]["predictor"]["serviceAccountName"] = POOR
    return document
