"""InferenceServices of their own for scenarios, and the models that they serve. Not a scenario module."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from trivet.engine.scenarios.slices import answered_by
from trivet.engine.scenarios.watch import until
from trivet.errors import CannotTell
from trivet.integration import TrackingApi, build_inference_service, resolve_storage_uri, revision_url
from trivet.model.scenario import Flow
from trivet.targets.base import ClusterClient, TrafficClient, TrainerClient
from trivet.targets.cluster.rollout import FRUGAL

Document = dict[str, Any]

ROWS = [{"a": 0.5, "b": -0.25, "c": 1.5}]
"""What is asked of the models made here, and what makes them answer differently."""
READY, SETTLED, ZERO = 240.0, 180.0, 180.0
"""Seconds that a service may take to become ready, a change to come about, and a revision to go down to no pod."""
REVISION = "serving.knative.dev/revision"
SERVICE = "serving.kserve.io/inferenceservice"
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

_MADE: WeakKeyDictionary[TrainerClient, dict[str, Model]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Model:
    """A registered version, where a storage initializer finds it, and what it answers to ROWS, by the trainer's own prediction; nothing
    for one that only raises."""

    name: str
    registered: str
    version: str
    storage_uri: str
    answer: Sequence[Any]


def model(trainer: TrainerClient, tracking: TrackingApi, artifact_root: str, *, key: str, **variation: Any) -> Model:
    """A model that the trainer logged with ``variation`` (see its job); the same one for a ``key`` throughout a session.

    Models of one session are versions of one registered model, unless ``variation`` says ``register_as``. A ``label_offset`` of its own
    makes a model's answers tell it from others.
    """
    made = _MADE.setdefault(trainer, {})
    if key not in made:
        registered = variation.pop("register_as", "") or next(
            (one.registered for one in made.values()), f"trivet-scenario-{uuid4().hex[:8]}"
        )
        logged = trainer.log_model(**{"estimator": "logistic-regression", "register_as": registered, **variation})
        model_uri = f"models:/{registered}/{logged.version}"
        made[key] = Model(
            name=key,
            registered=registered,
            version=logged.version,
            storage_uri=resolve_storage_uri(model_uri, tracking=tracking, artifact_root=artifact_root),
            answer=() if variation.get("predict_fails") else trainer.predict(model_uri, ROWS),
        )
    return made[key]


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


def when(
    cluster: ClusterClient, name: str, holds: Callable[[Mapping[str, Any]], bool], what: str, seconds: float = READY
) -> Mapping[str, Any]:
    """The InferenceService once it ``holds``. Raises CannotTell, saying ``what`` was waited for, after ``seconds``."""

    def look() -> Mapping[str, Any] | None:
        observed = cluster.get("inferenceservice", name) or {}
        return observed if holds(observed) else None

    return until(f"InferenceService {name}: {what}", look, seconds=seconds)


def pods(cluster: ClusterClient, name: str) -> dict[str, float]:
    """Revision → ready pods of a service; a revision whose pods are gone, or not ready, has 0 as long as they are listed."""
    found: dict[str, float] = {}
    for pod in (cluster.get("pod", selector=f"{SERVICE}={name}") or {}).get("items", ()):
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


def all_by(traffic: TrafficClient, flow: Flow, name: str, times: int = 3) -> str:
    """That ``times`` answers in a row are the model's called ``name``, in a sentence; empty when they are not."""
    answers = traffic.send(flow.service, flow.request, times=times, at_once=1, timeout=10)
    return (
        f"{times} of {times} answers are of {name}" if {answered_by(a, flow.models) for a in answers} == {name} else ""
    )
