"""Examples of the contracts over the way from a served answer to its run, and back."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from contract_examples.live import Instead, findings, served_from
from contract_examples.registry import failing, inconclusive, passing

from trivet.integration.inference_service import MODEL_NAME, MODEL_VERSION, PIPELINE, RUN_ID
from trivet.model.finding import Finding
from trivet.model.handover import Handover
from trivet.targets.local.session import LocalSession

pytestmark = pytest.mark.processes


def relabelled(handover: Handover, **labels: str | None) -> Handover:
    """The handover with another InferenceService: its labels changed, or taken away where the value is None."""
    service: dict[str, Any] = deepcopy(dict(handover.service))
    for key, value in labels.items():
        service["metadata"]["labels"].pop(key)
        if value is not None:
            service["metadata"]["labels"][key] = value
    return replace(handover, service=service)


def renamed(handover: Handover) -> Handover:
    """The handover with an InferenceService of another name."""
    service: dict[str, Any] = deepcopy(dict(handover.service))
    service["metadata"]["name"] = "another-classifier"
    return replace(handover, service=service)


def nothing(*_: Any, **__: Any) -> None:
    """What a server does that acknowledges and forgets."""


# prediction_is_traceable_to_its_run


@failing("lineage.prediction_is_traceable_to_its_run", because=f"no {RUN_ID}")
def test_a_service_without_run(session: LocalSession, handover: Handover) -> list[Finding]:
    return findings(
        session, "lineage.prediction_is_traceable_to_its_run", handover=relabelled(handover, **{RUN_ID: None})
    )


@failing("lineage.prediction_is_traceable_to_its_run", because="but the InferenceService is")
def test_a_service_of_another_name(session: LocalSession, handover: Handover) -> list[Finding]:
    return findings(session, "lineage.prediction_is_traceable_to_its_run", handover=renamed(handover))


@failing("lineage.prediction_is_traceable_to_its_run", because="is not in MLflow")
def test_a_run_that_mlflow_does_not_have(session: LocalSession, handover: Handover) -> list[Finding]:
    return findings(
        session, "lineage.prediction_is_traceable_to_its_run", handover=relabelled(handover, **{RUN_ID: "0" * 32})
    )


@failing("lineage.prediction_is_traceable_to_its_run", because="but its model belongs to run")
def test_the_run_of_another_model(session: LocalSession, handover: Handover) -> list[Finding]:
    other = session.client("trainer").log_model(estimator="logistic-regression", register_as="example-other-run")
    labels = {RUN_ID: other.run_id, MODEL_NAME: other.registered_name, MODEL_VERSION: other.version}
    return findings(session, "lineage.prediction_is_traceable_to_its_run", handover=relabelled(handover, **labels))


@failing("lineage.prediction_is_traceable_to_its_run", because="does not state the pipeline of its model")
def test_a_service_without_pipeline(session: LocalSession, handover: Handover) -> list[Finding]:
    return findings(
        session, "lineage.prediction_is_traceable_to_its_run", handover=relabelled(handover, **{PIPELINE: None})
    )


@failing("lineage.prediction_is_traceable_to_its_run", because="resolves to")
def test_a_service_of_another_directory(session: LocalSession, handover: Handover) -> list[Finding]:
    service: dict[str, Any] = deepcopy(dict(handover.service))
    service["spec"]["predictor"]["model"]["storageUri"] = "s3://models/elsewhere/"
    return findings(session, "lineage.prediction_is_traceable_to_its_run", handover=replace(handover, service=service))


@failing("lineage.prediction_is_traceable_to_its_run", because="has no alias 'champion'")
def test_a_version_without_its_alias(session: LocalSession, handover: Handover) -> list[Finding]:
    return findings(session, "lineage.prediction_is_traceable_to_its_run", handover=replace(handover, alias="champion"))


@passing("lineage.prediction_is_traceable_to_its_run")
def test_the_service_that_was_handed_over(session: LocalSession) -> list[Finding]:
    return findings(session, "lineage.prediction_is_traceable_to_its_run")


# run_is_traceable_to_its_services


@failing("lineage.run_is_traceable_to_its_services", because="is not linked to InferenceService another-classifier")
def test_a_service_that_nobody_linked(session: LocalSession, handover: Handover) -> list[Finding]:
    return findings(session, "lineage.run_is_traceable_to_its_services", handover=renamed(handover))


@failing("lineage.run_is_traceable_to_its_services", because="by the link recommendation-classifier serves")
def test_a_service_that_was_given_another_model_since(session: LocalSession, handover: Handover) -> list[Finding]:
    example = served_from(handover, "s3://models/elsewhere/")
    return findings(session, "lineage.run_is_traceable_to_its_services", handover=example)


@passing("lineage.run_is_traceable_to_its_services")
def test_the_service_that_was_linked(session: LocalSession) -> list[Finding]:
    return findings(session, "lineage.run_is_traceable_to_its_services")


# deleted_run_is_detected, moved_alias_is_detected


def forgetting(trainer: Any, forgotten: str) -> Instead:
    """A trainer whose MLflow client acknowledges one method and does nothing."""

    def call(operation: str, **arguments: Any) -> Any:
        return None if arguments["method"] == forgotten else trainer.call(operation, **arguments)

    return Instead(trainer, call=call)


@failing("lineage.deleted_run_is_detected", because="the deleted run is not detected")
def test_a_deletion_behind_a_cache(session: LocalSession) -> list[Finding]:
    tracking = session.client("tracking")
    return findings(
        session, "lineage.deleted_run_is_detected", tracking=Instead(tracking, get_run=cache(tracking.get_run))
    )


@inconclusive("lineage.deleted_run_is_detected", because="is 'active', expected 'deleted'")
def test_a_deletion_that_does_not_happen(session: LocalSession) -> list[Finding]:
    tracking = Instead(session.client("tracking"), delete_run=nothing)
    return findings(session, "lineage.deleted_run_is_detected", tracking=tracking)


@passing("lineage.deleted_run_is_detected")
def test_a_run_that_is_really_deleted(session: LocalSession) -> list[Finding]:
    return findings(session, "lineage.deleted_run_is_detected")


@failing("lineage.moved_alias_is_detected", because="the moved alias is not detected")
def test_a_moved_alias_behind_a_cache(session: LocalSession) -> list[Finding]:
    tracking = session.client("tracking")
    cached = Instead(tracking, get_registered_model=cache(tracking.get_registered_model))
    return findings(session, "lineage.moved_alias_is_detected", tracking=cached)


@inconclusive("lineage.moved_alias_is_detected", because="is '1', expected '2'")
def test_an_alias_that_stays_where_it_was(session: LocalSession) -> list[Finding]:
    trainer = forgetting(session.client("trainer"), "set_registered_model_alias")
    return findings(session, "lineage.moved_alias_is_detected", trainer=trainer)


@passing("lineage.moved_alias_is_detected")
def test_an_alias_that_is_really_moved(session: LocalSession) -> list[Finding]:
    return findings(session, "lineage.moved_alias_is_detected")
