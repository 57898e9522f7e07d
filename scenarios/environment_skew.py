"""A model that was trained with newer packages than the serving image has: what becomes of a service that gets it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring.gates import refusal
from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.errors import CannotTell
from trivet.integration import TrackingApi, v2_request
from trivet.model.clients import ClusterClient, ExternalTrainerClient, StoreClient, TrafficClient, TrainerClient
from trivet.model.fault import SERVING, AffectedObject, Verb
from trivet.model.finding import evidence
from trivet.model.handover import Handover
from trivet.model.scenario import Budgets, Case, Claim, Observation, Workload
from trivet.model.stack import Stack
from trivet.scenarios import deploying
from trivet.scenarios.deploying import ROWS, Model, all_by
from trivet.scenarios.observing import causes_of_failure, refused_by_server, said
from trivet.toolkit.client_traffic import answered_by
from trivet.toolkit.rollout import deployed
from trivet.toolkit.watch import FAULT, Watch

NAME = "skewed-classifier"
PUBLISHED = "2024.11"
"""The stack whose trainer is a real one that was not held to any serving image."""
TOUCH = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=NAME, namespace=SERVING)
LOADED = "answers_after_seconds"
"""What is measured of a model that loaded."""
WATCHED, PATIENCE = 90.0, 20.0
"""Seconds after the change in which the model loads or does not, and after the container said that it does not: clients have lost their
requests by then, or lose none."""


@scenario(
    title="The model was trained in another environment than it is served in",
    happens=(
        "A model is trained and saved with newer packages than the serving image has. MLflow only warns, registering and admission let it "
        "through, and its pickle names classes that are not there when the server loads it. The server's port is open until then, so that "
        "by KServe's own readiness the new revision gets the traffic, ends, and starts again."
    ),
    recognise=(
        "Every request fails or stalls from seconds after a deployment on, though the InferenceService says Ready=True and UpToDate and "
        "the earlier revision still has a ready pod. Pods of the new one end as 'Completed' and restart; their log says \"No module named "
        "'_loss'\", 'MT19937 is not a known BitGenerator module' or the like."
    ),
    remedy=(
        "Hold the trainer to the serving image's lock for whatever is pickled, and let the contracts environment.* (`trivet lint` on the "
        "model's directory) refuse what was not; with a readiness probe that asks for the model, such a revision never gets traffic."
    ),
    variants=(
        unprotected("trained-elsewhere", "a running service, ready when its port is open, gets the model"),
        remedied("model-probe", "the same service with a readiness probe that asks for the model"),
        remedied("gate", "the contracts environment.* are asked before the deployment"),
        remedied("held-trainer", "the trainer is held to the serving image's lock", extended=True),
    ),
    affected_objects=(TOUCH,),
    budgets=Budgets(steady_state=60, symptom=120, recovery=180),
    claims=(
        Claim(
            text="A service that is Ready=True and UpToDate serves its model.",
            holds=False,
            found="it says both within 10 s, while every request is answered HTTP 400 or not at all; the container's log names the cause",
            variants=("trained-elsewhere",),
        ),
        Claim(
            text="Until a new revision works the earlier one goes on answering.",
            holds=False,
            found="only with a readiness probe that asks for the model; by its port a revision is ready before its model fails to load",
            variants=("trained-elsewhere", "model-probe"),
        ),
    ),
    sources=(
        "mlserver 1.5.0 mlserver/server.py, MLServer.start: the servers listen while models load, and end with status 0 when one does not",
        "kserve 0.14.1 pkg/apis/serving/v1beta1/inference_service_status.go, PropagateModelStatus: only a container that ended with an "
        "error, or is in CrashLoopBackOff, is a model that failed",
    ),
)
def trained_elsewhere(
    cluster: ClusterClient,
    traffic: TrafficClient,
    trainer: TrainerClient,
    tracking: TrackingApi,
    store: StoreClient,
    external_trainer: ExternalTrainerClient,
    handover: Handover,
    stack: Stack,
    variant: str,
) -> Iterator[Case]:
    if variant == "held-trainer":
        deploying.check_held(stack)
    root = handover.artifact_root
    earlier = deploying.model(trainer, tracking, root, key="the model in production")
    document = deploying.service(NAME, earlier, cluster)
    if variant == "trained-elsewhere":
        document = deploying.without_probe(document)
    boosted: dict[str, Any] = {"estimator": "gradient-boosting", "label_offset": 10}
    if variant == "held-trainer":
        new = deploying.model(trainer, tracking, root, key="the held trainer's model", **boosted)
    else:
        new, directory = deploying.externally_trained_model(
            external_trainer, store, external_trainer.of_stack(PUBLISHED), key="the model from elsewhere", **boosted
        )
    workload = Workload(
        service=NAME, request=v2_request(None, ROWS), models={one.name: one.answer for one in (earlier, new)}
    )
    refused: list[str] = []
    watched: list[Watch] = []

    def symptom(watch: Watch) -> Observation:
        watched.append(watch)
        return deploying.calm(watch, refused) if refused else _watched(cluster, watch, workload, new)

    with deployed(cluster, document) as stable:
        before = _newest(stable)
        yield Case(
            fault=deploying.changed(
                NAME,
                deploying.to_model(new),
                what=f"{new.name} is deployed",
                shows=lambda observed: _created(observed, before),
                gate=(lambda: refusal(directory, stack, "environment.*")) if variant == "gate" else lambda: "",
                refused=refused,
            ),
            steady_state=lambda: all_by(traffic, workload, earlier.name),
            symptom=symptom,
            afterwards=lambda sighting: deploying.with_the_way_back(
                watched[0], sighting, innocent=bool(refused) or LOADED in sighting.measured
            ),
            workload=workload,
            gauges={"pods ready": lambda: deploying.pods(cluster, NAME)},
        )


def _watched(cluster: ClusterClient, watch: Watch, workload: Workload, new: Model) -> Observation:
    """What became of the service, of its clients, and what it and its container said of the model."""
    began = watch.since(FAULT)
    states: list[tuple[float, str]] = []
    cause, caused = None, 0.0
    loaded: float | None = None
    while (at := round(time.monotonic() - began, 1)) < (caused + PATIENCE if cause else WATCHED) and watch.left > 5:
        time.sleep(1.0)
        state = said(cluster.get("inferenceservice", NAME) or {})
        if not states or states[-1][1] != state:
            states.append((at, state))
        if not cause and (cause := next(filter(refused_by_server, causes_of_failure(cluster, NAME)), None)):
            caused = at
            watch.mark("the container names the cause")
        if {answered_by(answer, workload.models) for answer in watch.answers()[-5:]} == {new.name}:
            loaded = at
            break
    outage = watch.outage()
    measured: dict[str, float | str] = {"lost": outage.lost, "requests": outage.requests, "service_said": states[-1][1]}
    message = str(outage)
    if cause:
        measured["container_says_after_seconds"] = caused
        message += f"; the container said after {caused:.0f} s: {cause}; the InferenceService: {states[-1][1]}"
    if loaded is not None:
        measured[LOADED] = loaded
        message += f"; {new.name} answers after {loaded:.0f} s"
    table = evidence(
        "what the InferenceService said", "table", [{"after_seconds": at, "said": state} for at, state in states]
    )
    if loaded is None and not cause:
        raise CannotTell(f"the model neither answered nor failed, which only shows that all is slow: {message}")
    if loaded is not None and outage.lost:
        raise CannotTell(f"the model loaded, and yet requests were lost, which ready_not_loaded is about: {message}")
    told = symptom_observed if outage.lost else symptom_not_observed
    return told(message, evidence=(table,), **measured)


def _newest(observed: Mapping[str, Any]) -> str:
    component = ((observed.get("status") or {}).get("components") or {}).get("predictor") or {}
    return str(component.get("latestCreatedRevision") or "")


def _created(observed: Mapping[str, Any], before: str) -> str:
    newest = _newest(observed)
    return f"Knative made {newest} for it" if newest not in ("", before) else ""
