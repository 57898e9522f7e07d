"""The commands of scenarios as a user has them: listed, planned and refused without anything being started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from commandline import call, refused
from samples.scenarios import report

from trivet.render import scenario_json
from trivet.render.records import read

THIRD_PARTY = Path(__file__).parents[1] / "thirdparty"
KIND = ("--target", "kind", "--stack", "2024.11-fixed")
ID = "acme_scenarios.feature_store_away"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(THIRD_PARTY)


def test_every_scenario_is_listed_with_its_variants() -> None:
    result = call("scenario", "list").out
    assert "rollback.revision_at_zero" in result
    assert "+ library" in result
    assert ID not in result
    assert ID in call("scenario", "list", "--plugin", "acme_scenarios").out


@pytest.mark.parametrize("command", [("plan",), ("run", "--dry-run")])
def test_a_plan_shows_the_affected_objects_and_starts_nothing(command: tuple[str, ...]) -> None:
    result = call("scenario", *command, "tracking_unreachable*[autologging]", *KIND)
    assert result.code == 0
    assert "create NetworkPolicy/trivet-fault-cut in the pipelines namespace" in result.out
    assert "autologging" in result.out
    assert "try-except" not in result.out


@pytest.mark.parametrize("command", [("plan",), ("run",), ("run", "--dry-run")])
def test_a_cluster_that_is_not_ours_is_refused_without_the_word(command: tuple[str, ...]) -> None:
    result = refused("scenario", *command, "--target", "existing", "--context", "theirs")
    assert "--allow-faults" in result


def test_a_list_says_which_scenarios_a_target_cannot_play() -> None:
    reason = "SKIPPED     the target local does not offer the client faults"
    assert reason in call("scenario", "list", "--target", "local").out
    assert "SKIPPED" not in call("scenario", "list", "--target", "kind").out
    assert "choose one of: existing, kind, local" in refused("scenario", "list", "--target", "knid")


def test_an_unknown_scenario_or_variant_lists_those_that_there_are() -> None:
    assert "rollback.revision_at_zero" in refused("scenario", "plan", "nothing", *KIND)
    assert "rollback.revision_at_zero[library]" in refused("scenario", "plan", "rollback*[nothing]", *KIND)


def played(folder: Path, *names: str, reason: str = "100 of 200 requests lost") -> Path:
    """The folder of a report in which the variants ``names`` of a rollback were played."""
    (result,) = report().scenarios
    variants = tuple(replace(one, reason=reason) for one in result.variants if one.name in names)
    folder.mkdir()
    text = scenario_json.write(replace(report(), scenarios=(replace(result, variants=variants),)))
    (folder / "scenarios.json").write_text(text)
    return folder


def test_a_report_is_put_into_the_records_and_its_drawings_beside_the_pages(tmp_path: Path) -> None:
    docs, records = tmp_path / "docs", tmp_path / "records"
    first = played(tmp_path / "first", "percent-zero", "library")
    second = played(tmp_path / "second", "library", reason="none of 9 requests lost")
    assert call("scenario", "pages", docs, "--records", records, "--report", first).code == 0
    assert call("scenario", "pages", docs, "--records", records, "--report", second).code == 0
    assert [path.name for path in records.iterdir()] == ["rollback.revision_at_zero.json"]
    kept = read((records / "rollback.revision_at_zero.json").read_text())
    assert {name: one.reason for name, one in kept.variants.items()} == {
        "percent-zero": "100 of 200 requests lost",
        "library": "none of 9 requests lost",
    }
    page = (docs / "scenarios/rollback.revision_at_zero.md").read_text()
    assert "none of 9 requests lost" in page
    assert "not measured yet" in page
    assert (docs / "scenarios/rollback.revision_at_zero.percent-zero.svg").is_file()


def test_pages_without_a_report_leave_the_records_as_they_are(tmp_path: Path) -> None:
    result = call("scenario", "pages", tmp_path / "docs", "--records", tmp_path / "records")
    assert result.code == 0
    assert str(tmp_path / "records") not in result.out
    assert not (tmp_path / "records").exists()


def test_a_report_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = refused("scenario", "pages", tmp_path, "--records", tmp_path, "--report", tmp_path / "nowhere")
    assert f"cannot read {tmp_path}/nowhere/scenarios.json" in result


def test_what_is_to_be_played_again_is_listed_by_its_name_with_the_reason_beside(tmp_path: Path) -> None:
    result = call("scenario", "stale", "--records", tmp_path)
    assert result.code == 0
    assert "rollback.revision_at_zero[percent-zero]" in result.out.splitlines()
    assert "rollback.revision_at_zero[percent-zero]: expected to be VULNERABLE, without a record" in result.err
