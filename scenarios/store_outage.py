"""An outage of the artifact store when a new pod is needed: every pod fetches its model from there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from trivet.authoring import (
    DEFAULT_ROWS,
    FAULT,
    INJECTED,
    PLATFORM,
    SCALE_TO_ZERO,
    SERVICE_LABEL,
    SERVING,
    AffectedObject,
    Budgets,
    Case,
    Claim,
    ClusterClient,
    Fault,
    ModelMaker,
    NotYet,
    Observation,
    Probed,
    ServableModel,
    TrafficClient,
    Verb,
    Watch,
    Workload,
    deployed,
    eventually,
    in_turn,
    is_terminating,
    remedied,
    restarted,
    scenario,
    service_pods,
    stopped,
    symptom_not_observed,
    symptom_observed,
    unprotected,
)
from trivet.integration import v2_request
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import SCALED_DOWN, Document, answered_only_by, ready_pods_by_revision
from trivet.scenarios._service_status import StatusLog, summarize_status, unready_containers

NAME = "growing-classifier"
STORE = "store"
OUTAGE = stopped(STORE, namespace=PLATFORM)

SHORT_WINDOW = {"autoscaling.knative.dev/window": "6s"}
"""The shortest window over which Knative's autoscaler averages, so that a service scales to zero soon."""
CLIENT_TIMEOUT = 5.0
AFTER = 15.0
"""Seconds of traffic after the first failed initializer: as long as a request may take to be lost."""
AT_ZERO, WARM, POD_LOST, TWO = "at-zero", "warm-replica", "pod-lost", "two-replicas"
REPLICAS = {AT_ZERO: 0, WARM: 1, POD_LOST: 1, TWO: 2}
"""minReplicas of each variant."""


@scenario(
    title="The store is down when a service has to scale up",
    happens=(
        "Each new pod fetches the model from the store before it starts. While the store is down no new pod becomes ready: a service at "
        "zero answers no request, and a running one keeps its pods and gets no further ones."
    ),
    recognise=(
        "New pods are in Init:Error or Init:CrashLoopBackOff, and the storage-initializer's log names the store's address (could not "
        "connect to the endpoint URL); running pods are ready. The InferenceService stays Ready=True, at zero too."
    ),
    remedy=(
        "Keep at least one replica of services that must answer (minReplicas 1), and two where a pod may be lost at the same time. After "
        "the outage the new pods start by themselves, when their back-off is over."
    ),
    variants=(
        unprotected(AT_ZERO, "minReplicas 0: the service is scaled to zero, and requests should scale it up"),
        remedied(WARM, "minReplicas 1: a pod answers while the autoscaler requests a second one"),
        unprotected(POD_LOST, "minReplicas 1, and the pod is deleted as by a node drain", extended=True),
        remedied(TWO, "minReplicas 2, and one of the pods is deleted", extended=True),
    ),
    affected_objects=(
        *OUTAGE.affected_objects,
        AffectedObject(verb=Verb.REPLACE, kind="pod", name=f"{NAME}-predictor-*", namespace=SERVING),
    ),
    budgets=Budgets(steady_state=120, symptom=120, recovery=240),
    features=(SCALE_TO_ZERO,),
    claims=(
        Claim(
            text="A warm replica keeps a service answering while its store is down.",
            holds=True,
            found="it answers while further pods cannot start; when it is lost itself, only a second replica helps",
            variants=(WARM, POD_LOST, TWO),
        ),
        Claim(
            text="A service at zero that is Ready=True scales up when it gets a request.",
            holds=False,
            found="it is Ready=True, and its model UpToDate, while no pod can start and every request is lost",
            variants=(AT_ZERO,),
        ),
    ),
    sources=(
        "kserve 0.14.1 pkg/webhook/admission/pod/storage_initializer_injector.go: an init container of every pod fetches the model",
        "kserve/kserve#1859: Ready=True while the pod is in Init:CrashLoopBackOff",
    ),
)
def no_new_pod(
    cluster: ClusterClient,
    traffic: TrafficClient,
    models: ModelMaker,
    variant: str,
) -> Iterator[Case]:
    model = models.make("plain")
    workload = Workload(
        service=NAME,
        request=v2_request(None, DEFAULT_ROWS),
        models={model.name: model.answer},
        client_timeout=CLIENT_TIMEOUT,
    )
    with deployed(cluster, service(cluster, model, variant)), ExitStack() as clients:
        at_zero = variant == AT_ZERO
        if at_zero:
            eventually(
                f"{NAME} to be scaled to zero",
                lambda: ready_pods_by_revision(cluster, NAME),
                until=lambda pods: not any(pods.values()),
                describe=lambda pods: f"ready pods by revision: {pods}",
                timeout=SCALED_DOWN,
            )

        def steady_state() -> Probed:
            count = sum(ready_pods_by_revision(cluster, NAME).values())
            if at_zero:
                # A request would scale it up.
                return NotYet(f"{NAME} has {count:.0f} ready pods") if count else f"{NAME} is scaled to zero"
            if count < REPLICAS[variant]:
                return NotYet(f"{count:.0f} of {REPLICAS[variant]} pods of {NAME} are ready")
            return answered_only_by(traffic, workload, model.name)

        def symptom(watch: Watch) -> Observation:
            nonlocal at_zero
            at_zero = False
            # Sent until after recovery.
            clients.enter_context(watch.sending(traffic, workload))
            return _observe(watch, cluster)

        yield Case(
            fault=fault(variant),
            steady_state=steady_state,
            symptom=symptom,
            gauges={"pods ready": lambda: ready_pods_by_revision(cluster, NAME)},
        )


