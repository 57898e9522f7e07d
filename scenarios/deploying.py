"""InferenceServices of their own for scenarios, and the models that they serve. Not a scenario module."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from trivet.authoring.scenarios import symptom_not_observed
from trivet.errors import CannotTell, NotOffered
from trivet.integration import TrackingApi, build_inference_service, resolve_storage_uri, revision_url
from trivet.model.clients import (
    ClusterClient,
    ExternalTrainerClient,
    FaultInjector,
    StoreClient,
    TrafficClient,
    TrainerClient,
)
from trivet.model.fault import SERVING, AffectedObject, Fault, Verb
from trivet.model.scenario import Observation, Workload
from trivet.model.stack import Role, Stack
from trivet.toolkit.client_traffic import answered_by
from trivet.toolkit.rollout import FRUGAL
from trivet.toolkit.watch import REVERT, Watch

Document = dict[str, Any]

ROWS = [{"a": 0.5, "b": -0.25, "c": 1.5}]
"""What is asked of the models made here, and what makes them answer differently."""
READY, SETTLED, ZERO = 240.0, 180.0, 180.0
"""Seconds that a service may take to become ready, a change to come about, and a revision to go down to no pod."""
CALM = 8.0
"""Seconds of traffic after a deployment was refused."""
REVISION = "serving.knative.dev/revision"
OF_SERVICE = "serving.kserve.io/inferenceservice"
JOB_POD = "trivet.dev/pod"

_ASK = """
import json, sys, urllib.error, urllib.request
body, timeout, *urls = sys.argv[1:]
for url in urls:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=float(timeout)) as answer: said = [answer.status, json.load(answer)]
    except urllib.error.HTTPError as error: said = [error.code, error.read().decode("utf-8", "replace")]
    except OSError as error: said = [0, str(error)]
    print(json.dumps(said))
"""

_MADE: WeakKeyDictionary[TrainerClient, dict[tuple[str, str, str], Model]] = WeakKeyDictionary()
"""What each session's trainer has made, by the name that it was to be registered as, its key, and all that makes it what it is."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A registered version, where a storage initializer finds it, and what it answers to ROWS, by the trainer's own prediction; nothing
    for one that only raises."""

    name: str
    registered: str
    version: str
    storage_uri: str
    answer: Sequence[Any]


def model(
    trainer: TrainerClient,
    tracking: TrackingApi,
    artifact_root: str,
    *,
    key: str,
    asked: Sequence[Mapping[str, Any]] = ROWS,
    register_as: str = "",
    **variation: Any,
) -> Model:
    """A model that the trainer logged with ``variation`` (see its job); the same one for the same arguments throughout a session.

    Its answer is the one to ``asked``, for a model that takes other columns than those of ROWS.

    Models of one session are versions of one registered model, unless they are to be registered by a name of their own. A
    ``label_offset`` of its own makes a model's answers tell it from others.
    """
    made = _MADE.setdefault(trainer, {})
    identity = (register_as, key, json.dumps([asked, variation], sort_keys=True))
    if identity not in made:
        shared = (one.registered for (own, *_), one in made.items() if not own)
        registered = register_as or next(shared, f"trivet-scenario-{uuid4().hex[:8]}")
        logged = trainer.log_model(**{"estimator": "logistic-regression", "register_as": registered, **variation})
        model_uri = f"models:/{registered}/{logged.version}"
        made[identity] = Model(
            name=key,
            registered=registered,
            version=logged.version,
            storage_uri=resolve_storage_uri(model_uri, tracking=tracking, artifact_root=artifact_root),
            answer=() if variation.get("predict_fails") else trainer.predict(model_uri, asked),
        )
    return made[identity]


def check_held(stack: Stack) -> None:
    """Raises NotOffered for a stack whose own trainer is not held to its serving image: it has no remedy to show."""
    trainer, runtime = stack.roles["trainer"].pins, stack.roles["runtime"].pins
    apart = [
        f"{name} {trainer.get(name)} beside {runtime.get(name)}"
        for name in ("scikit-learn", "numpy")
        if trainer.get(name) != runtime.get(name)
    ]
    if apart:
        raise NotOffered(f"the trainer of stack {stack.name} is not held to its serving image: {', '.join(apart)}")


def externally_trained_model(
    external_trainer: ExternalTrainerClient, store: StoreClient, trainer: Role, *, key: str, **variation: Any
) -> tuple[Model, Path]:
    """A model of a trainer that is no part of the stack, put into the store, and the directory that holds the same files."""
    directory = external_trainer.save_model(trainer, **variation)
    files = {one.relative_to(directory).as_posix(): one.read_bytes() for one in directory.rglob("*") if one.is_file()}
    uri = store.write(f"external-{uuid4().hex[:8]}/model", files)
    answer = external_trainer.predict(trainer, directory, ROWS)
    return Model(name=key, registered="external", version="1", storage_uri=f"{uri}/", answer=answer), directory


def service(name: str, of: Model, cluster: ClusterClient, **changes: Any) -> Document:
    """The core library's InferenceService for a model, asking for little, but for ``changes`` (its arguments).

    It is scaled by Knative's own autoscaler, which is the one that scales to zero.
    """
    arguments: dict[str, Any] = {
        "namespace": cluster.namespace,
        "storage_uri": of.storage_uri,
        "run_id": "scenario",
        "pipeline": "trivet",
        "model_name": of.registered,
        "model_version": of.version,
        "exists": cluster.get("inferenceservice", name) is not None,
        "min_replicas": 1,
        "max_replicas": 2,
        "cpu_target": None,
        "resources": FRUGAL,
    }
    return build_inference_service(name=name, **{**arguments, **changes})


def without_probe(document: Document) -> Document:
    """The same service with the readiness that KServe's runtime has by itself: an open port."""
    del document["spec"]["predictor"]["model"]["readinessProbe"]
    return document


