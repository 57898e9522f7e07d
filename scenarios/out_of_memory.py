"""A memory limit that is too small: for loading the model, and for a large batch under traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import (
    DEFAULT_ROWS,
    MINIMAL_RESOURCES,
    SERVING,
    AffectedObject,
    Answer,
    Budgets,
    CannotTell,
    Case,
    Claim,
    ClusterClient,
    Fault,
    FaultInjector,
    ModelMaker,
    NotYet,
    Observation,
    Probed,
    ServableModel,
    TrafficClient,
    Verb,
    Watch,
    Workload,
    applied,
    deployed,
    is_terminating,
    remedied,
    scenario,
    service_pods,
    symptom_not_observed,
    symptom_observed,
    unprotected,
)
from trivet.integration import v2_request
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import Document, absent, answered_only_by, ready_pods_by_revision
from trivet.scenarios._service_status import (
    OOM_KILLED,
    SERVER,
    WORKER_KILLED,
    summarize_status,
    unready_containers,
    watch_loading,
)

LOADED, QUERIED = "large-classifier", "hungry-classifier"
SERVICE = AffectedObject(verb=Verb.CREATE, kind="InferenceService", name=LOADED, namespace=SERVING)

TIGHT, AMPLE = "1Gi", "2Gi"
"""The server without a model uses about half of the first."""
LOAD_MIB = 1024
ROW_MIB, BATCH = 32, 32
"""Memory that predicting a row uses, and rows of a batch: together as much as the tight limit."""
LOADING = 10.0
"""Seconds that the model takes to load, like a real one: after a kill it is loaded again."""
STATUS_TIMEOUT = 40.0
"""Seconds after the first kill until the InferenceService must report that its model does not load."""
AFTER = 25.0
"""Seconds of traffic after the batch."""
PEAK = (
    "cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory.events 2>/dev/null"
    " || cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes /sys/fs/cgroup/memory/memory.oom_control"
)
"""The kernel's counters of a container, in cgroup v2 and v1."""


@scenario(
    title="The memory limit is too small for the model to load",
    happens=(
        "The model needs more memory to load than the container's limit. The kernel kills the process that loads it, at every attempt."
    ),
    recognise=(
        "kserve-container restarts, and its last state is OOMKilled: with exit status 137 where the whole container is killed, with 0 "
        "where only the worker process is killed in which MLServer loads the model, since MLServer then exits by itself. Its log has "
        "'stopped unexpectedly with exit code 9'; the InferenceService reports only RevisionMissing."
    ),
    remedy="Measure the peak while the model loads (memory.peak of the container's control group) and set the limit well above it.",
    variants=(
        unprotected("tight-limit", f"a model of {LOAD_MIB} MiB and a limit of {TIGHT}"),
        remedied("headroom", f"the same model and a limit of {AMPLE}"),
    ),
    affected_objects=(SERVICE,),
    budgets=Budgets(steady_state=60, symptom=150, recovery=120),
    claims=(
        Claim(
            text="A container that runs out of memory is OOMKilled with exit status 137.",
            holds=False,
            found=(
                "true where the kernel kills the container as a whole, as it does with cgroup v2; with cgroup v1 it kills one process: the "
                "pod is OOMKilled with exit status 0 while the model loads, and under traffic its status does not change"
            ),
            variants=("tight-limit",),
        ),
    ),
    sources=(
        "mlserver 1.5.0 and 1.7.1 mlserver/parallel/pool.py, InferencePool.on_worker_stop; mlserver/server.py, MLServer.start: it stops "
        "when a model does not load",
        "kubernetes/kubernetes#117793 (1.28): memory.oom.group for containers, with cgroup v2",
        "kserve 0.14.1 pkg/apis/serving/v1beta1/inference_service_status.go, PropagateModelStatus: a load failed when a container is in "
        "Error or CrashLoopBackOff",
        "measured: loading a model of 1024 MiB has a peak of 1305 MiB",
    ),
)
def while_loading(
    cluster: ClusterClient,
    traffic: TrafficClient,
    models: ModelMaker,
    variant: str,
) -> Iterator[Case]:
    model = models.make("large to load", load_mib=LOAD_MIB)
    workload = Workload(service=LOADED, request=v2_request(None, DEFAULT_ROWS), models={model.name: model.answer})
    limit = AMPLE if variant == "headroom" else TIGHT
    document = _deployments.service(LOADED, model, cluster, namespace=SERVING, max_replicas=1, resources=limited(limit))

    def symptom(watch: Watch) -> Observation:
        loading = watch_loading(cluster, watch, LOADED, timeout=STATUS_TIMEOUT)
        if loading.ready_after is not None:
            if not (answered := answered_only_by(traffic, workload, model.name)):
                raise CannotTell(f"{loading.message}, and its answers are not those of {model.name}")
            peak, _ = memory(cluster, LOADED)
            message = f"{loading.message}, {answered}; peak memory {peak:.0f} MiB"
            if peak < LOAD_MIB:
                raise CannotTell(f"the model used less memory than the {LOAD_MIB} MiB that it allocates: {message}")
            return symptom_not_observed(message, peak_mib=peak)
        killed = kills(cluster, LOADED)
        if not killed:
            raise CannotTell(f"not Ready, and no container or worker was OOM-killed: {loading.message}")
        return symptom_observed(
            f"{killed}; {loading.message}", evidence=loading.evidence, killed=killed, **loading.measured
        )

    yield Case(
        fault=applied(
            document, name=f"an InferenceService with a model of {LOAD_MIB} MiB and a memory limit of {limit}"
        ),
        steady_state=lambda: absent(cluster, LOADED),
        symptom=symptom,
    )