def service(cluster: ClusterClient, model: ServableModel, variant: str) -> Document:
    """The InferenceService of a variant."""
    document = _deployments.service(NAME, model, cluster, min_replicas=REPLICAS[variant])
    if variant == AT_ZERO:
        document["metadata"]["annotations"] |= SHORT_WINDOW
    if variant == WARM:
        # The target is one request per second and pod, so that the traffic makes the autoscaler request a second one.
        document["spec"]["predictor"] |= {"scaleMetric": "rps", "scaleTarget": 1}
    return document


def pod_lost() -> Fault:
    """A pod of the service is deleted."""
    return restarted(f"{SERVICE_LABEL}={NAME}", names=f"{NAME}-predictor-", namespace=SERVING, draining=True)


def fault(variant: str) -> Fault:
    """The store is stopped, and then, in the variants that lose a pod, one is deleted."""
    return in_turn(OUTAGE, pod_lost()) if variant in (POD_LOST, TWO) else OUTAGE


def _observe(watch: Watch, cluster: ClusterClient) -> Observation:
    """Whether clients lose requests while a new pod that is needed cannot start; first that one was needed."""
    log = StatusLog(watch.since(FAULT))

    def failed() -> float | None:
        """Seconds since the fault once an initializer has failed, None before."""
        listed = service_pods(cluster, NAME)
        states = sorted(filter(None, (unready_containers(pod) for pod in listed if not is_terminating(pod))))
        log.record(" | ".join([summarize_status(cluster.get("inferenceservice", NAME) or {}), *states]))
        return (
            round(time.monotonic() - watch.since(FAULT), 1) if any(initializer_failed(pod) for pod in listed) else None
        )

    after = watch.eventually(
        "the storage initializer of a new pod to fail",
        failed,
        timeout=90,
        until=lambda seconds: seconds is not None,
        describe=lambda _: log.last,
    )
    watch.mark("initializer failed")
    ends = time.monotonic() + AFTER
    while time.monotonic() < ends:
        failed()
        watch.wait(2)
    watch.settle()
    outage = watch.outage(INJECTED)
    result = symptom_observed if outage.lost else symptom_not_observed
    return result(
        f"{after:.0f} s after the store was stopped the storage initializer of a new pod failed; {outage}",
        evidence=(log.evidence("status of the service and its unready pods"),),
        pod_failed_after_seconds=after,
        requests=outage.requests,
        lost=outage.lost,
        outage_seconds=outage.seconds,
        service_status=summarize_status(cluster.get("inferenceservice", NAME) or {}),
    )


def initializer_failed(pod: Mapping[str, Any]) -> bool:
    """Whether an init container of the pod has failed at least once."""
    for one in (pod.get("status") or {}).get("initContainerStatuses", ()):
        ends = [(one.get(key) or {}).get("terminated") or {} for key in ("state", "lastState")]
        if any(end.get("exitCode") for end in ends):
            return True
    return False
