"""MLflow fails while a training records: what is lost, whether anybody is told, and what it costs in time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, unprotected
from trivet.errors import CannotTell
from trivet.integration import TrackingApi
from trivet.model.clients import ClusterClient, FaultInjector, PipelineClient
from trivet.model.fault import PLATFORM, Fault
from trivet.model.finding import evidence
from trivet.model.handover import PipelineRun
from trivet.model.network import NetworkPath
from trivet.model.scenario import Budgets, Case, Claim, Observation, Verdict
from trivet.scenarios.training import (
    BOUNDED,
    OWN,
    Training,
    client_error,
    runs_of,
    shortened,
    source,
    told,
    way_to_tracking,
)
from trivet.toolkit.fault_proxy import failing, fault_proxy_objects, meets, slowed
from trivet.toolkit.faults import crashed, restarted, stopped
from trivet.toolkit.watch import EFFECT, FAULT, Watch

SERVICE, DATABASE = "mlflow", "database"
"""The Deployments of a cluster of trivet's own, and MLflow's Service."""
SELECTOR = "app.kubernetes.io/name=mlflow"
LATE = 3.0
"""Seconds by which a slow MLflow answers late: well within every time-out, so that nothing fails."""
OUTAGE = 20.0
"""Seconds of HTTP 503, as a gateway answers while MLflow behind it restarts."""
QUERY = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
"""What MLflow cannot answer without its database."""
TWICE, FEWEST = 2.0, 16
"""A training whose rounds take so many times as long is hurt, though nothing is lost; so many rounds under the fault are the fewest that
show it. Its longest wait is left out: a pause is no pace. What it waits for after its rounds is counted, some 9 s of a slow MLflow."""
GREEN = "green"
_SHORT = re.compile(r"MLflow holds \d+ of \d+ rounds")
"""With what a training that counts in the end says that values are missing, of which no request told it."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What strikes (a key of ``_fault``), how the training records (see ``fixtures/pipelines/rounds``), and how patient its client is."""

    trouble: str
    training: str
    client: Mapping[str, str] = field(default_factory=lambda: BOUNDED)
    rounds: int = 24


PLANS = {
    "outage": Trouble(trouble="outage", training="try-except"),
    "outage-asynchronous": Trouble(trouble="outage", training="asynchronous"),
    "crash": Trouble(trouble="crash", training="try-except"),
    "slow": Trouble(trouble="slow", training="plain", rounds=32),
    "database": Trouble(trouble="database", training="try-except", rounds=60),
    "outage-patient": Trouble(trouble="outage", training="plain", client=OWN),
    "outage-kept": Trouble(trouble="outage", training="kept"),
    "slow-kept": Trouble(trouble="slow", training="kept", rounds=48),
    "flaky": Trouble(trouble="flaky", training="plain"),
    "deleted": Trouble(trouble="deleted", training="plain", rounds=60),
    "stopped-loud": Trouble(trouble="stopped", training="plain", rounds=60),
    "stopped-kept": Trouble(trouble="stopped", training="kept", rounds=60),
}


