"""The artefact store is away when a new pod is needed: every pod fetches its model from there again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.integration import TrackingApi, v2_request
from trivet.model.clients import ClusterClient, TrafficClient, TrainerClient
from trivet.model.fault import PLATFORM, SERVING, AffectedObject, Fault, Verb
from trivet.model.feature import SCALE_TO_ZERO
from trivet.model.handover import Handover
from trivet.model.scenario import Budgets, Case, Claim, Observation, Workload
from trivet.scenarios import deploying
from trivet.scenarios.deploying import OF_SERVICE, ROWS, ZERO, Document, Model, all_by, pods
from trivet.scenarios.observing import StatusLog, containers, said
from trivet.toolkit.faults import in_turn, restarted, stopped
from trivet.toolkit.rollout import deployed
from trivet.toolkit.watch import EFFECT, FAULT, Watch, until

NAME = "growing-classifier"
STORE = "store"
AWAY = stopped(STORE, namespace=PLATFORM)

QUICKLY = {"autoscaling.knative.dev/window": "6s"}
"""The shortest window over which Knative's autoscaler averages, so that a service rests soon."""
PATIENCE = 5.0
"""Seconds after which a client gives up."""
AFTER = 15.0
"""Seconds of traffic after the first container that could not fetch its model: as long as a request may take to be lost."""
AT_ZERO, WARM, POD_GONE, TWO = "at-zero", "warm-replica", "pod-lost", "two-replicas"
REPLICAS = {AT_ZERO: 0, WARM: 1, POD_GONE: 1, TWO: 2}
"""The least number of pods of each variant."""


@scenario(
    title="The store is away when a service has to scale up",
    happens=(
        "Each new pod fetches the model from the store before it starts. While the store is away no pod comes up: a service at zero "
        "answers nobody, and one that runs keeps the pods that it has and gets no further ones."
    ),
    recognise=(
        "New pods are in Init:Error or Init:CrashLoopBackOff, and the storage-initializer's log names the store's address (could not "
        "connect to the endpoint URL); pods that run are well. The InferenceService says Ready=True all along, at zero too."
    ),
    remedy=(
        "Keep at least one replica of what must answer (minReplicas 1), and two where a pod may be lost at the same time. After the outage "
        "the new pods come up by themselves, when their back-off is over."
    ),
    variants=(
        unprotected(AT_ZERO, "minReplicas 0: the service rests at no pod, and requests are to wake it up"),
        remedied(WARM, "minReplicas 1: a pod answers while the autoscaler asks for a second one"),
        unprotected(POD_GONE, "minReplicas 1, and the pod is deleted as by a drained node", extended=True),
        remedied(TWO, "minReplicas 2, and one of the pods is deleted", extended=True),
    ),
    affected_objects=(
        *AWAY.affected_objects,
        AffectedObject(verb=Verb.REPLACE, kind="pod", name=f"{NAME}-predictor-*", namespace=SERVING),
    ),
    budgets=Budgets(steady_state=120, symptom=120, recovery=240),
    features=(SCALE_TO_ZERO,),
    claims=(
        Claim(
            text="A warm replica keeps a service answering while its store is away.",
            holds=True,
            found="it answers while further ones cannot start; when it is lost itself, only a second one helps",
            variants=(WARM, POD_GONE, TWO),
        ),
        Claim(
            text="A service at zero that says Ready=True comes up when it is asked.",
            holds=False,
            found="it says Ready=True, and UpToDate of its model, while no pod can come up and every request is lost",
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
    trainer: TrainerClient,
    tracking: TrackingApi,
    handover: Handover,
    variant: str,
) -> Iterator[Case]:
    model = deploying.model(trainer, tracking, handover.artifact_root, key="plain")
    workload = Workload(
        service=NAME, request=v2_request(None, ROWS), models={model.name: model.answer}, client_timeout=PATIENCE
    )
    with deployed(cluster, service(cluster, model, variant)), ExitStack() as clients:
        resting = variant == AT_ZERO
        if resting:
            until(f"{NAME} has no pod", lambda: None if any(pods(cluster, NAME).values()) else True, seconds=ZERO)

        def steady_state() -> str:
            count = sum(pods(cluster, NAME).values())
            if resting:
                # To ask would wake it up.
                return f"{NAME} rests at no pod" if not count else ""
            return all_by(traffic, workload, model.name) if count >= REPLICAS[variant] else ""

        def symptom(watch: Watch) -> Observation:
            nonlocal resting
            resting = False
            # They go on until clients are answered again.
            clients.enter_context(watch.sending(traffic, workload))
            return _lost(watch, cluster)

        yield Case(
            fault=fault(variant),
            steady_state=steady_state,
            symptom=symptom,
            gauges={"pods ready": lambda: pods(cluster, NAME)},
        )


def service(cluster: ClusterClient, of: Model, variant: str) -> Document:
    """The InferenceService of a variant."""
    document = deploying.service(NAME, of, cluster, min_replicas=REPLICAS[variant])
    if variant == AT_ZERO:
        document["metadata"]["annotations"] |= QUICKLY
    if variant == WARM:
        # One request per second is a pod's fill, so that the traffic asks for a second one.
        document["spec"]["predictor"] |= {"scaleMetric": "rps", "scaleTarget": 1}
    return document


def pod_lost() -> Fault:
    """A pod of the service is deleted."""
    return restarted(f"{OF_SERVICE}={NAME}", names=f"{NAME}-predictor-", namespace=SERVING, draining=True)


def fault(variant: str) -> Fault:
    """The store goes away, and then, where that is the variant, a pod is lost."""
    return in_turn(AWAY, pod_lost()) if variant in (POD_GONE, TWO) else AWAY


def _lost(watch: Watch, cluster: ClusterClient) -> Observation:
    """Whether clients lose anything while a pod that is needed does not come up; that one was needed, first of all."""
    diary = StatusLog(watch.since(FAULT))

    def failed() -> float | None:
        """Seconds since the fault, once an initializer has failed."""
        listed = (cluster.get("pod", selector=f"{OF_SERVICE}={NAME}") or {}).get("items", ())
        states = sorted(filter(None, (containers(pod) for pod in listed if "deletionTimestamp" not in pod["metadata"])))
        diary.note(" | ".join([said(cluster.get("inferenceservice", NAME) or {}), *states]))
        return (
            round(time.monotonic() - watch.since(FAULT), 1) if any(initializer_failed(pod) for pod in listed) else None
        )

    after = watch.until("a new pod cannot fetch its model", failed, seconds=90)
    watch.mark("a new pod cannot fetch its model")
    ends = time.monotonic() + AFTER
    while time.monotonic() < ends:
        failed()
        watch.wait(2)
    watch.settle()
    outage = watch.outage(EFFECT)
    told = symptom_observed if outage.lost else symptom_not_observed
    return told(
        f"{after:.0f} s after the store went away a new pod could not fetch its model; {outage}",
        evidence=(diary.proof("what the service and its new pods said"),),
        pod_failed_after_seconds=after,
        requests=outage.requests,
        lost=outage.lost,
        outage_seconds=outage.seconds,
        service_says=said(cluster.get("inferenceservice", NAME) or {}),
    )


def initializer_failed(pod: Mapping[str, Any]) -> bool:
    """Whether the init container that fetches the model has failed at least once."""
    for one in (pod.get("status") or {}).get("initContainerStatuses", ()):
        ends = [(one.get(key) or {}).get("terminated") or {} for key in ("state", "lastState")]
        if any(end.get("exitCode") for end in ends):
            return True
    return False
