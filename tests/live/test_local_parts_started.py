"""A local session starts, for each client and subject, the roles that results are said to rest on, and no other."""

from __future__ import annotations

from contextlib import suppress

import pytest

from trivet.errors import NotOffered
from trivet.model.contract import STATIC_SUBJECTS
from trivet.stacks.read import load_stack
from trivet.targets.local.session import LocalSession
from trivet.targets.local.target import LocalTarget

OFFERED = [*LocalSession.CLIENTS, *STATIC_SUBJECTS]
OF_THE_HANDOVER = {"models", "predictor", "predecessor", "pipelines", "manifest", "resource", "trainer"}
"""What needs the same roles as the handover: judged in the catalogue, since each takes a session of its own."""


def test_every_client_and_subject_says_what_results_rest_on() -> None:
    assert set(LocalSession.PARTS) == {*OFFERED, "features"}


@pytest.mark.processes
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.catalogue] if name in OF_THE_HANDOVER else [])
        for name in OFFERED
        if LocalSession.PARTS[name]
    ],
)
def test_exactly_the_declared_roles_are_started(name: str) -> None:
    declared = {part.removeprefix("roles.") for part in LocalSession.PARTS[name] if part.startswith("roles.")}
    with LocalTarget().start(load_stack("2024.11-fixed"), lambda event: None) as session:
        if name in STATIC_SUBJECTS:
            assert session.subjects(name)
        else:
            with suppress(NotOffered):  # the handover registers the first version of its model
                client = session.client(name)
            if name == "pipelines":
                assert client.main_run.succeeded
        assert {role for role, part in session._python.items() if part.started} == declared