@scenario(
    title="MLflow fails in the middle of a training",
    happens=(
        "MLflow restarts, is slow, answers with errors or loses its database while a training records its rounds. A training that "
        "catches the errors, or that leaves recording to MLflow's asynchronous queue, goes on and ends green with a run that has holes."
    ),
    recognise=(
        "A green pipeline whose run is FINISHED and has fewer values than rounds, or is RUNNING for ever; in the step's log 'Max retries "
        "exceeded', 'too many 503 error responses' or 'Failed to log run data'. A slow MLflow shows in the time of a round only."
    ),
    remedy=(
        "Give the client retries that outlast a restart of the server (MLflow's own five do, one does not), let an error end the step, or "
        "keep what was not recorded, send it in batches, and compare in the end what MLflow holds: TrackingApi.metric_history."
    ),
    variants=(
        unprotected("outage", f"HTTP 503 for {OUTAGE:g} s; training catches errors; one retry"),
        unprotected("outage-asynchronous", "the same; MLflow's asynchronous logging; one retry"),
        unprotected("crash", "MLflow's container crashes; training catches errors; one retry"),
        unprotected("slow", f"every answer {LATE:g} s late; a request each round"),
        unprotected("database", "the database is stopped; training catches errors; one retry", extended=True),
        unprotected(
            "deleted",
            "MLflow's pod is deleted; errors end the step; one retry",
            expected=Verdict.PROTECTED,
            extended=True,
        ),
        remedied(
            "outage-patient",
            f"HTTP 503 for {OUTAGE:g} s; errors end the step; MLflow's own five retries",
        ),
        remedied("outage-kept", "the same; batches kept until recorded, and counted in the end"),
        remedied("slow-kept", f"every answer {LATE:g} s late; batches", extended=True),
        remedied("flaky", "HTTP 503 for every second request; errors end the step; one retry", extended=True),
        remedied("stopped-loud", "MLflow is stopped; errors end the step; one retry", extended=True),
        remedied("stopped-kept", "MLflow is stopped; batches kept, and counted in the end", extended=True),
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
            found="training does not stop, and no error ever reaches it: a FINISHED run with 4 of 24 values, and lines in the log",
            variants=("outage-asynchronous",),
        ),
        Claim(
            text="Bounded retries help against a tracking server that fails.",
            holds=False,
            found="one retry is over long before a restart is; MLflow's own five outlasted an outage of 20 s, and waited 28 s for it",
            variants=("outage", "outage-patient"),
        ),
    ),
    sources=(
        "mlflow 2.17.2 utils/request_utils.py: 408, 429, 500, 502, 503 and 504 are retried, whatever the method",
        "mlflow 2.17.2 utils/async_logging/async_logging_queue.py: what could not be logged is a line of the log",
        "mlflow 2.17.2 store/db/utils.py: a lost database is TEMPORARILY_UNAVAILABLE, HTTP 503",
        "measured: PostgreSQL, asked to stop, goes on for the connections that MLflow has: half a minute in which nobody notices",
        "mlflow/mlflow#1550 and huggingface/transformers#28779: asynchronous logging for fault tolerance",
        "kubernetes KEP-1669: a Service without a ready pod leads to those that are ending and still answer",
        "measured: FINISHED is what the client's last request says; of 24 values 6 were left after an outage, 18 after a crash",
        "measured: MLflow, process 1 of its container, does not hear SIGTERM; deleted, it answered until the next pod was ready",
    ),
)
def tracking_fails_in_mid_run(
    cluster: ClusterClient, pipelines: PipelineClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    plan = PLANS[variant]
    path, pod = way_to_tracking(cluster)
    name = f"trivet-trouble-{uuid4().hex[:8]}"
    environment = {**plan.client, "TRIVET_TRAINING": plan.training, "TRIVET_ROUNDS": str(plan.rounds)}
    training = Training(pipelines, {"experiment": name, "registered_name": name}, environment, source("rounds"))

    def values() -> int:
        return sum(len(tracking.metric_history(run["info"]["run_id"], "loss")) for run in runs_of(tracking, name))

    found = 0

    def steady_state() -> str:
        nonlocal found
        training.ended()
        found = values()
        return f"MLflow has {found} values of the training's loss" if found else ""

    def symptom(watch: Watch) -> Observation:
        # A round takes a second at least, and under some faults MLflow cannot be asked how many there were.
        before = found + watch.since(EFFECT) - watch.since(FAULT)
        early = training.ended()
        # One that an error ended has met the fault sooner than the look for it.
        if early and not told(early.log).get("refused"):
            raise CannotTell("the training ended before the fault was in force, so that it shows nothing")
        run = watch.until("the training ends", training.ended)
        watch.mark("the pipeline ends")
        return _ended(run, plan, before)

    def afterwards(sighting: Observation) -> Observation:
        versions = len(tracking.search_model_versions(f"name = '{name}'"))
        status = ", ".join(run["info"]["status"] for run in runs_of(tracking, name))
        return judged(sighting, plan, values(), versions, status)

    with training:
        yield Case(
            fault=_fault(plan, path, pod, cluster.images["trainer"]),
            steady_state=steady_state,
            symptom=symptom,
            afterwards=afterwards,
            # Looking counts among the requests of which every second one fails.
            gauges={} if plan.trouble == "flaky" else {"rounds in MLflow": lambda: {"values": float(values())}},
        )


def _ended(run: PipelineRun, plan: Trouble, before: float) -> Observation:
    """What can be said of a training as soon as it has ended; ``before`` the fault was in force it had so many rounds at most."""
    step = told(run.log)
    if not step:
        raise CannotTell(f"the training step wrote nothing of itself: {run.log[-300:]}")
    said = shortened(step["error"]) or client_error(run.log)
    if not run.succeeded and not said and not _SHORT.search(run.log):
        last = run.log.strip().rpartition("\n")[2][-300:]
        raise CannotTell(f"the pipeline was red, and nothing in its log shows that it was for MLflow; it ends: {last}")
    return symptom_not_observed(
        f"the pipeline was {GREEN if run.succeeded else 'red'} after {step['produced']} of {plan.rounds} rounds, which "
        f"waited {step['waited']:.0f} s for MLflow, {step['longest']:.0f} s of it at once",
        evidence=(evidence("the pipeline's log", "log", run.log, limit=8000),),
        pipeline=GREEN if run.succeeded else "red",
        rounds=step["produced"],
        rounds_after_effect=max(0, int(step["produced"] - before)),
        refused=step["refused"],
        waited_seconds=step["waited"],
        longest_wait_seconds=step["longest"],
        **({"client_said": said} if said else {}),
    )


def judged(sighting: Observation, plan: Trouble, values: int, versions: int, status: str) -> Observation:
    """The incident is a loss that nobody is told of, or rounds under the fault that recording makes ``TWICE`` as long.

    Raises CannotTell where MLflow was slow and nothing was lost, and too few rounds were left to show that.
    """
    measured = sighting.measured
    rounds, after = int(measured["rounds"]), int(measured["rounds_after_effect"])
    pace = float(measured["waited_seconds"]) - float(measured["longest_wait_seconds"])
    green = measured["pipeline"] == GREEN
    lost = green and (values < rounds or not versions)
    held = f"{values} of {rounds} values, {versions or 'no'} version of the model"
    message = f"{sighting.message}; MLflow has {held}, and the run is {status}"
    if plan.trouble == "slow" and green and not lost and after < FEWEST:
        raise CannotTell(f"only {after} rounds were left when MLflow was slow, and {FEWEST} are the fewest: {message}")
    return replace(
        sighting,
        seen=lost or (after >= FEWEST and pace > (TWICE - 1) * after),
        message=message,
        measured={**measured, "values_recorded": values, "versions_recorded": versions, "run_status": status},
    )


def _fault(plan: Trouble, path: NetworkPath, pod: str, image: str) -> Fault:
    here: dict[str, Any] = {"host": path.host, "port": path.port, "pod": pod}
    if plan.trouble == "slow":
        return slowed(SERVICE, path="/health", seconds=LATE, image=image, **here)
    if plan.trouble == "outage":
        return failing(SERVICE, path="/health", status=503, image=image, lasts=OUTAGE, **here)
    if plan.trouble == "flaky":
        return failing(SERVICE, path="/health", status=503, image=image, every=2, **here)
    if plan.trouble == "crash":
        return crashed(SELECTOR, "mlflow", names="mlflow-", namespace=PLATFORM)
    if plan.trouble == "deleted":
        return restarted(SELECTOR, names="mlflow-", namespace=PLATFORM)
    if plan.trouble == "stopped":
        return stopped(SERVICE, namespace=PLATFORM)
    return replace(
        stopped(DATABASE, namespace=PLATFORM), verify_injected=lambda injector: _refuses(injector, path, pod)
    )


def _refuses(injector: FaultInjector, path: NetworkPath, pod: str) -> str:
    met = meets(injector, pod, f"http://{path.host}:{path.port}{QUERY}")
    return f"MLflow answers {pod} with HTTP {met.status}" if met.status >= 500 else ""
