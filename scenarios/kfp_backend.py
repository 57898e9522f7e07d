"""What KFP's backend does with a step that records in MLflow: the cache answers, the URI is unset, the run is ended, it is away itself."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from trivet.authoring import (
    BACKEND,
    PIPELINE_BACKEND,
    AffectedObject,
    BackendRun,
    Budgets,
    CannotTell,
    Case,
    Evidence,
    Fault,
    NotYet,
    Observation,
    PipelineBackendClient,
    Probed,
    TrackingApi,
    Verb,
    Watch,
    evidence,
    first_exception,
    last_answer,
    last_seen,
    remedied,
    scenario,
    stopped,
    symptom_not_observed,
    unprotected,
)
from trivet.scenarios._training_runs import runs_of

FEATURES = (PIPELINE_BACKEND,)
ENDED = 60.0
"""Seconds for MLflow to show that a run ended whose step was terminated: the kubelet gives it 30 s."""
RECORDS = 60
"""Seconds that a step records: until after the API server is away, which takes up to 45 s."""
LEFT = 25.0
"""Seconds for the launcher and Argo to end the step after its code, without the API server."""
NAMES = ("MLFLOW_TRACKING_URI",)
_RECORDING = re.compile(r"^recording ([0-9a-f]{32})\b", re.MULTILINE)
_LAUNCHER = re.compile(r"failed to execute component: (.*)")


# -- the cache answers ---------------------------------------------------------------------------------------------------

CACHED = {"cached": "recording_once", "uncached": "recording", "required": "recording_required"}


@scenario(
    title="The cache answers for a training whose run is gone",
    happens=(
        "Somebody deletes an MLflow run, and the pipeline is started again to make it anew. KFP's cache knows the step's inputs, image and "
        "command, and asks nobody whether the run is still there: the step has no pod, its output is the id of the deleted run, and the "
        "pipeline is Succeeded."
    ),
    recognise=(
        "The recording step has a driver pod and no pod of its own, and its execution is Cached; the run id that it returns is deleted in "
        "MLflow, and no new run exists."
    ),
    remedy=(
        "Switch the cache off for every step that records: set_caching_options(False), as trivet.operations.kfp_components do. A step "
        "after it that is not cached and asks MLflow for the run makes the pipeline fail, and does not train."
    ),
    variants=(
        unprotected("cached", "the recording step as the SDK compiles it, with caching"),
        remedied("uncached", "the same step with set_caching_options(False)"),
        remedied("required", "the cached step, and one that is not cached and requires the run in MLflow"),
    ),
    affected_objects=(),
    budgets=Budgets(steady_state=60, symptom=420, recovery=60),
    features=FEATURES,
    sources=(
        "kubeflow/pipelines 2.0.5 backend/src/v2/driver/driver.go, getFingerPrintsAndID: inputs, image and command; MLflow is not asked",
    ),
)
def cached_run_is_gone(pipeline_backend: PipelineBackendClient, tracking: TrackingApi, variant: str) -> Iterator[Case]:
    arguments = _experiment(pipeline_backend)
    pipeline = CACHED[variant]
    first = pipeline_backend.wait(pipeline_backend.start(pipeline, arguments))
    gone = _recorded(first)
    if not (first.succeeded and gone):
        raise CannotTell(f"the first run recorded nothing: it is {first.state}; {_error(first.log)}")

    def deleted(_: object) -> Probed:
        stage = str(tracking.get_run(gone)["info"]["lifecycle_stage"])
        return f"MLflow's run is {stage}" if stage == "deleted" else NotYet(f"MLflow's run is {stage}")

    def symptom(watch: Watch) -> Observation:
        watch.mark("pipeline starts again")
        again = pipeline_backend.wait(pipeline_backend.start(pipeline, arguments))
        watch.mark("pipeline ends")
        _require_cause(again, f"MLflow's run {gone} is deleted")
        recorded = len(runs_of(tracking, arguments["experiment"]))
        trained = "trained again" if "record" in again.tasks else "was answered from the cache"
        message = f"the step {trained}, the pipeline is {again.state}, and MLflow has {recorded} runs of it"
        return replace(
            _seen(again, message, runs_recorded=recorded, step=trained), observed=again.succeeded and not recorded
        )

    yield Case(
        fault=Fault(
            name="the MLflow run of the first run is deleted",
            affected_objects=(),
            inject=lambda injector: injector.change(
                "delete the run in MLflow", lambda: tracking.delete_run(gone), lambda: tracking.restore_run(gone)
            ),
            verify_injected=deleted,
        ),
        steady_state=lambda: _accepts(pipeline_backend),
        symptom=symptom,
    )


# -- the tracking URI is unset -------------------------------------------------------------------------------------------

UNSET = {"by-default": "recording_anywhere", "required": "recording"}


@scenario(
    title="The step has no tracking URI, and its run is gone with its pod",
    happens=(
        "The steps of a pipeline lack MLFLOW_TRACKING_URI: the webhook that sets it does not match the namespace, or a profile is new. "
        "MLflow's client then records into ./mlruns of the container without a word, the step returns the id of a run, the pipeline is "
        "Succeeded, and the run is gone with the pod."
    ),
    recognise=(
        "A Succeeded pipeline whose step returns a run id that MLflow does not know; no error and no retry in its log. "
        "mlflow.get_tracking_uri() in the step is a file:// URI."
    ),
    remedy=(
        "Let recording steps refuse to start without MLFLOW_TRACKING_URI, as trivet.operations.kfp_components do, or require the run in "
        "MLflow in a later step; and set the variable where no namespace can lack it."
    ),
    variants=(
        unprotected("by-default", "a step that calls mlflow.start_run()"),
        remedied("required", "a step that fails where MLFLOW_TRACKING_URI is not set"),
    ),
    affected_objects=(),
    budgets=Budgets(steady_state=60, symptom=300, recovery=60),
    features=FEATURES,
    sources=(
        "mlflow 2.17.2 and 3.17.2 mlflow/tracking/_tracking_service/utils.py, get_tracking_uri: ./mlruns or a database there",
    ),
)
def tracking_uri_is_unset(
    pipeline_backend: PipelineBackendClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    arguments = _experiment(pipeline_backend)
    started: list[str] = []

    def start() -> None:
        unset = dict.fromkeys(NAMES, "")
        started.append(pipeline_backend.start(UNSET[variant], arguments, environment=unset))

    def lacks(_: object) -> Probed:
        run = pipeline_backend.wait(started[-1], until=bool) if started else None
        pods = [pod for task in run.tasks.values() for pod in task.pods] if run else []
        for pod in pods:
            (main,) = (each for each in pod["spec"]["containers"] if each["name"] == "main")
            found = {each["name"]: each.get("value", "") for each in main.get("env") or ()}
            if not any(found.get(name) for name in NAMES):
                return f"the container of the step has no {NAMES[0]}"
        return NotYet("no step without a tracking URI has a pod")

    def symptom(watch: Watch) -> Observation:
        ended = pipeline_backend.wait(started[-1])
        watch.mark("pipeline ends")
        _require_cause(ended, f"{NAMES[0]} is not set")
        recorded = len(runs_of(tracking, arguments["experiment"]))
        told = "returns a run id" if _recorded(ended) else "returns no run id"
        message = f"the pipeline is {ended.state}, its step {told}, and MLflow has {recorded} runs of it"
        return replace(_seen(ended, message, runs_recorded=recorded), observed=ended.succeeded and not recorded)

    yield Case(
        fault=Fault(
            name="the steps have no tracking URI",
            affected_objects=(),
            inject=lambda injector: injector.change(f"start a run whose steps have no {NAMES[0]}", start, lambda: None),
            verify_injected=lacks,
            budget=180.0,
        ),
        steady_state=lambda: _accepts(pipeline_backend),
        symptom=symptom,
    )


# -- the run is terminated -----------------------------------------------------------------------------------------------

TERMINATED = {"plain": "recording", "handler": "recording_until_told", "swept": "recording"}


@scenario(
    title="A terminated pipeline leaves a run that is RUNNING for ever",
    happens=(
        "Somebody terminates a run of KFP while a step records. The step's processes end without MLflow's client being told, and its "
        "MLflow run stays RUNNING: it is counted as a training that runs, and nobody can tell it from one."
    ),
    recognise="KFP's run is Canceled or Failed, and the MLflow run of its step is RUNNING without an end time hours later.",
    remedy=(
        "End the MLflow runs of terminated runs of KFP from outside: tracking.end_run(run_id) of the core library, for those whose KFP run "
        "has ended. A handler of SIGTERM in the step, which ends the run where a person sends the signal, does not with KFP 2.0.5."
    ),
    variants=(
        unprotected("plain", "a step that records in a `with mlflow.start_run()`"),
        remedied("handler", "the step handles SIGTERM with mlflow.end_run('KILLED')", protects=False),
        remedied("swept", "whoever terminated the run ends the MLflow runs that are still RUNNING"),
    ),
    affected_objects=(),
    budgets=Budgets(steady_state=60, symptom=420, recovery=60),
    features=FEATURES,
    sources=(
        "mlflow 2.17.2 mlflow/tracking/fluent.py: end_run is registered with atexit, which a signal's default action does not run",
        "argo-workflows 3.3.10 workflow/executor/executor.go, Kill: SIGTERM, then SIGKILL after the grace period",
    ),
)
def terminated_while_recording(
    pipeline_backend: PipelineBackendClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    arguments = _experiment(pipeline_backend)
    run_id, recorded = _begun(pipeline_backend, TERMINATED[variant], {**arguments, "seconds": 600})

    def ended(_: object) -> Probed:
        seen = pipeline_backend.wait(run_id, until=bool)
        shown = f"the run of KFP is {seen.state}"
        return shown if seen.state in ("CANCELED", "FAILED") else NotYet(shown)

    def symptom(watch: Watch) -> Observation:
        if variant == "swept":
            for each in runs_of(tracking, arguments["experiment"]):
                if each["info"]["status"] == "RUNNING":
                    tracking.end_run(each["info"]["run_id"])
        status = last_answer(
            lambda: _status(tracking, recorded), until=lambda found: found != "RUNNING", timeout=ENDED, poll=3.0
        )
        run = pipeline_backend.wait(run_id)
        watch.mark("MLflow asked")
        message = f"the pipeline is {run.state}, and the MLflow run of its step is {status}"
        return replace(_seen(run, message, run_status=str(status)), observed=status == "RUNNING")

    yield Case(
        fault=Fault(
            name="the run of KFP is terminated while its step records",
            affected_objects=(),
            inject=lambda injector: injector.change(
                "terminate the run of KFP", lambda: pipeline_backend.terminate(run_id), lambda: None
            ),
            verify_injected=ended,
            budget=180.0,
        ),
        steady_state=lambda: _accepts(pipeline_backend),
        symptom=symptom,
    )


# -- the API server is away as the step ends ----------------------------------------------------------------------------

API_SERVER = "ml-pipeline"
"""Deployment of upstream's manifests (kubeflow/pipelines 2.0.5 manifests/kustomize/base/pipeline)."""
ENDINGS = {"api-server": "recording_once", "api-server-uncached": "recording"}


