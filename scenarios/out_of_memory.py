"""A memory limit that is too small: for loading the model, and for a batch that somebody asks for under traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.errors import CannotTell
from trivet.integration import TrackingApi, v2_request
from trivet.model.clients import ClusterClient, FaultInjector, TrafficClient, TrainerClient
from trivet.model.fault import SERVING, AffectedObject, Fault, Verb
from trivet.model.handover import Handover
from trivet.model.scenario import Budgets, Case, Claim, Observation, Workload
from trivet.model.traffic import Answer
from trivet.scenarios import deploying
from trivet.scenarios.deploying import OF_SERVICE, ROWS, Document, Model, all_by, pods
from trivet.scenarios.observing import KILLED, SERVER, WORKER_KILLED, containers, said, watch_loading
from trivet.toolkit.faults import applied
from trivet.toolkit.rollout import FRUGAL, deployed
from trivet.toolkit.watch import Watch

LOADED, ASKED = "large-classifier", "hungry-classifier"
TOUCH = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=LOADED, namespace=SERVING)

TIGHT, AMPLE = "1Gi", "2Gi"
"""The server by itself takes about half of the first."""
LOAD_MIB = 1024
ROW_MIB, BATCH = 32, 32
"""Memory that predicting a row takes, and rows of a batch: together as much as the tight limit."""
LOADING = 10.0
"""Seconds that the model takes to load, as real ones do: a killed process loads it again."""
SAYS = 40.0
"""Seconds after the first kill in which the service should say that its model does not load."""
AFTER = 25.0
"""Seconds of traffic after the batch."""
PEAK = (
    "cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory.events 2>/dev/null"
    " || cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes /sys/fs/cgroup/memory/memory.oom_control"
)
"""What the kernel counts for a container, for the second and the first version of control groups."""


@scenario(
    title="The memory limit is too small for the model to load",
    happens=(
        "The model needs more memory to load than the limit of its container allows. The kernel kills the process that loads it, each time "
        "that it tries."
    ),
    recognise=(
        "kserve-container restarts, and its last state is OOMKilled: with exit status 137 where the whole container is killed, with 0 "
        "where it is only the worker process in which MLServer loads the model, since MLServer then ends by itself. Its log says 'stopped "
        "unexpectedly with exit code 9'; the InferenceService only that the revision is missing."
    ),
    remedy="Measure the peak while the model loads (memory.peak of the container's control group) and set the limit well above it.",
    variants=(
        unprotected("tight-limit", f"a model of {LOAD_MIB} MiB, and a limit of {TIGHT}"),
        remedied("headroom", f"the same model, and a limit of {AMPLE}"),
    ),
    affected_objects=(TOUCH,),
    budgets=Budgets(steady_state=60, symptom=150, recovery=120),
    claims=(
        Claim(
            text="A container that is out of memory is OOMKilled with exit status 137.",
            holds=False,
            found=(
                "so it is where the kernel kills a container as a whole, which is so with the second version of control groups; with the "
                "first one it kills a process: the pod says OOMKilled and exit status 0 while the model loads, and nothing under traffic"
            ),
            variants=("tight-limit",),
        ),
    ),
    sources=(
        "mlserver 1.5.0 and 1.7.1 mlserver/parallel/pool.py, InferencePool.on_worker_stop; mlserver/server.py, MLServer.start: it stops "
        "when a model does not load",
        "kubernetes/kubernetes#117793 (1.28): memory.oom.group for containers, with the second version of control groups",
        "kserve 0.14.1 pkg/apis/serving/v1beta1/inference_service_status.go, PropagateModelStatus: a load failed when a container says "
        "Error or CrashLoopBackOff",
        "measured: a model of 1024 MiB had a peak of 1305 MiB",
    ),
)
def while_loading(
    cluster: ClusterClient,
    traffic: TrafficClient,
    trainer: TrainerClient,
    tracking: TrackingApi,
    handover: Handover,
    variant: str,
) -> Iterator[Case]:
    model = deploying.model(trainer, tracking, handover.artifact_root, key="large to load", load_mib=LOAD_MIB)
    workload = Workload(service=LOADED, request=v2_request(None, ROWS), models={model.name: model.answer})
    limit = AMPLE if variant == "headroom" else TIGHT
    document = deploying.service(LOADED, model, cluster, namespace=SERVING, max_replicas=1, resources=limited(limit))

    def symptom(watch: Watch) -> Observation:
        told = watch_loading(cluster, watch, LOADED, timeout=SAYS)
        if told.ready is not None:
            if not (answered := all_by(traffic, workload, model.name)):
                raise CannotTell(f"{told.message}, and then it did not answer as {model.name} does")
            peak, _ = memory(cluster, LOADED)
            message = f"{told.message}, {answered}; at most {peak:.0f} MiB were in use"
            if peak < LOAD_MIB:
                raise CannotTell(f"the model did not take the memory that it should: {message}")
            return symptom_not_observed(message, peak_mib=peak)
        how = kills(cluster, LOADED)
        if not how:
            raise CannotTell(f"not ready, and nothing shows that it was killed for its memory: {told.message}")
        return symptom_observed(f"{how}; {told.message}", evidence=told.proof, killed=how, **told.measured)

    yield Case(
        fault=applied(document, name=f"a service for a model of {LOAD_MIB} MiB with a limit of {limit}"),
        steady_state=lambda: (
            "" if cluster.get("inferenceservice", LOADED) else f"there is no InferenceService {LOADED}"
        ),
        symptom=symptom,
    )


@scenario(
    title="The memory limit is too small for a batch under traffic",
    happens=(
        "A client asks for many rows at once, which take more memory than the container may have. The kernel kills the process that "
        "predicts, and the requests of all other clients fail until the model is loaded again."
    ),
    recognise=(
        "HTTP 500 'Worker process stopped unexpectedly with exit code 9', then 500 with 'coroutine raised StopIteration' for everybody. "
        "The pod is Running, ready and not restarted, the InferenceService Ready=True, /v2/models/NAME/ready 200: only the server's log "
        "and oom_kill in the container's control group tell."
    ),
    remedy=(
        "Set the limit by the largest batch that clients may send, not by what the service uses at rest; refuse larger ones before they "
        "reach the model. With two replicas and MLSERVER_PARALLEL_WORKERS=0 a kill shows, and costs a second instead of a loading."
    ),
    variants=(
        unprotected("tight-limit", f"a limit of {TIGHT}, and a batch that needs as much"),
        remedied("headroom", f"the same batch, and a limit of {AMPLE}"),
        remedied("two-replicas", f"a limit of {TIGHT}, and a second replica", protects=False, extended=True),
        remedied(
            "whole-container",
            f"a limit of {TIGHT}, a second replica, and MLSERVER_PARALLEL_WORKERS=0: the container is killed as a whole, and started again",
            protects=False,
            extended=True,
        ),
    ),
    affected_objects=(),
    budgets=Budgets(steady_state=120, symptom=90, recovery=180),
    claims=(
        Claim(
            text="A readiness probe that asks for the model keeps traffic from a pod that cannot serve it.",
            holds=False,
            found="the server answers the probe, and calls its model ready while the worker that had it is gone",
            variants=("tight-limit",),
        ),
        Claim(
            text="A second replica keeps a service answering when the first one runs out of memory.",
            holds=False,
            found=(
                "the pod whose worker is gone stays ready and gets its part of the requests; a server without workers is killed as a "
                "whole, the pod says OOMKilled 137, and some requests are lost until it gets no more"
            ),
            variants=("two-replicas", "whole-container"),
        ),
    ),
    sources=(
        "mlserver 1.5.0 and 1.7.1 mlserver/parallel/dispatcher.py, Dispatcher.on_worker_stop: requests under way are cancelled; until a "
        "new worker has loaded the model there is none to choose",
        "SeldonIO/MLServer#1431: health checks say that all is well while a worker is dead",
    ),
)
def under_traffic(
    cluster: ClusterClient,
    traffic: TrafficClient,
    trainer: TrainerClient,
    tracking: TrackingApi,
    handover: Handover,
    variant: str,
) -> Iterator[Case]:
    model = deploying.model(
        trainer, tracking, handover.artifact_root, key="large to ask", predict_mib=ROW_MIB, load_seconds=LOADING
    )
    workload = Workload(service=ASKED, request=v2_request(None, ROWS), models={model.name: model.answer})
    replicas = 2 if variant in ("two-replicas", "whole-container") else 1
    batch: list[Answer] = []

    def steady_state() -> str:
        count = sum(pods(cluster, ASKED).values())
        return all_by(traffic, workload, model.name) if count >= replicas else ""

    with deployed(cluster, service(cluster, model, variant, replicas)):
        yield Case(
            fault=asked_for_a_batch(traffic, batch),
            steady_state=steady_state,
            symptom=lambda watch: _lost(watch, cluster, batch),
            workload=workload,
            gauges={"pods ready": lambda: pods(cluster, ASKED)},
        )


def service(cluster: ClusterClient, of: Model, variant: str, replicas: int) -> Document:
    """The InferenceService of a variant that is asked for a batch."""
    limit = AMPLE if variant == "headroom" else TIGHT
    document = deploying.service(ASKED, of, cluster, min_replicas=replicas, resources=limited(limit))
    if variant == "whole-container":
        document["spec"]["predictor"]["model"]["env"] = [{"name": "MLSERVER_PARALLEL_WORKERS", "value": "0"}]
    return document


def limited(memory: str) -> Mapping[str, Mapping[str, str]]:
    """Small requests, and a limit for memory."""
    return {"requests": FRUGAL["requests"], "limits": {**FRUGAL["limits"], "memory": memory}}


def asked_for_a_batch(traffic: TrafficClient, batch: list[Answer]) -> Fault:
    """Two requests for BATCH rows; their answers go into ``batch``. In force when the server answered, whatever it said."""
    request = v2_request(None, ROWS * BATCH)

    def verify_injected(injector: FaultInjector) -> str:
        reached = any(answer.status for answer in batch)
        return f"{len(batch)} requests for {BATCH} rows were answered {statuses(batch)}" if reached else ""

    return Fault(
        name=f"a client asks for {BATCH} rows at once",
        affected_objects=(),
        inject=lambda injector: batch.extend(traffic.send(ASKED, request, times=2, at_once=1, timeout=30.0)),
        verify_injected=verify_injected,
    )


def statuses(answers: list[Answer]) -> str:
    """``HTTP 500 ×2``: how often each status was answered; 0 is none."""
    return ", ".join(f"HTTP {status} ×{count}" for status, count in sorted(Counter(a.status for a in answers).items()))


def _lost(watch: Watch, cluster: ClusterClient, batch: list[Answer]) -> Observation:
    watch.wait(AFTER)
    watch.settle()
    outage = watch.outage()
    peak, kernel = memory(cluster, ASKED)
    how = kills(cluster, ASKED)
    measured: Mapping[str, Any] = {
        "batch": statuses(batch),
        "requests": outage.requests,
        "lost": outage.lost,
        "outage_seconds": outage.seconds,
        "service_says": said(cluster.get("inferenceservice", ASKED) or {}),
    }
    message = f"the batch was answered {statuses(batch)}; of the others' requests {outage}"
    if all(answer.status == 200 for answer in batch) and not outage.lost:
        message = f"{message}; at most {peak:.0f} MiB were in use"
        if peak < ROW_MIB * BATCH:
            raise CannotTell(f"the batch did not take the memory that it should: {message}")
        return symptom_not_observed(message, **measured, peak_mib=peak)
    if not how and not kernel:
        raise CannotTell(f"requests failed, and nothing shows that it was for memory: {message}")
    how = how or f"the kernel killed {kernel} processes, of which nothing else tells"
    return symptom_observed(f"{message}; {how}", **measured, killed=how)


def memory(cluster: ClusterClient, name: str) -> tuple[float, int]:
    """The most MiB that a server of the service has used, and how many of its processes the kernel killed for memory.

    Raises CannotTell when no server can be asked. A container that was started again counts from its start.
    """
    found = []
    for pod in _running(cluster, name):
        status, told = cluster.execute(pod["metadata"]["name"], ["sh", "-c", PEAK], container=SERVER)
        if status == 0:
            found.append(counted(told))
    if not found:
        raise CannotTell(f"no container of {name} says how much memory it used")
    return max(peak for peak, _ in found), sum(killed for _, killed in found)


def counted(told: str) -> tuple[float, int]:
    """The peak in MiB and the kills, from what PEAK printed. Raises CannotTell for something else."""
    words = told.split()
    try:
        return round(int(words[0]) / 2**20, 1), int(words[words.index("oom_kill") + 1])
    except (IndexError, ValueError) as error:
        raise CannotTell(f"the container's control group says {told[:200]!r}") from error


def kills(cluster: ClusterClient, name: str) -> str:
    """How it shows that servers of the service were killed for their memory, pod by pod; empty when nothing does."""
    shown = []
    for pod in (cluster.get("pod", selector=f"{OF_SERVICE}={name}") or {}).get("items", ()):
        logs = (cluster.log(pod["metadata"]["name"], SERVER, previous=previous) for previous in (True, False))
        workers = sum(len(WORKER_KILLED.findall(log)) for log in logs)
        if workers:
            shown.append(f"a worker was killed {workers}×, of which the pod says: {containers(pod) or 'nothing'}")
        elif end := killed(pod):
            shown.append(f"a container was killed, of which the pod says: {end}")
    return "; ".join(shown)


def killed(pod: Mapping[str, Any]) -> str:
    """``OOMKilled 137``: what the pod says of a server that was killed for its memory, now or before its last start; else empty."""
    ends = [
        (one.get(key) or {}).get("terminated") or {}
        for one in (pod.get("status") or {}).get("containerStatuses", ())
        if one["name"] == SERVER
        for key in ("state", "lastState")
    ]
    return next((f"{KILLED} {end.get('exitCode')}" for end in ends if end.get("reason") == KILLED), "")


def _running(cluster: ClusterClient, name: str) -> list[Mapping[str, Any]]:
    found = (cluster.get("pod", selector=f"{OF_SERVICE}={name}") or {}).get("items", ())
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
