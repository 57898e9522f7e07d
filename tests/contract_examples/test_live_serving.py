"""Examples of the contracts over what the runtime loads and answers."""

from __future__ import annotations

import pytest
from contract_examples.live import Instead, findings, handed_over
from contract_examples.registry import failing, passing

from trivet.model.finding import Finding
from trivet.model.handover import Handover
from trivet.targets.local.session import LocalSession

pytestmark = pytest.mark.processes


@failing("serving.model_becomes_ready", because="MLmodel")
def test_a_storage_uri_one_level_too_high(session: LocalSession, handover: Handover) -> list[Finding]:
    too_high = handover.storage_uri.rstrip("/").rpartition("/")[0]
    with session.client("serving").deploy(too_high) as example:
        return findings(session, "serving.model_becomes_ready", serving=example)


@passing("serving.model_becomes_ready")
def test_the_model_that_was_handed_over(session: LocalSession) -> list[Finding]:
    return findings(session, "serving.model_becomes_ready")


@failing("serving.predictions_equal_the_trainers", because="the trainer predicts")
def test_another_model_is_served(session: LocalSession) -> list[Finding]:
    (served,) = session.subjects("model_directory")
    columns = {"age": "float64", "sessions": "int64", "basket": "float64"}
    columns |= {"recency": "float64", "discount": "float64", "engagement": "float64"}
    other = session.client("trainer").log_model(
        estimator="random-forest", columns=columns, register_as="example-served"
    )
    with session.client("serving").deploy(handed_over(session, other).storage_uri) as example:
        return findings(session, "serving.predictions_equal_the_trainers", serving=example, model_directory=served)


@failing("serving.predictions_equal_the_trainers", because="to inputs that satisfy the signature")
def test_a_runtime_that_knows_the_model_by_another_name(session: LocalSession) -> list[Finding]:
    serving = session.client("serving")
    example = Instead(serving, infer=lambda request: serving.get("/v2/models/unknown"))
    return findings(session, "serving.predictions_equal_the_trainers", serving=example)


@passing("serving.predictions_equal_the_trainers")
def test_the_predictions_of_the_model_that_was_handed_over(session: LocalSession) -> list[Finding]:
    return findings(session, "serving.predictions_equal_the_trainers")
