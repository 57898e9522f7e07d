"""InferenceServices that scenarios deploy: building them, changing them under a gate, and what clients lose meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from trivet.authoring import (
    DEFAULT_ROWS,
    REVERT,
    SERVING,
    AffectedObject,
    CannotTell,
    ClusterClient,
    ExternalTrainerClient,
    Fault,
    FaultInjector,
    NotOffered,
    NotYet,
    Observation,
    Probed,
    Role,
    ServableModel,
    Stack,
    StoreClient,
    TrafficClient,
    Verb,
    Watch,
    Workload,
    answered_by,
    describe_conditions,
    minimal_service,
    ready_pods,
    service_pods,
    symptom_not_observed,
)
from trivet.integration import revision_url

Document = dict[str, Any]

READY, SETTLED, SCALED_DOWN = 240.0, 180.0, 180.0
"""Seconds until a service must be Ready, a change must show in its status, and a revision must be scaled to zero."""
AFTER_REFUSAL = 8.0
"""Seconds of traffic after a deployment is refused."""
REVISION = "serving.knative.dev/revision"
JOB_POD = "trivet.dev/pod"

_ASK = """
import json, sys, urllib.error, urllib.request
body, timeout, *urls = sys.argv[1:]
for url in urls:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=float(timeout)) as answer: result = [answer.status, json.load(answer)]
    except urllib.error.HTTPError as error: result = [error.code, error.read().decode("utf-8", "replace")]
    except OSError as error: result = [0, str(error)]
    print(json.dumps(result))
"""


def require_pinned_trainer(stack: Stack) -> None:
    """Raises NotOffered for a stack whose trainer is not pinned to the versions of its serving image: it cannot show that remedy."""
    trainer, runtime = stack.roles["trainer"].pins, stack.roles["runtime"].pins
    differing = [
        f"{name} {trainer.get(name)} in the trainer, {runtime.get(name)} in the runtime"
        for name in ("scikit-learn", "numpy")
        if trainer.get(name) != runtime.get(name)
    ]
    if differing:
        raise NotOffered(
            f"the trainer of stack {stack.name} is not pinned to the versions of its serving image: {', '.join(differing)}"
        )


def externally_trained_model(
    external_trainer: ExternalTrainerClient, store: StoreClient, trainer: Role, *, name: str, **variation: Any
) -> tuple[ServableModel, Path]:
    """A model of a trainer that is not part of the stack, uploaded to the store, and the local directory with the same files."""
    directory = external_trainer.save_model(trainer, **variation)
    files = {one.relative_to(directory).as_posix(): one.read_bytes() for one in directory.rglob("*") if one.is_file()}
    uri = store.write(f"external-{uuid4().hex[:8]}/model", files)
    answer = external_trainer.predict(trainer, directory, DEFAULT_ROWS)
    model = ServableModel(
        name=name, storage_uri=f"{uri}/", answer=answer, registered="external", version="1", run_id="external"
    )
    return model, directory


def service(name: str, model: ServableModel, cluster: ClusterClient, **changes: Any) -> Document:
    """The core library's InferenceService for a model, with small resources; ``changes`` are arguments of ``build_inference_service``.

    Knative's own autoscaler scales it, which is the one that scales to zero.
    """
    arguments: dict[str, Any] = {
        "namespace": cluster.namespace,
        "exists": cluster.get("inferenceservice", name) is not None,
        "min_replicas": 1,
        "cpu_target": None,
    }
    return minimal_service(name, model, **{**arguments, **changes})


def without_probe(document: Document) -> Document:
    """The same service with the readiness probe of KServe's runtime: the port is open."""
    del document["spec"]["predictor"]["model"]["readinessProbe"]
    return document


def service_patched(
    name: str,
    patch: Mapping[str, Any],
    *,
    title: str,
    shows: Callable[[Mapping[str, Any]], Probed],
    gate: Callable[[], str] = lambda: "",
) -> Fault:
    """A running service gets ``patch``, as a deploying step sends it, unless ``gate`` returns why not.

    Verified when ``shows``, a probe of the InferenceService, shows it.
    """

    def inject(injector: FaultInjector) -> str | None:
        if refusal := gate():
            return refusal
        injector.patch("inferenceservice", name, patch, namespace=SERVING)
        return None

    return Fault(
        name=title,
        affected_objects=(AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=name, namespace=SERVING),),
        inject=inject,
        verify_injected=lambda injector: shows(injector.get("inferenceservice", name, namespace=SERVING) or {}),
        budget=SETTLED,
    )


