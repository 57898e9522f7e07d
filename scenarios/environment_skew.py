"""A model that was trained with newer packages than the serving image has: what happens to a service that gets it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import (
    DEFAULT_ROWS,
    FAULT,
    SERVING,
    AffectedObject,
    Budgets,
    CannotTell,
    Case,
    Claim,
    ClusterClient,
    ExternalTrainerClient,
    ModelMaker,
    NotYet,
    Observation,
    Probed,
    ServableModel,
    Stack,
    StoreClient,
    TrafficClient,
    Verb,
    Watch,
    Workload,
    answered_by,
    deployed,
    refusal,
    remedied,
    scenario,
    symptom_not_observed,
    symptom_observed,
    unprotected,
)
from trivet.integration import v2_request
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import answered_only_by
from trivet.scenarios._service_status import StatusLog, container_failures, is_load_error, summarize_status

NAME = "skewed-classifier"
PUBLISHED = "2024.11"
"""The stack whose trainer is not pinned to any serving image: a published one."""
SERVICE = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=NAME, namespace=SERVING)
LOADED = "answers_after_seconds"
"""Measured only of a model that loaded."""
OBSERVED, AFTER_FAILURE = 90.0, 20.0
"""Seconds of observation after the change, and after the container's error: clients have lost requests by then, or lose none."""


@scenario(
    title="The model is trained in another environment than it is served in",
    happens=(
        "A model is trained and saved with newer packages than the serving image has. MLflow only warns, the registry and admission accept "
        "it, and its pickle names classes that the server does not have. The server's port is open until loading fails, so that by "
        "KServe's default readiness the new revision gets the traffic, exits and restarts."
    ),
    recognise=(
        "Every request fails or stalls from seconds after a deployment on, though the InferenceService is Ready=True and UpToDate and "
        "the earlier revision still has a ready pod. Pods of the new one are 'Completed' and restart; their log has \"No module named "
        "'_loss'\", 'MT19937 is not a known BitGenerator module' or the like."
    ),
    remedy=(
        "Pin the trainer to the serving image's lock for all packages that are pickled, and let the contracts environment.* (`trivet lint` "
        "on the model's directory) refuse other models; with a readiness probe for the model, such a revision never gets traffic."
    ),
    variants=(
        unprotected("runtime-default", "a running service, ready when its port is open, gets the model"),
        remedied("model-probe", "the same service with a readiness probe for the model"),
        remedied("gate", "the contracts environment.* are checked before the deployment"),
        remedied("pinned-trainer", "the trainer is pinned to the serving image's lock", extended=True),
    ),
    affected_objects=(SERVICE,),
    budgets=Budgets(steady_state=60, symptom=120, recovery=180),
    claims=(
        Claim(
            text="A service that is Ready=True and UpToDate serves its model.",
            holds=False,
            found="it is both within 10 s, while every request is answered HTTP 400 or not at all; the container's log names the cause",
            variants=("runtime-default",),
        ),
        Claim(
            text="Until a new revision works the earlier one keeps answering.",
            holds=False,
            found="only with a readiness probe for the model; by its port a revision is ready before its model fails to load",
            variants=("runtime-default", "model-probe"),
        ),
    ),
    sources=(
        "mlserver 1.5.0 mlserver/server.py, MLServer.start: the servers listen while models load, and exit with status 0 when one does not",
        "kserve 0.14.1 pkg/apis/serving/v1beta1/inference_service_status.go, PropagateModelStatus: only a container that terminated with "
        "an error, or is in CrashLoopBackOff, makes a failed load",
    ),
)
def newer_training_packages(
    cluster: ClusterClient,
    traffic: TrafficClient,
    models: ModelMaker,
    store: StoreClient,
    external_trainer: ExternalTrainerClient,
    stack: Stack,
    variant: str,
) -> Iterator[Case]:
    if variant == "pinned-trainer":
        _deployments.require_pinned_trainer(stack)
    earlier = models.make("the model in production")
    document = _deployments.service(NAME, earlier, cluster)
    if variant == "runtime-default":
        document = _deployments.without_probe(document)
    boosted: dict[str, Any] = {"estimator": "gradient-boosting", "label_offset": 10}
    if variant == "pinned-trainer":
        new = models.make("the pinned trainer's model", **boosted)
    else:
        new, directory = _deployments.externally_trained_model(
            external_trainer,
            store,
            external_trainer.of_stack(PUBLISHED),
            name="the external trainer's model",
            **boosted,
        )
    workload = Workload(
        service=NAME, request=v2_request(None, DEFAULT_ROWS), models={one.name: one.answer for one in (earlier, new)}
    )

    def symptom(watch: Watch) -> Observation:
        return _deployments.observe_refused(watch) if watch.refusal else _observe(cluster, watch, workload, new)

    def afterwards(watch: Watch, observation: Observation) -> Observation:
        harmless = bool(watch.refusal) or LOADED in observation.measured
        return _deployments.with_recovery(watch, observation, harmless=harmless)

    with deployed(cluster, document) as stable:
        before = _newest(stable)
        yield Case(
            fault=_deployments.service_patched(
                NAME,
                _deployments.model_patch(new),
                title=f"{new.name} is deployed",
                shows=lambda observed: _created(observed, before),
                gate=(lambda: refusal(directory, stack, "environment.*")) if variant == "gate" else lambda: "",
            ),
            steady_state=lambda: answered_only_by(traffic, workload, earlier.name),
            symptom=symptom,
            afterwards=afterwards,
            workload=workload,
            gauges={"pods ready": lambda: _deployments.ready_pods_by_revision(cluster, NAME)},
        )