def changed(
    name: str,
    patch: Mapping[str, Any],
    *,
    what: str,
    shows: Callable[[Mapping[str, Any]], str],
    gate: Callable[[], str] = lambda: "",
    refused: list[str],
) -> Fault:
    """A running service gets ``patch``, as a deploying step sends it, unless ``gate`` says why not: that goes into ``refused`` then, and
    nothing is deployed. It is in force when ``shows`` says so of the service, or the gate has seen it."""

    def inject(injector: FaultInjector) -> None:
        if why := gate():
            refused.append(why)
        else:
            injector.patch("inferenceservice", name, patch, namespace=SERVING)

    def verify_injected(injector: FaultInjector) -> str:
        if refused:
            return f"the gate was asked, and refused it: {refused[0]}"
        return shows(injector.get("inferenceservice", name, namespace=SERVING) or {})

    touch = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=name, namespace=SERVING)
    return Fault(name=what, affected_objects=(touch,), inject=inject, verify_injected=verify_injected, budget=SETTLED)


def calm(watch: Watch, refused: Sequence[str]) -> Observation:
    """What clients saw while a deployment was ``refused``. Raises CannotTell when they lost anything: nothing was deployed."""
    watch.wait(CALM)
    outage = watch.outage()
    message = f"refused before anything was deployed: {refused[0]}; {outage}"
    if outage.lost:
        raise CannotTell(f"{message}: that is not the deployment's doing")
    return symptom_not_observed(message, lost=outage.lost, requests=outage.requests)


def with_the_way_back(watch: Watch, sighting: Observation, *, innocent: bool = False) -> Observation:
    """A sighting completed, once all is well again, with what clients lost until then.

    What was due before the revert decides, since it was the fault's: a request that stalled then shows as lost only now. Raises CannotTell
    when something was lost beside a deployment that is ``innocent``: it was refused, or works.
    """
    message, late = sighting.message, {}
    if not sighting.seen:
        watch.settle(REVERT)
        under = watch.outage(before=REVERT)
        if not under.lost:
            return sighting
        if innocent:
            raise CannotTell(
                f"of what was due before the revert {under}: that is not the deployment's doing; {message}"
            )
        message = f"of what was due before the revert {under}; by then it was not known: {message}"
        late = {"lost_late": under.lost}
    whole = watch.outage()
    told = f"{whole.lost} of {whole.requests} requests lost over {whole.seconds:.0f} s with the way back"
    measured = {"lost_in_all": whole.lost, "requests_in_all": whole.requests, "outage_seconds": whole.seconds, **late}
    return replace(sighting, seen=True, message=f"{told}; {message}", measured={**sighting.measured, **measured})


def to_model(of: Model) -> Document:
    """The patch by which a running service is to serve another model."""
    return {"spec": {"predictor": {"model": {"storageUri": of.storage_uri}}}}


def pods(cluster: ClusterClient, name: str) -> dict[str, float]:
    """Revision → ready pods of a service; a revision whose pods are gone, or not ready, has 0 as long as they are listed."""
    found: dict[str, float] = {}
    for pod in (cluster.get("pod", selector=f"{OF_SERVICE}={name}") or {}).get("items", ()):
        revision = (pod["metadata"].get("labels") or {}).get(REVISION, "")
        conditions = (pod.get("status") or {}).get("conditions") or ()
        ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
        gone = "deletionTimestamp" in pod["metadata"]
        found[revision] = found.get(revision, 0) + (1 if ready and not gone else 0)
    return found


def ask_revisions(
    cluster: ClusterClient,
    name: str,
    revisions: Sequence[str],
    request: Mapping[str, Any],
    *,
    timeout: float = 10.0,
) -> dict[str, tuple[int, Any]]:
    """HTTP status and body of each revision's answer, asked by the Service of its own that Knative gives it: whatever its share of the
    traffic is. Asked within the cluster, from a pod of the session's. 0 and the error for no answer."""
    found = (cluster.get("pod", selector=JOB_POD) or {}).get("items") or ()
    if not found:
        raise CannotTell(f"there is no pod in {cluster.namespace} from which a revision could be asked")
    urls = [f"{revision_url(one, cluster.namespace)}/v2/models/{name}/infer" for one in revisions]
    command = ["python", "-c", _ASK, json.dumps(request), f"{timeout:g}", *urls]
    seconds = timeout * len(urls) + 20
    status, said = cluster.execute(found[0]["metadata"]["name"], command, seconds=seconds)
    lines = said.splitlines()
    if status or len(lines) != len(urls):
        raise CannotTell(f"the revisions could not be asked: {said.strip()[-300:]}")
    return {revision: (*json.loads(line),) for revision, line in zip(revisions, lines, strict=True)}


def all_by(traffic: TrafficClient, workload: Workload, name: str, times: int = 3) -> str:
    """That ``times`` answers in a row are the model's called ``name``, in a sentence; empty when they are not."""
    answers = traffic.send(workload.service, workload.request, times=times, at_once=1, timeout=10)
    return (
        f"{times} of {times} answers are of {name}"
        if {answered_by(a, workload.models) for a in answers} == {name}
        else ""
    )
