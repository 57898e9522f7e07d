"""Runs of trivet in processes of their own: what of their arguments and environment other users and the journal see."""

from __future__ import annotations

import json

import pytest

from trivet.host.child_runs import ChildRuns

pytestmark = pytest.mark.processes


def test_what_may_hold_credentials_is_in_the_environment_of_a_child_and_not_in_the_journal() -> None:
    with ChildRuns() as children:
        folder = children.folder("one")
        code, log = children.call(["check", "s3://user:hunter2@store/m"], folder, {"TRIVET_STACK": "no such stack"})
        journal = next(folder.parent.glob("journal*")).read_text(encoding="utf-8")
    assert code == 3
    assert "no such stack" in log
    (started,) = (event for line in journal.splitlines() if (event := json.loads(line)).get("name") == "run of trivet")
    assert started["command"][-2:] == ["check", "s3://user:[redacted]@store/m"]