def _observe(cluster: ClusterClient, watch: Watch, workload: Workload, new: ServableModel) -> Observation:
    """What clients, the service's status and its container's log show while the model should load."""
    began = watch.since(FAULT)
    log = StatusLog(began)
    failure, failed_after = None, 0.0
    loaded: float | None = None
    while (at := round(time.monotonic() - began, 1)) < (
        failed_after + AFTER_FAILURE if failure else OBSERVED
    ) and watch.left > 5:
        time.sleep(1.0)
        log.record(summarize_status(cluster.get("inferenceservice", NAME) or {}))
        if not failure and (failure := next(filter(is_load_error, container_failures(cluster, NAME)), None)):
            failed_after = at
            watch.mark("container error")
        if {answered_by(answer, workload.models) for answer in watch.answers_so_far()[-5:]} == {new.name}:
            loaded = at
            break
    outage = watch.outage()
    measured: dict[str, float | str] = {"lost": outage.lost, "requests": outage.requests, "service_status": log.last}
    message = str(outage)
    if failure:
        measured["container_error_after_seconds"] = failed_after
        message += (
            f"; container error after {failed_after:.0f} s: {failure}; status of the InferenceService: {log.last}"
        )
    if loaded is not None:
        measured[LOADED] = loaded
        message += f"; {new.name} answers after {loaded:.0f} s"
    if loaded is None and not failure:
        raise CannotTell(f"the model neither answered nor failed within {at:.0f} s: {message}")
    if loaded is not None and outage.lost:
        raise CannotTell(f"the model loaded, and yet requests were lost, which ready_not_loaded shows: {message}")
    result = symptom_observed if outage.lost else symptom_not_observed
    return result(message, evidence=(log.evidence("status of the InferenceService"),), **measured)


def _newest(observed: Mapping[str, Any]) -> str:
    component = ((observed.get("status") or {}).get("components") or {}).get("predictor") or {}
    return str(component.get("latestCreatedRevision") or "")


def _created(observed: Mapping[str, Any], before: str) -> Probed:
    newest = _newest(observed)
    if newest in ("", before):
        return NotYet(f"the newest revision is {newest or 'unknown'}")
    return f"Knative created revision {newest}"