def observe_refused(watch: Watch) -> Observation:
    """What clients observed while a deployment was refused. Raises CannotTell when they lost anything: nothing was deployed."""
    watch.wait(AFTER_REFUSAL)
    outage = watch.outage()
    message = f"refused before the deployment: {watch.refusal}; {outage}"
    if outage.lost:
        raise CannotTell(f"{message}: the refused deployment cannot be the cause")
    return symptom_not_observed(message, lost=outage.lost, requests=outage.requests)


def with_recovery(watch: Watch, observation: Observation, *, harmless: bool = False) -> Observation:
    """An observation completed, once the steady state is back, with what clients lost until then.

    Requests that were due before the revert decide, since those are the fault's: one that stalled then shows as lost only now. Raises
    CannotTell when requests were lost beside a deployment that is ``harmless``: it was refused, or works.
    """
    message, late = observation.message, {}
    if not observation.observed:
        watch.settle(REVERT)
        before = watch.outage(before=REVERT)
        if not before.lost:
            return observation
        if harmless:
            raise CannotTell(f"before the revert {before}: the deployment cannot be the cause; {message}")
        message = f"before the revert {before}, which showed only after it; observed before: {message}"
        late = {"lost_late": before.lost}
    whole = watch.outage()
    summary = f"{whole.lost} of {whole.requests} requests lost over {whole.seconds:.0f} s until recovery"
    measured = {"lost_in_all": whole.lost, "requests_in_all": whole.requests, "outage_seconds": whole.seconds, **late}
    return replace(
        observation,
        observed=True,
        message=f"{summary}; {message}",
        measured={**observation.measured, **measured},
    )


def model_patch(model: ServableModel) -> Document:
    """The merge patch that makes a running service serve another model."""
    return {"spec": {"predictor": {"model": {"storageUri": model.storage_uri}}}}


def ready_pods_by_revision(cluster: ClusterClient, name: str) -> dict[str, float]:
    """Revision → number of ready pods of a service; 0 for a revision whose pods are terminating or not ready."""
    pods = service_pods(cluster, name)
    ready = Counter(_revision(pod) for pod in ready_pods(pods))
    return {_revision(pod): float(ready[_revision(pod)]) for pod in pods}


def _revision(pod: Mapping[str, Any]) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REVISION, ""))


def ask_revisions(
    cluster: ClusterClient,
    name: str,
    revisions: Sequence[str],
    request: Mapping[str, Any],
    *,
    timeout: float = 10.0,
) -> dict[str, tuple[int, Any]]:
    """Revision → HTTP status and body of its answer; 0 and the error when there is none.

    Each is asked at the Service that Knative gives it, which does not depend on its share of the traffic, from a pod of the session.
    Raises CannotTell when there is no such pod, or the command in it fails.
    """
    found = (cluster.get("pod", selector=JOB_POD) or {}).get("items") or ()
    if not found:
        raise CannotTell(f"there is no pod with the label {JOB_POD} in {cluster.namespace} to ask a revision from")
    urls = [f"{revision_url(one, cluster.namespace)}/v2/models/{name}/infer" for one in revisions]
    command = ["python", "-c", _ASK, json.dumps(request), f"{timeout:g}", *urls]
    seconds = timeout * len(urls) + 20
    status, output = cluster.execute(found[0]["metadata"]["name"], command, seconds=seconds)
    lines = output.splitlines()
    if status or len(lines) != len(urls):
        raise CannotTell(
            f"asking {len(urls)} revisions exited with status {status} and {len(lines)} lines: {output.strip()[-300:]}"
        )
    return {revision: (*json.loads(line),) for revision, line in zip(revisions, lines, strict=True)}


def answered_only_by(traffic: TrafficClient, workload: Workload, name: str, times: int = 3) -> Probed:
    """That ``times`` answers in a row are of the model ``name``; otherwise the first answer that is not."""
    answers = traffic.send(workload.service, workload.request, times=times, concurrency=1, timeout=10)
    others = [answer for answer in answers if answered_by(answer, workload.models) != name]
    shown = f"{times - len(others)} of {times} answers are of {name}"
    return NotYet(f"{shown}; another one is {others[0]}") if others else shown


def absent(cluster: ClusterClient, name: str) -> Probed:
    """That there is no InferenceService ``name``: the steady state of a fault that creates it."""
    found = cluster.get("inferenceservice", name)
    if found is None:
        return f"InferenceService {name} does not exist"
    return NotYet(f"InferenceService {name} exists: {describe_conditions(found)}")
