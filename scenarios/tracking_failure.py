"""MLflow fails while a training records: what is lost, whether the pipeline fails, and how much longer it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from trivet.authoring import (
    FAULT,
    INJECTED,
    PLATFORM,
    Budgets,
    CannotTell,
    Case,
    Claim,
    ClusterClient,
    Fault,
    FaultInjector,
    NetworkPath,
    NotYet,
    Observation,
    PipelineClient,
    PipelineRun,
    Probed,
    TrackingApi,
    Verdict,
    Watch,
    crashed,
    evidence,
    failing,
    fault_proxy_objects,
    http_get,
    remedied,
    restarted,
    scenario,
    slowed,
    stopped,
    symptom_not_observed,
    unprotected,
)
from trivet.scenarios._training_runs import (
    DEFAULT_RETRIES,
    ONE_RETRY,
    BackgroundTraining,
    client_error,
    path_to_tracking,
    require_mlflow_cause,
    runs_of,
    shortened,
    source,
    training_summary,
)

SERVICE, DATABASE = "mlflow", "database"
"""Deployments of a cluster of trivet's own; the first is MLflow's Service too."""
SELECTOR = "app.kubernetes.io/name=mlflow"
LATENCY = 3.0
"""Seconds by which a slow MLflow answers late: well below every timeout, so that nothing fails."""
OUTAGE = 20.0
"""Seconds of HTTP 503, as a gateway answers while MLflow behind it restarts."""
QUERY = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
"""A request that MLflow cannot answer without its database."""
SLOWDOWN, MIN_ROUNDS = 2.0, 16
"""Rounds that take this many times as long are an incident, though nothing is lost, if at least so many of them are under the fault.

The longest wait is excluded, since one pause does not slow down the other rounds. Waits after the last round are included: some 9 s of a
slow MLflow."""
SUCCEEDED = "succeeded"
_INCOMPLETE = re.compile(r"MLflow holds \d+ of \d+ rounds")
"""The error of a training that compares its values with MLflow's at the end, where no request failed."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A variant: its fault (see ``_fault``), how its training records (see ``fixtures/pipelines/rounds``), the retries of its client."""

    fault: str
    training: str
    client: Mapping[str, str] = field(default_factory=lambda: ONE_RETRY)
    rounds: int = 24


SETUPS = {
    "outage": Setup(fault="outage", training="try-except"),
    "outage-asynchronous": Setup(fault="outage", training="asynchronous"),
    "crash": Setup(fault="crash", training="try-except"),
    "slow": Setup(fault="slow", training="plain", rounds=32),
    "database": Setup(fault="database", training="try-except", rounds=60),
    "outage-default-retries": Setup(fault="outage", training="plain", client=DEFAULT_RETRIES),
    "outage-buffered": Setup(fault="outage", training="buffered"),
    "slow-buffered": Setup(fault="slow", training="buffered", rounds=48),
    "flaky": Setup(fault="flaky", training="plain"),
    "deleted": Setup(fault="deleted", training="plain", rounds=60),
    "stopped-raising": Setup(fault="stopped", training="plain", rounds=60),
    "stopped-buffered": Setup(fault="stopped", training="buffered", rounds=60),
}


