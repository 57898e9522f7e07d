"""The commands of scenarios as a user has them: listed, planned and refused without anything being started."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import call, refused

THIRD_PARTY = Path(__file__).parents[1] / "thirdparty"
KIND = ("--target", "kind", "--stack", "2024.11-fixed")
ID = "acme_scenarios.feature_store_away"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(THIRD_PARTY)


def test_every_scenario_is_listed_with_its_variants() -> None:
    said = call("scenario", "list").out
    assert "rollback.revision_at_zero" in said
    assert "+ library" in said
    assert ID not in said
    assert ID in call("scenario", "list", "--plugin", "acme_scenarios").out


@pytest.mark.parametrize("command", [("plan",), ("run", "--dry-run")])
def test_a_plan_shows_what_would_be_touched_and_starts_nothing(command: tuple[str, ...]) -> None:
    said = call("scenario", *command, "tracking_cut*[autologging]", *KIND)
    assert said.code == 0
    assert "create NetworkPolicy/trivet-fault-cut in the pipelines namespace" in said.out
    assert "autologging" in said.out
    assert "try-except" not in said.out


@pytest.mark.parametrize("command", [("plan",), ("run",), ("run", "--dry-run")])
def test_a_cluster_that_is_not_ours_is_refused_without_the_word(command: tuple[str, ...]) -> None:
    said = refused("scenario", *command, "--target", "existing", "--context", "theirs")
    assert "--allow-faults" in said


def test_an_unknown_scenario_or_variant_lists_those_that_there_are() -> None:
    assert "rollback.revision_at_zero" in refused("scenario", "plan", "nothing", *KIND)
    assert "rollback.revision_at_zero[library]" in refused("scenario", "plan", "rollback*[nothing]", *KIND)