@scenario(
    title="The memory limit is too small for a batch under traffic",
    happens=(
        "A client sends a batch that needs more memory than the container's limit. The kernel kills the process that predicts, and the "
        "requests of all other clients fail until the model is loaded again."
    ),
    recognise=(
        "HTTP 500 'Worker process stopped unexpectedly with exit code 9', then 500 with 'coroutine raised StopIteration' for every client. "
        "The pod is Running, ready and not restarted, the InferenceService Ready=True, /v2/models/NAME/ready 200: only the server's log "
        "and oom_kill of the container's cgroup show it."
    ),
    remedy=(
        "Size the limit for the largest batch that clients may send, not for an idle service; reject larger ones before they reach the "
        "model. With two replicas and MLSERVER_PARALLEL_WORKERS=0 a kill shows in the pod, and costs a second instead of a reload."
    ),
    variants=(
        unprotected("tight-limit", f"a limit of {TIGHT} and a batch that needs as much"),
        remedied("headroom", f"the same batch and a limit of {AMPLE}"),
        remedied("two-replicas", f"a limit of {TIGHT} and a second replica", protects=False, extended=True),
        remedied(
            "whole-container",
            f"a limit of {TIGHT}, a second replica and MLSERVER_PARALLEL_WORKERS=0: the container is killed as a whole and restarted",
            protects=False,
            extended=True,
        ),
    ),
    affected_objects=(),
    budgets=Budgets(steady_state=120, symptom=90, recovery=180),
    claims=(
        Claim(
            text="A readiness probe for the model keeps traffic from a pod that cannot serve it.",
            holds=False,
            found="the server answers the probe with 200, model ready, while the worker that had the model is gone",
            variants=("tight-limit",),
        ),
        Claim(
            text="A second replica keeps a service answering when the first one runs out of memory.",
            holds=False,
            found=(
                "the pod whose worker is gone stays ready and gets its share of the requests; a server without workers is killed as a "
                "whole, its pod is OOMKilled with 137, and some requests are lost until it gets no more traffic"
            ),
            variants=("two-replicas", "whole-container"),
        ),
    ),
    sources=(
        "mlserver 1.5.0 and 1.7.1 mlserver/parallel/dispatcher.py, Dispatcher.on_worker_stop: requests in flight are cancelled; until a "
        "new worker has loaded the model there is none to dispatch to",
        "SeldonIO/MLServer#1431: health checks pass while a worker is dead",
    ),
)
def under_traffic(
    cluster: ClusterClient,
    traffic: TrafficClient,
    models: ModelMaker,
    variant: str,
) -> Iterator[Case]:
    model = models.make("large to predict", predict_mib=ROW_MIB, load_seconds=LOADING)
    workload = Workload(service=QUERIED, request=v2_request(None, DEFAULT_ROWS), models={model.name: model.answer})
    replicas = 2 if variant in ("two-replicas", "whole-container") else 1
    batch: list[Answer] = []

    def steady_state() -> Probed:
        count = sum(ready_pods_by_revision(cluster, QUERIED).values())
        if count < replicas:
            return NotYet(f"{count:.0f} of {replicas} pods of {QUERIED} are ready")
        return answered_only_by(traffic, workload, model.name)

    with deployed(cluster, service(cluster, model, variant, replicas)):
        yield Case(
            fault=large_batch(traffic, batch),
            steady_state=steady_state,
            symptom=lambda watch: _observe(watch, cluster, batch),
            workload=workload,
            gauges={"pods ready": lambda: ready_pods_by_revision(cluster, QUERIED)},
        )


def service(cluster: ClusterClient, model: ServableModel, variant: str, replicas: int) -> Document:
    """The InferenceService of a variant that gets the batch."""
    limit = AMPLE if variant == "headroom" else TIGHT
    document = _deployments.service(QUERIED, model, cluster, min_replicas=replicas, resources=limited(limit))
    if variant == "whole-container":
        document["spec"]["predictor"]["model"]["env"] = [{"name": "MLSERVER_PARALLEL_WORKERS", "value": "0"}]
    return document


