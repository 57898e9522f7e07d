"""kserve → knative, live: replicas. A service has minReplicas ready pods; with minReplicas 0 it scales to zero and back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from trivet.authoring import (
    MUST,
    SCALE_TO_ZERO,
    CannotTell,
    ClusterClient,
    Finding,
    Handover,
    Location,
    ModelDirectory,
    PredictorClient,
    TrafficClient,
    contract,
    deployed,
    evidence,
    failed,
    inconclusive,
    is_terminating,
    last_answer,
    passed,
    ready_pods,
    same_values,
    service_pods,
)
from trivet.contracts.deploying import service_like
from trivet.contracts.signatures import example_rows
from trivet.integration import read_signature, v2_request, v2_values
from trivet.integration.inference_service import MIN_REPLICAS

SEAM = ("kserve", "knative")

VERSIONS: Mapping[str, str] = {"kserve": ">=0.14"}
"""The oldest versions that these contracts were run with."""

KEPT = "kept-classifier"
IDLE = "idle-classifier"

REACHED = 120.0
"""Seconds after Ready=True until the last replica must be ready."""
WATCHED = 15.0
EVERY = 3.0
TO_ZERO = 150.0
"""Seconds without traffic until the pods must be gone: Knative's shortest window (6 s), its grace period (30 s) and the termination."""
COLD_START = 120.0
"""Seconds that the first request may wait for a pod; the finding states the measured time."""

WINDOW = {"autoscaling.knative.dev/window": "6s"}
"""Knative's shortest window: the default of 60 s would take ten times as long for the same result."""


@contract(
    title="A service must have as many ready pods as minReplicas",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale="Replicas that exist only in the manifest neither serve requests nor survive the loss of a pod.",
    remedy="Inspect the missing pods (kubectl describe: capacity of the nodes, quota) and the effective autoscaler of the service.",
    sources=(
        "kserve 0.14.1 reconcilers/knative/ksvc_reconciler.go: minReplicas becomes autoscaling.knative.dev/min-scale",
        "knative.dev/serving pkg/reconciler/autoscaling/hpa: min-scale becomes the HPA's minReplicas",
    ),
)
def min_replicas_are_ready(cluster: ClusterClient, handover: Handover) -> Iterator[Finding]:
    service = service_like(handover, KEPT, min_replicas=MIN_REPLICAS)
    wanted = service["spec"]["predictor"]["minReplicas"]
    with deployed(cluster, service):
        began = time.monotonic()
        counts: list[int] = []

        def ready() -> int:
            counts.append(len(ready_pods(service_pods(cluster, KEPT))))
            return counts[-1]

        last_answer(ready, until=lambda count: count >= wanted, timeout=REACHED, poll=EVERY)
        reached = time.monotonic() - began
        if counts[-1] >= wanted:
            del counts[:-1]
            deadline = time.monotonic() + WATCHED
            while time.monotonic() < deadline:
                time.sleep(EVERY)
                ready()
    place = Location(object=f"InferenceService/{KEPT}")
    if min(counts) < wanted:
        yield failed(f"minReplicas is {wanted}, but the numbers of ready pods were {counts}", location=place)
    else:
        yield passed(
            f"{min(counts)} ready pods for minReplicas {wanted}, {reached:.0f} s after Ready=True and at each of {len(counts)} checks over "
            f"{WATCHED:.0f} s",
            location=place,
        )


@contract(
    title="A service with minReplicas 0 must scale to zero, and answer the next request correctly",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=(SCALE_TO_ZERO,),
    rationale=(
        "Scaling to zero saves resources only if the pods terminate, and is unusable if the first request is lost. The wait of that "
        "request decides where it can be used."
    ),
    remedy=(
        "Deploy with min_replicas=0 and cpu_target=None (the HPA class does not scale to zero); inspect the activator and the readiness "
        "probe if the first request fails."
    ),
    sources=(
        "knative.dev/docs/serving/autoscaling/scale-to-zero: window, scale-to-zero-grace-period (30 s)",
        "the activator holds requests until a pod is ready",
    ),
)
def scales_to_zero_and_back(
    cluster: ClusterClient,
    traffic: TrafficClient,
    handover: Handover,
    predictor: PredictorClient,
    model_directory: ModelDirectory,
) -> Iterator[Finding]:
    rows = example_rows(model_directory)
    if not rows:
        raise CannotTell("the model was saved without an input example to send")
    right = predictor.predict(rows)
    service = service_like(handover, IDLE, min_replicas=0, max_replicas=1, cpu_target=None)
    service["metadata"]["annotations"] |= WINDOW
    place = Location(object=f"InferenceService/{IDLE}")
    with deployed(cluster, service):
        began = time.monotonic()
        left = last_answer(lambda: _running(cluster), until=lambda pods: not pods, timeout=TO_ZERO, poll=EVERY)
        gone = time.monotonic() - began
        if left:
            yield failed(
                f"timed out after {gone:.0f} s without requests waiting for {IDLE} to scale to zero: last seen {', '.join(left)}",
                location=place,
            )
            return
        (answer,) = traffic.send(
            IDLE, v2_request(read_signature(model_directory.mlmodel), rows), times=1, timeout=COLD_START
        )
        proof = (evidence("the first request", "http", vars(answer)),)
        if answer.status != 200:
            yield failed(
                f"scaled to zero after {gone:.0f} s, and the first request was lost: {answer}",
                location=place,
                evidence=proof,
            )
        elif not same_values(v2_values(answer.body), right):
            yield failed(
                f"the first request got {v2_values(answer.body)}, the trainer predicts {right}",
                location=place,
                evidence=proof,
            )
        elif not _running(cluster):
            yield inconclusive(
                "the first request was answered although there is no pod, so something else answered it", location=place
            )
        else:
            yield passed(
                f"scaled to zero {gone:.0f} s after Ready=True; the next request was answered correctly after a cold start of "
                f"{answer.seconds:.1f} s",
                location=place,
                evidence=proof,
            )


def _running(cluster: ClusterClient) -> list[str]:
    """The names of the idle service's pods that are not terminating."""
    return [pod["metadata"]["name"] for pod in service_pods(cluster, IDLE) if not is_terminating(pod)]