@scenario(
    title="The training succeeded, and its pipeline failed",
    happens=(
        "KFP's API server is upgraded or evicted while a step trains. The step's code succeeds, and then the launcher cannot make the "
        "cache's entry, for which it needs the API server: the step fails, with everything after it, though MLflow has a FINISHED run "
        "with all that was trained."
    ),
    recognise=(
        "A Failed step whose log ends, after the output of its code, with the launcher's 'failed to execute component: …'; and a FINISHED "
        "run in MLflow."
    ),
    remedy=(
        "Switch the cache off for steps that train (set_caching_options(False)), so that they need no API server; look into MLflow before "
        "a failed training is repeated, since hours of it may be there."
    ),
    variants=(
        unprotected("api-server", "the API server is away, and the step is cached"),
        remedied("api-server-uncached", "the API server is away, and the step has set_caching_options(False)"),
    ),
    affected_objects=(AffectedObject(verb=Verb.PATCH, kind="deployment", name=API_SERVER, namespace=BACKEND),),
    budgets=Budgets(steady_state=60, symptom=300, recovery=180),
    features=FEATURES,
    sources=(
        "kubeflow/pipelines 2.0.5 backend/src/v2/component/launcher_v2.go, Execute: after the code the execution is published, and with a "
        "fingerprint the cache's entry is made by the API server",
    ),
)
def part_away_as_a_step_ends(
    pipeline_backend: PipelineBackendClient, tracking: TrackingApi, variant: str
) -> Iterator[Case]:
    arguments = _experiment(pipeline_backend)
    run_id, recorded = _begun(pipeline_backend, ENDINGS[variant], {**arguments, "seconds": RECORDS})

    def symptom(watch: Watch) -> Observation:
        if _status(tracking, recorded) != "RUNNING":
            raise CannotTell(f"the step had ended its MLflow run before deployment {API_SERVER} was away")
        watch.eventually(
            "the step to end its MLflow run",
            lambda: _status(tracking, recorded),
            until=lambda found: found != "RUNNING",
            timeout=2.0 * RECORDS,
            describe=last_seen,
        )
        watch.mark("the step's code ends")
        time.sleep(LEFT)
        return symptom_not_observed(f"the step ended its MLflow run while deployment {API_SERVER} was away")

    def afterwards(watch: Watch, observation: Observation) -> Observation:
        run = pipeline_backend.wait(run_id)
        watch.mark("pipeline ends")
        status = _status(tracking, recorded)
        if status != "FINISHED":
            raise CannotTell(f"the training itself failed: its MLflow run is {status}; {_error(run.log)}")
        message = f"MLflow's run is {status}, and the pipeline is {run.state}"
        if run.state == "FAILED":
            message = f"{message}: {_error(run.log)}"
        seen = _seen(run, message, run_status=status)
        return replace(seen, observed=not run.succeeded)

    yield Case(
        fault=stopped(API_SERVER, namespace=BACKEND),
        steady_state=lambda: _accepts(pipeline_backend),
        symptom=symptom,
        afterwards=afterwards,
    )