@scenario(
    title="MLflow fails during a training",
    happens=(
        "MLflow restarts, is slow, answers with errors or loses its database while a training records its rounds. A training that "
        "catches the errors, or that records through MLflow's asynchronous queue, continues and succeeds with an incomplete run."
    ),
    recognise=(
        "A Succeeded pipeline whose run is FINISHED with fewer values than rounds, or RUNNING forever; in the step's log 'Max retries "
        "exceeded', 'too many 503 error responses' or 'Failed to log run data'. A slow MLflow shows only in the duration of a round."
    ),
    remedy=(
        "Configure retries that outlast a restart of the server (MLflow's default five do, one does not), let an error fail the step, or "
        "buffer values until they are recorded, in batches, and compare with MLflow at the end: TrackingApi.metric_history."
    ),
    variants=(
        unprotected("outage", f"HTTP 503 for {OUTAGE:g} s; training catches errors; one retry"),
        unprotected("outage-asynchronous", "the same; MLflow's asynchronous logging; one retry"),
        unprotected("crash", "MLflow's container crashes; training catches errors; one retry"),
        unprotected("slow", f"every answer {LATENCY:g} s late; a request each round"),
        unprotected("database", "the database is scaled to zero; training catches errors; one retry", extended=True),
        unprotected(
            "deleted",
            "MLflow's pod is deleted; errors fail the step; one retry",
            expected=Verdict.PROTECTED,
            extended=True,
        ),
        remedied(
            "outage-default-retries",
            f"HTTP 503 for {OUTAGE:g} s; errors fail the step; MLflow's default five retries",
        ),
        remedied("outage-buffered", "the same; batches buffered until recorded, and counted at the end"),
        remedied("slow-buffered", f"every answer {LATENCY:g} s late; batches", extended=True),
        remedied("flaky", "HTTP 503 for every second request; errors fail the step; one retry", extended=True),
        remedied("stopped-raising", "MLflow is scaled to zero; errors fail the step; one retry", extended=True),
        remedied(
            "stopped-buffered", "MLflow is scaled to zero; batches buffered, and counted at the end", extended=True
        ),
    ),
    affected_objects=(
        *fault_proxy_objects(SERVICE),
        *stopped(SERVICE, namespace=PLATFORM).affected_objects,
        *stopped(DATABASE, namespace=PLATFORM).affected_objects,
        *restarted(SELECTOR, names="mlflow-", namespace=PLATFORM).affected_objects,
    ),
    budgets=Budgets(steady_state=120, symptom=300, recovery=180),
    claims=(
        Claim(
            text="Asynchronous logging makes a training tolerant of faults of the tracking server.",
            holds=False,
            found="the training continues, and no error is raised in it: a FINISHED run with 4 of 24 values, and lines in the log",
            variants=("outage-asynchronous",),
        ),
        Claim(
            text="A limited number of retries protects against a failing tracking server.",
            holds=False,
            found="one retry ends long before a restart does; MLflow's default five outlasted an outage of 20 s, waiting 28 s",
            variants=("outage", "outage-default-retries"),
        ),
    ),
    sources=(
        "mlflow 2.17.2 utils/request_utils.py: 408, 429, 500, 502, 503 and 504 are retried, whatever the method",
        "mlflow 2.17.2 utils/async_logging/async_logging_queue.py: a failed request is only a line in the log",
        "mlflow 2.17.2 store/db/utils.py: a lost database is TEMPORARILY_UNAVAILABLE, HTTP 503",
        "measured: PostgreSQL, on SIGTERM, keeps serving MLflow's open connections, which hides its outage for half a minute",
        "mlflow/mlflow#1550 and huggingface/transformers#28779: asynchronous logging for fault tolerance",
        "kubernetes KEP-1669: a Service without a ready pod routes to terminating pods that still serve",
        "measured: the client's last request sets FINISHED; 6 of 24 values were recorded with an outage, 18 with a crash",
        "measured: MLflow, process 1 of its container, ignores SIGTERM; after its pod was deleted it answered until the next was ready",
    ),
)
def tracking_fails_during_training(
    cluster: ClusterClient, pipelines: PipelineClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    setup = SETUPS[variant]
    path, pod = path_to_tracking(cluster)
    name = f"trivet-failure-{uuid4().hex[:8]}"
    environment = {**setup.client, "TRIVET_TRAINING": setup.training, "TRIVET_ROUNDS": str(setup.rounds)}
    training = BackgroundTraining(
        pipelines, {"experiment": name, "registered_name": name}, environment, source("rounds")
    )

    def values() -> int:
        return sum(len(tracking.metric_history(run["info"]["run_id"], "loss")) for run in runs_of(tracking, name))

    found = 0

    def steady_state() -> Probed:
        nonlocal found
        training.ended()
        found = values()
        shown = f"MLflow has {found} values of the training's loss"
        return shown if found else NotYet(shown)

    def symptom(watch: Watch) -> Observation:
        # A round takes a second at least, and under some faults MLflow cannot return the number of rounds.
        before = found + watch.since(INJECTED) - watch.since(FAULT)
        early = training.ended()
        # A training that an error ended met the fault before the fault was verified.
        if early and not training_summary(early.log).get("refused"):
            raise CannotTell("the training ended before the fault was injected")
        run = watch.eventually("the training to end", training.ended)
        watch.mark("pipeline ends")
        return _ended(run, setup, before)

    def afterwards(watch: Watch, observation: Observation) -> Observation:
        versions = len(tracking.search_model_versions(f"name = '{name}'"))
        status = ", ".join(run["info"]["status"] for run in runs_of(tracking, name))
        return judged(observation, setup, values(), versions, status)

    with training:
        yield Case(
            fault=_fault(setup, path, pod, cluster.images["trainer"]),
            steady_state=steady_state,
            symptom=symptom,
            afterwards=afterwards,
            # Sampling would add to the requests of which every second one fails.
            gauges={} if setup.fault == "flaky" else {"rounds in MLflow": lambda: {"values": float(values())}},
        )


def _ended(run: PipelineRun, setup: Setup, before: float) -> Observation:
    """What shows once the training has ended; at most ``before`` of its rounds were before the fault was injected."""
    step = training_summary(run.log)
    if not step:
        raise CannotTell(f"the training step wrote no summary; the end of its log: {run.log[-300:]}")
    error = shortened(step["error"]) or client_error(run.log)
    incomplete = _INCOMPLETE.search(run.log)
    require_mlflow_cause(run, error or (incomplete.group(0) if incomplete else ""))
    state = SUCCEEDED if run.succeeded else "failed"
    return symptom_not_observed(
        f"the pipeline {state} after {step['produced']} of {setup.rounds} rounds, which waited {step['waited']:.0f} s for "
        f"MLflow, at most {step['longest']:.0f} s at a time",
        evidence=(evidence("log of the pipeline", "log", run.log, limit=8000),),
        pipeline=state,
        rounds=step["produced"],
        rounds_under_fault=max(0, int(step["produced"] - before)),
        refused=step["refused"],
        waited_seconds=step["waited"],
        longest_wait_seconds=step["longest"],
        **({"client_error": error} if error else {}),
    )


def judged(observation: Observation, setup: Setup, values: int, versions: int, status: str) -> Observation:
    """The incident is a loss in a pipeline that succeeds, or rounds under the fault that take ``SLOWDOWN`` times as long.

    Raises CannotTell where MLflow was slow, nothing was lost, and too few rounds were under the fault to show a slowdown.
    """
    measured = observation.measured
    rounds, after = int(measured["rounds"]), int(measured["rounds_under_fault"])
    waited = float(measured["waited_seconds"]) - float(measured["longest_wait_seconds"])
    succeeded = measured["pipeline"] == SUCCEEDED
    lost = succeeded and (values < rounds or not versions)
    held = f"{values} of {rounds} values and {versions or 'no'} version of the model"
    message = f"{observation.message}; MLflow has {held}, and the run is {status}"
    if setup.fault == "slow" and succeeded and not lost and after < MIN_ROUNDS:
        raise CannotTell(f"only {after} rounds were under the fault, at least {MIN_ROUNDS} are needed: {message}")
    return replace(
        observation,
        observed=lost or (after >= MIN_ROUNDS and waited > (SLOWDOWN - 1) * after),
        message=message,
        measured={**measured, "values_recorded": values, "versions_recorded": versions, "run_status": status},
    )


def _fault(setup: Setup, path: NetworkPath, pod: str, image: str) -> Fault:
    probe: dict[str, Any] = {"host": path.host, "port": path.port, "pod": pod}
    if setup.fault == "slow":
        return slowed(SERVICE, path="/health", seconds=LATENCY, image=image, **probe)
    if setup.fault == "outage":
        return failing(SERVICE, path="/health", status=503, image=image, lasts=OUTAGE, **probe)
    if setup.fault == "flaky":
        return failing(SERVICE, path="/health", status=503, image=image, every=2, **probe)
    if setup.fault == "crash":
        return crashed(SELECTOR, "mlflow", names="mlflow-", namespace=PLATFORM)
    if setup.fault == "deleted":
        return restarted(SELECTOR, names="mlflow-", namespace=PLATFORM)
    if setup.fault == "stopped":
        return stopped(SERVICE, namespace=PLATFORM)
    return replace(stopped(DATABASE, namespace=PLATFORM), verify_injected=lambda injector: _fails(injector, path, pod))


def _fails(injector: FaultInjector, path: NetworkPath, pod: str) -> Probed:
    probe = http_get(injector, pod, f"http://{path.host}:{path.port}{QUERY}")
    shown = f"MLflow answers {pod} with HTTP {probe.status}"
    return shown if probe.status >= 500 else NotYet(shown)
