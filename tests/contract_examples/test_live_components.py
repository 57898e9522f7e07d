"""Examples of the contracts over the components that run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from contract_examples.live import STACK, findings
from contract_examples.registry import failing, inconclusive, passing
from contract_examples.static import stack

from trivet.model.detection import ABSENT, Fact
from trivet.model.finding import Finding
from trivet.model.outcome import Outcome
from trivet.model.stack import Stack
from trivet.targets.local.session import LocalSession

pytestmark = pytest.mark.processes

CONTRACT = "components.versions_are_as_declared"


def declared(**versions: str) -> Stack:
    """The session's stack with other versions of components."""
    whole = stack(STACK)
    return replace(whole, components={**whole.components, **versions})


@failing(CONTRACT, because="the stack declares mlflow 2.16.0, and what runs is mlflow 2.17.2")
def test_a_stack_with_another_tracking_server(session: LocalSession) -> list[Finding]:
    return findings(session, CONTRACT, stack=declared(mlflow="2.16.0"))


@failing(CONTRACT, because="the stack declares runtime 1.7.1, and what runs is runtime 1.5.0")
def test_a_stack_with_another_runtime(session: LocalSession) -> list[Finding]:
    return findings(session, CONTRACT, stack=declared(runtime="1.7.1"))


@failing(CONTRACT, because="the stack declares kfp 2.9, and what runs is kfp 2.10.0")
def test_a_pipeline_compiled_by_another_sdk(session: LocalSession) -> list[Finding]:
    running = {**session.client("running_versions"), "kfp": Fact(name="kfp", value="2.10.0", source="sdkVersion")}
    return findings(session, CONTRACT, stack=declared(kfp="2.9"), running_versions=running)


@failing(CONTRACT, because="the stack declares knative 1.15, and what runs is knative not installed")
def test_a_platform_without_a_declared_component(session: LocalSession) -> list[Finding]:
    absent = Fact(name="knative", value=ABSENT, source="GET /apis")
    running = {**session.client("running_versions"), "knative": absent}
    return findings(session, CONTRACT, running_versions=running)


@passing(CONTRACT, because="mlflow 2.17.2 runs, as declared")
def test_the_stack_that_runs(session: LocalSession) -> list[Finding]:
    found = findings(session, CONTRACT)
    assert {one.message.split()[0] for one in found} == {"kfp", "mlflow", "runtime"}
    return found


@passing(CONTRACT, because="kubernetes 1.30.14 runs, as declared")
def test_a_patch_of_a_declared_minor_version(session: LocalSession) -> list[Finding]:
    running = {"kubernetes": Fact(name="kubernetes", value="1.30.14", source="GET /version")}
    return findings(session, CONTRACT, running_versions=running)


@inconclusive(CONTRACT, because="no component states its version")
def test_components_that_state_nothing(session: LocalSession) -> list[Finding]:
    running = {"mlflow": Fact(name="mlflow", reason="HTTP 404")}
    found = findings(session, CONTRACT, running_versions=running)
    assert [one.message for one in found if one.outcome is Outcome.SKIPPED] == [
        "mlflow 2.17.2 is declared only: HTTP 404"
    ]
    return found