# -- what they share -----------------------------------------------------------------------------------------------------


def _experiment(pipeline_backend: PipelineBackendClient) -> dict[str, str]:
    """An experiment in MLflow of the variant's own, which keeps it out of KFP's cache, too."""
    return {"experiment": f"{pipeline_backend.experiment}-incident-{uuid4().hex[:8]}"}


def _begun(pipeline_backend: PipelineBackendClient, pipeline: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """A run of KFP whose step records, and the id of its MLflow run. Raises CannotTell when it ends without."""
    run_id = pipeline_backend.start(pipeline, arguments)
    seen = pipeline_backend.wait(run_id, until=lambda seen: _recorded(seen) != "")
    if not (recorded := _recorded(seen)):
        raise CannotTell(f"the step recorded no run: it is {seen.state}; {_error(seen.log)}")
    return run_id, recorded


def _accepts(pipeline_backend: PipelineBackendClient) -> Probed:
    """That the API server takes a pipeline, which it keeps in the object store and the database."""
    version = pipeline_backend.upload(pipeline_backend.compile("greeting"))
    return "the API server takes a pipeline" if version else NotYet("the API server takes no pipeline")


def _recorded(run: BackendRun) -> str:
    """The id of the MLflow run that a step has begun; empty before."""
    found = _RECORDING.search(run.log)
    return found[1] if found else ""


def _status(tracking: TrackingApi, run_id: str) -> str:
    return str(tracking.get_run(run_id)["info"]["status"])


def _seen(run: BackendRun, message: str, **measured: int | str) -> Observation:
    """What a run of KFP showed, with the error of its step."""
    error = {"step_error": found} if not run.succeeded and (found := _error(run.log)) else {}
    return symptom_not_observed(message, evidence=_logs(run), pipeline=run.state, **error, **measured)


def _require_cause(run: BackendRun, cause: str) -> None:
    """Raises CannotTell for a run of KFP that failed without ``cause`` in the logs of its steps."""
    if not run.succeeded and cause not in run.log:
        raise CannotTell(f"the pipeline is {run.state}, and no step says '{cause}'; its error: {_error(run.log)}")


def _logs(run: BackendRun) -> tuple[Evidence, ...]:
    return (evidence("logs of the steps", "log", run.log, limit=8000),)


def _error(log: str) -> str:
    """The launcher's error in a log, in one line; that of the step's code where the launcher only has its exit status."""
    launcher = _LAUNCHER.search(log)
    return (first_exception(log) if launcher is None or launcher[1].startswith("exit status") else launcher[1])[:300]
