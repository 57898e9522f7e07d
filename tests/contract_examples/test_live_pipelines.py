"""Examples of the contracts over what a pipeline run leaves behind. Broken runs are those of ``swallowing.py``."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract_examples.live import Instead, findings
from contract_examples.registry import failing, passing

from trivet.model.finding import Finding
from trivet.model.handover import PipelineRun
from trivet.model.subjects import CompiledPipeline
from trivet.targets.local.session import LocalSession

pytestmark = pytest.mark.processes

SWALLOWING = Path(__file__).with_name("swallowing.py")


@pytest.fixture(scope="module")
def swallowing(session: LocalSession) -> Instead:
    """The swallowing pipeline: a run of it with MLflow at hand, and whatever further runs are asked for."""
    pipelines = session.client("pipelines")

    def run(arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> PipelineRun:
        done: PipelineRun = pipelines.run(arguments, environment, SWALLOWING)
        return done

    main = run({})
    assert main.succeeded, main.log
    return Instead(pipelines, main_run=main, run=run)


def changed(session: LocalSession, **outputs: Any) -> Instead:
    """The example pipeline with some outputs of the training step of its main run changed."""
    pipelines = session.client("pipelines")
    main = pipelines.main_run
    trained = {**main.outputs["train"], **outputs}
    return Instead(pipelines, main_run=replace(main, outputs={**main.outputs, "train": trained}))


# successful_pipeline_has_a_recorded_run


@failing("pipelines.successful_pipeline_has_a_recorded_run", because="has no parameters, no registered version")
def test_a_run_that_recorded_little(session: LocalSession, swallowing: Instead) -> list[Finding]:
    return findings(session, "pipelines.successful_pipeline_has_a_recorded_run", pipelines=swallowing)


@failing("pipelines.successful_pipeline_has_a_recorded_run", because="has no output run_id")
def test_a_step_without_run(session: LocalSession) -> list[Finding]:
    return findings(session, "pipelines.successful_pipeline_has_a_recorded_run", pipelines=changed(session, run_id=""))


@failing("pipelines.successful_pipeline_has_a_recorded_run", because="MLflow has no run")
def test_a_run_on_another_server(session: LocalSession) -> list[Finding]:
    return findings(
        session, "pipelines.successful_pipeline_has_a_recorded_run", pipelines=changed(session, run_id="0" * 32)
    )


@failing("pipelines.successful_pipeline_has_a_recorded_run", because="is FAILED")
def test_a_run_that_did_not_finish(session: LocalSession) -> list[Finding]:
    trainer = session.client("trainer")
    run_id = trainer.log_model(estimator="logistic-regression", register_as="example-failed").run_id
    calls: dict[str, dict[str, Any]] = {
        "log_param": {"key": "folds", "value": 3},
        "log_metric": {"key": "f1_weighted_mean", "value": 0.9},
        "set_terminated": {"status": "FAILED"},
    }
    for method, arguments in calls.items():
        trainer.call("client", method=method, arguments={"run_id": run_id, **arguments})
    return findings(
        session, "pipelines.successful_pipeline_has_a_recorded_run", pipelines=changed(session, run_id=run_id)
    )


@passing("pipelines.successful_pipeline_has_a_recorded_run")
def test_the_run_of_the_handover(session: LocalSession) -> list[Finding]:
    return findings(session, "pipelines.successful_pipeline_has_a_recorded_run")


# unrecorded_run_fails_the_pipeline


@failing(
    "pipelines.unrecorded_run_fails_the_pipeline", because="succeeded although the tracking server was unreachable"
)
def test_a_step_that_swallows_the_error(session: LocalSession, swallowing: Instead) -> list[Finding]:
    return findings(session, "pipelines.unrecorded_run_fails_the_pipeline", pipelines=swallowing)


@passing("pipelines.unrecorded_run_fails_the_pipeline")
def test_a_step_that_fails_with_the_error(session: LocalSession) -> list[Finding]:
    return findings(session, "pipelines.unrecorded_run_fails_the_pipeline")


# run_id_and_model_uri_are_outputs


@failing("pipelines.run_id_and_model_uri_are_outputs", because="the model's metadata has run None")
def test_a_model_without_metadata(session: LocalSession, swallowing: Instead) -> list[Finding]:
    return findings(session, "pipelines.run_id_and_model_uri_are_outputs", pipelines=swallowing)


@failing("pipelines.run_id_and_model_uri_are_outputs", because="has no output model_uri")
def test_a_step_that_returns_no_uri(session: LocalSession) -> list[Finding]:
    return findings(session, "pipelines.run_id_and_model_uri_are_outputs", pipelines=changed(session, model_uri=""))


@failing("pipelines.run_id_and_model_uri_are_outputs", because="does not resolve")
def test_a_uri_that_leads_nowhere(session: LocalSession) -> list[Finding]:
    run = session.client("handover").model.run_id
    example = changed(session, model_uri=f"runs:/{run}/modle")
    return findings(session, "pipelines.run_id_and_model_uri_are_outputs", pipelines=example)


@passing("pipelines.run_id_and_model_uri_are_outputs")
def test_the_outputs_of_the_handover(session: LocalSession) -> list[Finding]:
    return findings(session, "pipelines.run_id_and_model_uri_are_outputs")


# model_that_passed_the_gate_is_deployed


@failing(
    "pipelines.model_that_passed_the_gate_is_deployed",
    because="the gate returned 'true', but the deploying step did not run",
)
def test_nothing_behind_the_gate(session: LocalSession, swallowing: Instead) -> list[Finding]:
    return findings(session, "pipelines.model_that_passed_the_gate_is_deployed", pipelines=swallowing)


@failing("pipelines.model_that_passed_the_gate_is_deployed", because="no condition on the gate around the deployment")
def test_a_condition_that_no_runner_saw_and_nobody_compiled(session: LocalSession) -> list[Finding]:
    (compiled,) = session.subjects("compiled_pipeline")
    assert isinstance(compiled, CompiledPipeline)
    document = deepcopy(dict(compiled.document))
    for task in document["root"]["dag"]["tasks"].values():
        task.pop("triggerPolicy", None)
    example = replace(compiled, document=document)
    return findings(session, "pipelines.model_that_passed_the_gate_is_deployed", compiled_pipeline=example)


@passing("pipelines.model_that_passed_the_gate_is_deployed")
def test_the_deployment_of_the_handover(session: LocalSession) -> list[Finding]:
    return findings(session, "pipelines.model_that_passed_the_gate_is_deployed")


# gate_compares_with_production


@failing("pipelines.gate_compares_with_production", because="passes although production has 0.999")
def test_a_gate_that_knows_a_constant(session: LocalSession, swallowing: Instead) -> list[Finding]:
    return findings(session, "pipelines.gate_compares_with_production", pipelines=swallowing)


@passing("pipelines.gate_compares_with_production")
def test_a_gate_that_asks_what_is_in_production(session: LocalSession) -> list[Finding]:
    return findings(session, "pipelines.gate_compares_with_production")
