"""Features that are required of a target: lacking one fails, whatever contracts there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from fakes.target import STACK, FakeSession, FakeTarget, white

from trivet.engine.plan import make_plan
from trivet.engine.registry import Registry
from trivet.engine.required import REQUIRED, required_features
from trivet.engine.run import run
from trivet.errors import PlatformError, UsageError
from trivet.model.contract import Contract
from trivet.model.outcome import Outcome
from trivet.model.report import ConformanceReport
from trivet.model.stack import Stack
from trivet.stacks.read import load_stack


class Target(FakeTarget):
    """Its session has the features in ``given``, or cannot measure them."""

    @contextmanager
    def start(self, stack: Stack, emit: Any) -> Iterator[FakeSession]:
        found = self.given["features"]

        class Session(FakeSession):
            def features(self) -> Mapping[str, str]:
                if isinstance(found, Exception):
                    raise found
                return dict(found)

        yield Session({"colour": "white"})


def judged(contracts: Sequence[Contract], features: object) -> ConformanceReport:
    target = Target(colour="white", features=features)
    return run(contracts, target=target, stack=STACK, profile="core", emit=lambda event: None)


def test_a_lacking_feature_is_a_failure_with_its_meaning_and_one_that_is_there_says_how_it_was_measured() -> None:
    required = required_features(["Prometheus", "ScaleToZero", "Prometheus"])
    report = judged([required, white], {"Prometheus": "its page returned 200"})
    result = report.contracts[0]
    assert (report.exit_code, result.id, result.outcome) == (1, REQUIRED.id, Outcome.FAILED)
    assert result.reason.startswith("the target lacks the feature ScaleToZero: a service without traffic may scale to ")
    assert [finding.message for finding in result.findings if finding.outcome is Outcome.PASSED] == [
        "Prometheus: its page returned 200"
    ]


def test_a_target_with_every_required_feature_passes() -> None:
    report = judged([required_features(["Prometheus"]), white], {"Prometheus": "yes"})
    assert (report.exit_code, report.contracts[0].outcome) == (0, Outcome.PASSED)


def test_features_that_cannot_be_measured_are_no_pass() -> None:
    with pytest.raises(PlatformError, match="the cluster is gone"):
        judged([required_features(["Prometheus"]), white], PlatformError("the cluster is gone"))


def test_an_unknown_feature_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown feature 'ScaleToZro'") as caught:
        required_features(["ScaleToZro"])
    assert "did you mean 'ScaleToZero'?" in caught.value.remedy


def test_the_contract_is_part_of_a_plan_that_requires_features_whatever_is_chosen() -> None:
    stack = load_stack("current")
    chosen = make_plan(
        Registry(), profile="core", stack=stack, target=FakeTarget(), patterns=["paths.*"], features=["Prometheus"]
    )
    assert chosen.contracts[0].id == REQUIRED.id
    assert REQUIRED.id not in chosen.not_applicable
    without = make_plan(Registry(), profile="core", stack=stack, target=FakeTarget())
    assert REQUIRED.id not in [one.id for one in without.contracts]
