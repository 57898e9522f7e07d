"""KServe is told to serve what is not there, or not a model: what the service says, and how long it looks as if it were only starting."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trivet.engine.authoring import evidence
from trivet.engine.scenarios.authoring import remedied, scenario, seen, unprotected, unseen
from trivet.engine.scenarios.faults import applied
from trivet.engine.scenarios.watch import FAULT, Watch
from trivet.errors import CannotTell, PlatformError, TrivetError
from trivet.integration import TrackingApi, build_inference_service, check_storage_uri, is_ready, v2_request
from trivet.model.fault import SERVING, Fault, Touch, Verb
from trivet.model.finding import Evidence
from trivet.model.handover import Handover, LoggedModel
from trivet.model.scenario import Budgets, Case, Claim, Sighting
from trivet.targets.base import ClusterClient, Hands, StoreClient, TrafficClient
from trivet.targets.cluster.rollout import FRUGAL

NAME = "lost-classifier"
SERVER = "kserve-container"
CONTAINERS = ("storage-initializer", SERVER)
TOUCH = Touch(verb=Verb.CREATE, kind="InferenceService", name=NAME, namespace=SERVING)
SELECTOR = f"serving.kserve.io/inferenceservice={NAME}"
PATIENCE = 75.0
"""Seconds after the container named the cause in which the service should say that it failed: it was seen to after about 60."""
POOR = "trivet-without-credentials"
ROW = {"age": 0.5, "sessions": 4, "basket": 0.2, "recency": -0.3, "discount": 0.1, "engagement": 0.4}
"""An input of the example pipeline's model."""

