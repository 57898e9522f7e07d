"""Examples of the contracts over what KFP's backend does. Real runs on KFP 2.0.5, which breaks some of the contracts by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_examples.live import Instead, findings, pipelines_session
from contract_examples.registry import failing, passing

from trivet.model.finding import Finding
from trivet.model.outcome import Outcome
from trivet.model.pipeline_runs import BackendRun
from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.cluster

FIRST = ("greeting", "unlimited", "failing", "retrying", "cleaning")
"""Pipelines whose runs several examples look at; they are started side by side."""


class Shared:
    """The backend, which starts a run that was started before no second time."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._runs: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def start(self, pipeline: str, arguments: Mapping[str, Any] | None = None, **options: Any) -> str:
        key = repr((pipeline, arguments, sorted(options.items())))
        if key not in self._runs:
            self._runs[key] = self._real.start(pipeline, arguments, **options)
        return self._runs[key]


@pytest.fixture(scope="module")
def session() -> Iterator[ClusterSession]:
    """The stack on its own cluster with KFP's backend, built from packages."""
    with pipelines_session() as running:
        yield running


@pytest.fixture(scope="module")
def real(session: ClusterSession) -> Any:
    """The client."""
    return session.client("pipeline_backend")


@pytest.fixture(scope="module")
def backend(real: Any) -> Shared:
    """The client, with the runs of FIRST under way."""
    shared = Shared(real)
    for pipeline in FIRST:
        shared.start(pipeline)
    return shared


def judged(session: ClusterSession, contract: str, backend: Any, **replaced: Any) -> list[Finding]:
    return findings(session, f"pipeline_backend.{contract}", pipeline_backend=backend, **replaced)


def starting(backend: Any, pipeline: str, arguments: Mapping[str, Any] | None = None, **members: Any) -> Instead:
    """The backend, which starts another pipeline than it is asked for, with the variables that it is asked for."""

    def start(_: str, given: Mapping[str, Any] | None = None, **options: Any) -> str:
        options.pop("service_account", None)
        run_id: str = backend.start(pipeline, given if arguments is None else arguments, **options)
        return run_id

    return Instead(backend, start=start, **members)


def seeing(backend: Any, **changes: Any) -> Instead:
    """The backend, which shows something else of each run."""

    def wait(run_id: str, **options: Any) -> BackendRun:
        run: BackendRun = backend.wait(run_id, **options)
        return replace(run, **{name: change(run) for name, change in changes.items()})

    return Instead(backend, wait=wait)


# compiled_pipeline_is_accepted


@failing("pipeline_backend.compiled_pipeline_is_accepted", because="the API server refuses the example pipeline: ")
def test_a_field_that_the_release_does_not_know(
    session: ClusterSession, backend: Shared, tmp_path: Path
) -> list[Finding]:
    pipelines = session.client("pipelines")
    document = next(iter(yaml.safe_load_all(pipelines.compiled.read_text(encoding="utf-8"))))
    document["root"]["dag"]["tasks"]["train"]["cachingOptions"] = {"cacheKey": "a"}
    newer = tmp_path / "pipeline.yaml"
    newer.write_text(yaml.safe_dump(document), encoding="utf-8")
    return judged(session, "compiled_pipeline_is_accepted", backend, pipelines=Instead(pipelines, compiled=newer))


@passing("pipeline_backend.compiled_pipeline_is_accepted")
def test_the_example_pipeline(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "compiled_pipeline_is_accepted", backend)


# reported_state_is_what_happened


@failing("pipeline_backend.reported_state_is_what_happened", because="exits with 1, and the API server says SUCCEEDED")
def test_a_run_that_is_said_to_have_succeeded(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "reported_state_is_what_happened", seeing(backend, state=lambda run: "SUCCEEDED"))


@passing("pipeline_backend.reported_state_is_what_happened", because="the API server says FAILED")
def test_states_that_are_what_happened(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "reported_state_is_what_happened", backend)


# asked_retries_happen


@failing("pipeline_backend.asked_retries_happen", because="had 1 attempt, expected 3")
def test_a_backend_that_ignores_retries(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "asked_retries_happen", backend)


@passing("pipeline_backend.asked_retries_happen", because="a failing step with set_retry(2) had")
def test_a_step_that_was_tried_again(session: ClusterSession, backend: Shared) -> list[Finding]:
    def tasks(run: BackendRun) -> Mapping[str, Any]:
        return {name: replace(task, pods=[*task.pods] * 3) for name, task in run.tasks.items()}

    return judged(session, "asked_retries_happen", seeing(backend, tasks=tasks))


# unwritten_model_is_not_green


@failing(
    "pipeline_backend.unwritten_model_is_not_green",
    because="the model was never written, and the step that takes it ran",
)
def test_a_backend_that_takes_an_empty_model(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "unwritten_model_is_not_green", backend)


@passing("pipeline_backend.unwritten_model_is_not_green", because="the run is FAILED")
def test_a_model_elsewhere_that_was_never_written(session: ClusterSession, backend: Shared) -> list[Finding]:
    """With a URI in another bucket the launcher does notice."""
    other = starting(backend, "handing_over", {"text": "", "uri": "s3://another-bucket/model"})
    return judged(session, "unwritten_model_is_not_green", other)


def test_a_step_that_fails_before_its_code_says_nothing_of_an_unwritten_model(
    session: ClusterSession, backend: Shared
) -> None:
    def start(pipeline: str, arguments: Mapping[str, Any] | None = None) -> str:
        return backend.start(pipeline, arguments, environment={"PYTHONHOME": "/nowhere"})

    (found,) = judged(session, "unwritten_model_is_not_green", Instead(backend, start=start))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "before it reports the model" in found.message