def limited(memory: str) -> Mapping[str, Mapping[str, str]]:
    """Small resource requests and the memory limit."""
    return {"requests": MINIMAL_RESOURCES["requests"], "limits": {**MINIMAL_RESOURCES["limits"], "memory": memory}}


def large_batch(traffic: TrafficClient, batch: list[Answer]) -> Fault:
    """Two requests for BATCH rows; their answers are appended to ``batch``. Verified when the server answered with any status."""
    request = v2_request(None, DEFAULT_ROWS * BATCH)

    def verify_injected(injector: FaultInjector) -> Probed:
        shown = f"{len(batch)} requests for {BATCH} rows were answered with {statuses(batch) or 'nothing'}"
        return shown if any(answer.status for answer in batch) else NotYet(shown)

    return Fault(
        name=f"a client requests {BATCH} rows at once",
        affected_objects=(),
        inject=lambda injector: batch.extend(traffic.send(QUERIED, request, times=2, concurrency=1, timeout=30.0)),
        verify_injected=verify_injected,
    )


def statuses(answers: list[Answer]) -> str:
    """``HTTP 500 ×2``: the number of answers with each status; 0 is no answer."""
    return ", ".join(f"HTTP {status} ×{count}" for status, count in sorted(Counter(a.status for a in answers).items()))


def _observe(watch: Watch, cluster: ClusterClient, batch: list[Answer]) -> Observation:
    watch.wait(AFTER)
    watch.settle()
    outage = watch.outage()
    peak, kernel = memory(cluster, QUERIED)
    killed = kills(cluster, QUERIED)
    measured: Mapping[str, Any] = {
        "batch": statuses(batch),
        "requests": outage.requests,
        "lost": outage.lost,
        "outage_seconds": outage.seconds,
        "service_status": summarize_status(cluster.get("inferenceservice", QUERIED) or {}),
    }
    message = f"the batch was answered with {statuses(batch)}; of all other requests {outage}"
    if all(answer.status == 200 for answer in batch) and not outage.lost:
        message = f"{message}; peak memory {peak:.0f} MiB"
        if peak < ROW_MIB * BATCH:
            raise CannotTell(f"the batch used less memory than the {ROW_MIB * BATCH} MiB that it allocates: {message}")
        return symptom_not_observed(message, **measured, peak_mib=peak)
    if not killed and not kernel:
        raise CannotTell(f"requests failed, and no process was OOM-killed: {message}")
    killed = killed or f"the kernel OOM-killed {kernel} processes, which shows in the cgroup only"
    return symptom_observed(f"{message}; {killed}", **measured, killed=killed)


def memory(cluster: ClusterClient, name: str) -> tuple[float, int]:
    """The peak memory of a server of the service in MiB, and the number of its processes that the kernel OOM-killed.

    Both count since the last start of the container. Raises CannotTell when no container can be read.
    """
    found = []
    for pod in service_pods(cluster, name):
        if is_terminating(pod):
            continue
        status, output = cluster.execute(pod["metadata"]["name"], ["sh", "-c", PEAK], container=SERVER)
        if status == 0:
            found.append(parse_counters(output))
    if not found:
        raise CannotTell(f"no container of {name} has readable memory counters in /sys/fs/cgroup")
    return max(peak for peak, _ in found), sum(killed for _, killed in found)


def parse_counters(output: str) -> tuple[float, int]:
    """The peak in MiB and the OOM kills, from the output of PEAK. Raises CannotTell for something else."""
    words = output.split()
    try:
        return round(int(words[0]) / 2**20, 1), int(words[words.index("oom_kill") + 1])
    except (IndexError, ValueError) as error:
        raise CannotTell(f"the memory counters of the container's cgroup are {output[:200]!r}") from error


def kills(cluster: ClusterClient, name: str) -> str:
    """How OOM kills of the service's servers show, pod by pod; empty when there were none."""
    shown = []
    for pod in service_pods(cluster, name):
        logs = (cluster.log(pod["metadata"]["name"], SERVER, previous=previous) for previous in (True, False))
        workers = sum(len(WORKER_KILLED.findall(log)) for log in logs)
        if workers:
            shown.append(
                f"a worker was OOM-killed {workers}×; unready containers of the pod: {unready_containers(pod) or 'none'}"
            )
        elif end := oom_killed(pod):
            shown.append(f"the container was terminated: {end}")
    return "; ".join(shown)


def oom_killed(pod: Mapping[str, Any]) -> str:
    """``OOMKilled 137``: the termination of a server by the OOM killer, in its state or last state; else empty."""
    ends = [
        (one.get(key) or {}).get("terminated") or {}
        for one in (pod.get("status") or {}).get("containerStatuses", ())
        if one["name"] == SERVER
        for key in ("state", "lastState")
    ]
    return next((f"{OOM_KILLED} {end.get('exitCode')}" for end in ends if end.get("reason") == OOM_KILLED), "")