_ERROR = re.compile(
    r"(\w+(Error|Exception|Failure)\b|Could not find|No such file|NoSuch\w+|Unable to|AccessDenied|Forbidden|not found)"
)


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
        unprotected("too-deep", "a directory below the model's that does not exist", further=True),
        unprotected("wrong-bucket", "a bucket that does not exist", further=True),
        unprotected(
            "no-credentials", "the right URI, for a service account without the store's credentials", further=True
        ),
        unprotected(
            "artifact-uri",
            "the run's artifact URI and the artifact path, which is where MLflow 2 puts a model, and MLflow 3 does not",
            expected=None,
            further=True,
        ),
        unprotected(
            "mlflow-uri", "a URI that only MLflow resolves, `models:/NAME/VERSION`", expected=None, further=True
        ),
        unprotected(
            "proxied-uri",
            "the URI of a tracking server that stands before its store, `mlflow-artifacts:/…`",
            expected=None,
            further=True,
        ),
        remedied("resolved-uri", "the URI that the core library resolves"),
    ),
    touches=(TOUCH,),
    budgets=Budgets(steady=60, symptom=150, recovery=120),
    claims=(
        Claim(
            text="The InferenceService tells when the model could not be loaded.",
            holds=False,
            found="for a long time it only says that it is not ready; the container's log names the cause within seconds",
            variants=("too-high", "too-deep", "wrong-bucket", "no-credentials"),
        ),
    ),
    sources=(
        "kserve 0.14.1 python/storage: Storage.download",
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
    if variant == "no-credentials":
        cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": POOR}})

    refusal: list[str] = []

    def symptom(watch: Watch) -> Sighting:
        if refusal:
            return unseen(f"admission refused it: {refusal[0]}", before_deployment=before_deployment(store, uri))
        told = _observe(cluster, watch)
        measured = {**told.measured, "before_deployment": before_deployment(store, uri)}
        if told.ready is None and not told.failed:
            raise CannotTell(f"neither ready nor failed, which only shows that all is slow: {told.message}")
        if told.ready is None:
            return seen(told.message, evidence=told.proof, **measured)
        answer = traffic.send(NAME, v2_request(None, [ROW]), times=1)[0]
        if answer.status != 200:
            return seen(f"{told.message}, and then it answered {answer}", evidence=told.proof, **measured)
        return unseen(f"{told.message}, and answered a request", evidence=told.proof, **measured)

    yield Case(
        fault=_deployed(_service(handover, uri, variant), uri, refusal),
        steady=lambda: "" if cluster.get("inferenceservice", NAME) else f"there is no InferenceService {NAME}",
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


def _deployed(document: Mapping[str, Any], uri: str, refusal: list[str]) -> Fault:
    """The service is applied. A webhook that refuses it has seen the fault too; its words go into ``refusal``."""
    plain = applied(document, name=f"an InferenceService for {uri}")

    def inject(hands: Hands) -> None:
        try:
            plain.inject(hands)
        except PlatformError as error:
            if "admission webhook" not in error.message:
                raise
            refusal.append(error.message[-400:])

    def took_effect(hands: Hands) -> str:
        return f"the API server was asked for it and said: {refusal[0]}" if refusal else plain.took_effect(hands)

    return replace(plain, inject=inject, took_effect=took_effect)


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


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was seen of the service: when it was ready (None: never), whether a container failed, in a sentence, in numbers and in full."""

    ready: float | None
    failed: bool
    message: str
    measured: Mapping[str, float | str]
    proof: tuple[Evidence, ...]


def _observe(cluster: ClusterClient, watch: Watch) -> Told:
    """Look until the service is ready, or has said that it failed, or the budget ends."""
    began = watch.since(FAULT)
    states: list[tuple[float, str]] = []
    cause, caused, admitted = "", 0.0, 0.0
    ready: float | None = None
    while watch.left > 5:
        at = round(time.monotonic() - began, 1)
        found = cluster.get("inferenceservice", NAME) or {}
        state = said(found)
        if not states or states[-1][1] != state:
            states.append((at, state))
        if not cause and (cause := _cause(cluster)):
            caused = at
            watch.mark("the container names the cause")
        if is_ready(found):
            ready = at
            watch.mark("Ready=True")
            break
        if not admitted and "BlockedByFailedLoad" in state:
            admitted = at
            watch.mark("the service says that it failed")
        if cause and (admitted or at > caused + PATIENCE):
            break
        time.sleep(1.0)
    until = f"after {admitted:.0f} s" if admitted else f"not within {time.monotonic() - began:.0f} s"
    message = (
        f"Ready=True after {ready:.0f} s"
        if ready is not None
        else f"the container said after {caused:.0f} s: {cause or 'nothing'}; the InferenceService said that loading failed {until}"
    )
    measured: dict[str, float | str] = {"service_says_failed": until}
    if cause:
        measured["container_says_after_seconds"] = caused
    table = evidence(
        "what the InferenceService said", "table", [{"after_seconds": at, "said": state} for at, state in states]
    )
    return Told(ready=ready, failed=bool(cause or admitted), message=message, measured=measured, proof=(table,))


def said(service: Mapping[str, Any]) -> str:
    """What an InferenceService says of itself, in a line: Ready with its reason, and the state of its model."""
    status = service.get("status") or {}
    ready: Mapping[str, Any] = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), {})
    model = status.get("modelStatus") or {}
    failure = model.get("lastFailureInfo") or {}
    parts = [
        f"Ready={ready.get('status', 'unsaid')}",
        str(ready.get("reason", "")),
        str(model.get("transitionStatus", "")),
        str(failure.get("reason", "")),
    ]
    return " ".join(part for part in parts if part)


def _cause(cluster: ClusterClient) -> str:
    """The line of a failed container's log that names the cause; empty while no container has failed."""
    for pod in (cluster.get("pod", selector=SELECTOR) or {}).get("items", ()):
        status = pod.get("status") or {}
        for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            ended = (one.get("state") or {}).get("terminated") or (one.get("lastState") or {}).get("terminated")
            # MLServer ends with status 0 when its model does not load; of a server any end is a failure.
            failed = ended and (one["name"] == SERVER or ended.get("exitCode"))
            if one["name"] not in CONTAINERS or not failed:
                continue
            name = pod["metadata"]["name"]
            for previous in (False, True):
                if told := telling(cluster.log(name, one["name"], previous=previous)):
                    return f"{one['name']}: {told}"
    return ""


def telling(log: str) -> str:
    """The last line of a log that names an error."""
    lines = [line.strip() for line in log.splitlines() if _ERROR.search(line)]
    return lines[-1][:300] if lines else ""