# model_uri_survives


@failing("pipeline_backend.model_uri_survives", because="the step that takes the model fails: failed to ")
def test_a_uri_of_mlflow_in_an_artifact(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "model_uri_survives", backend)


@passing("pipeline_backend.model_uri_survives", because="the step that takes the model gets it")
def test_a_uri_of_mlflow_in_a_parameter(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "model_uri_survives", starting(backend, "telling"))


# limits_arrive_in_the_pod


@failing("pipeline_backend.limits_arrive_in_the_pod", because="and its pod has none")
def test_a_step_without_limits(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "limits_arrive_in_the_pod", starting(backend, "unlimited"))


@passing("pipeline_backend.limits_arrive_in_the_pod")
def test_a_step_with_limits(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "limits_arrive_in_the_pod", backend)


# accelerator_arrives_in_the_pod


@failing("pipeline_backend.accelerator_arrives_in_the_pod", because="and its pod has no limits")
def test_a_step_without_an_accelerator(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "accelerator_arrives_in_the_pod", starting(backend, "unlimited"))


@passing("pipeline_backend.accelerator_arrives_in_the_pod", because="the pod has the limit 1 of nvidia.com/gpu")
def test_a_step_with_an_accelerator(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "accelerator_arrives_in_the_pod", backend)


# cached_recording_has_its_run


@failing(
    "pipeline_backend.cached_recording_has_its_run", because="was answered from the cache, and the run is SUCCEEDED"
)
def test_a_recording_step_that_may_be_cached(session: ClusterSession, real: Any) -> list[Finding]:
    return judged(session, "cached_recording_has_its_run", real)


@passing("pipeline_backend.cached_recording_has_its_run", because="and the next run of the pipeline recorded")
def test_a_recording_step_without_caching(session: ClusterSession, real: Any) -> list[Finding]:
    return judged(session, "cached_recording_has_its_run", starting(real, "recording"))


# service_account_is_the_one_asked_for


@failing("pipeline_backend.service_account_is_the_one_asked_for", because="and its pods have pipeline-runner")
def test_a_run_without_the_account(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "service_account_is_the_one_asked_for", starting(backend, "greeting"))


@passing("pipeline_backend.service_account_is_the_one_asked_for")
def test_a_run_with_the_account(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "service_account_is_the_one_asked_for", backend)


# exit_handler_runs_when_a_step_fails


@failing(
    "pipeline_backend.exit_handler_runs_when_a_step_fails",
    because="and the exit handler did not run; the run is FAILED",
)
def test_a_step_that_fails_outside_of_an_exit_handler(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "exit_handler_runs_when_a_step_fails", starting(backend, "failing"))


@passing("pipeline_backend.exit_handler_runs_when_a_step_fails")
def test_a_step_that_fails_inside_of_an_exit_handler(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "exit_handler_runs_when_a_step_fails", backend)


# exit_handler_hides_no_failure


@failing(
    "pipeline_backend.exit_handler_hides_no_failure",
    because="its pipeline has an exit handler, and the run is SUCCEEDED",
)
def test_a_backend_whose_exit_handler_makes_the_run_green(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "exit_handler_hides_no_failure", backend)


@passing("pipeline_backend.exit_handler_hides_no_failure", because="and the run is FAILED")
def test_a_failed_step_that_makes_the_run_fail(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "exit_handler_hides_no_failure", starting(backend, "failing"))


# exit_handler_runs_when_terminated


@failing(
    "pipeline_backend.exit_handler_runs_when_terminated",
    because="the run was terminated, and the exit handler did not run",
)
def test_a_backend_that_terminates_the_exit_handler_too(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "exit_handler_runs_when_terminated", backend)


@passing("pipeline_backend.exit_handler_runs_when_terminated")
def test_a_body_that_ends_by_itself(session: ClusterSession, backend: Shared) -> list[Finding]:
    ending = starting(backend, "waiting", {"seconds": 15}, terminate=lambda run_id: None)
    return judged(session, "exit_handler_runs_when_terminated", ending)


# unrecorded_step_fails_the_run


@failing("pipeline_backend.unrecorded_step_fails_the_run", because="MLflow was unreachable, and the run is SUCCEEDED")
def test_a_step_that_records_elsewhere(session: ClusterSession, backend: Shared) -> list[Finding]:
    def start(pipeline: str, arguments: Mapping[str, Any], **options: Any) -> str:
        return backend.start(pipeline, arguments)

    return judged(session, "unrecorded_step_fails_the_run", Instead(backend, start=start))


@passing("pipeline_backend.unrecorded_step_fails_the_run")
def test_a_step_that_fails_without_mlflow(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "unrecorded_step_fails_the_run", backend)


# terminated_run_ends_in_mlflow


@failing("pipeline_backend.terminated_run_ends_in_mlflow", because="still RUNNING after 60 s")
def test_a_step_that_is_killed_while_it_records(session: ClusterSession, backend: Shared) -> list[Finding]:
    return judged(session, "terminated_run_ends_in_mlflow", backend)


@passing("pipeline_backend.terminated_run_ends_in_mlflow", because="FINISHED")
def test_a_step_that_ends_while_it_records(session: ClusterSession, backend: Shared) -> list[Finding]:
    def start(pipeline: str, arguments: Mapping[str, Any], **options: Any) -> str:
        return backend.start(pipeline, {**arguments, "seconds": 20}, **options)

    ending = Instead(backend, start=start, terminate=lambda run_id: None)
    return judged(session, "terminated_run_ends_in_mlflow", ending)
