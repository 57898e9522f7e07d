"""Waivers, baselines and required features of runs, and ``trivet diff``, on the command line."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from commandline import BAD, GOOD, CommandOutput, call, refused

from trivet.render import difference_json

GREY = """
import fakes.target
from trivet.hookspecs import hookimpl

@hookimpl
def trivet_targets():
    return {"grey": fakes.target.FakeTarget(colour="grey", grams=90, tray="full")}
"""
TODAY = datetime.now(UTC).date()


@pytest.fixture(autouse=True)
def plugins(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake target, and one like it on which ``target.white`` fails."""
    (here / "grey.py").write_text(GREY)
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "grey", raising=False)


def run(*arguments: str, target: str = "grey") -> CommandOutput:
    plugins = ("--plugin", "fakes.target", "--plugin", "grey")
    return call("run", "--target", target, *plugins, "--contract", "target.*", *arguments)


def waive(here: Path, contract: str = "target.white", days: int = 10, **keys: str) -> None:
    """Write a waiver that has ``days`` left."""
    given = {"contract": contract, "reason": "printed", "expires": str(TODAY + timedelta(days=days)), **keys}
    lines = "".join(f'{key} = "{value}"\n' for key, value in given.items())
    (here / "pyproject.toml").write_text(
        f'[tool.trivet]\nplugins = ["fakes.target", "grey"]\n[tool.trivet.waivers.grey-paper]\n{lines}'
    )


def test_a_waived_failure_of_a_run_is_shown_and_exits_with_0(here: Path) -> None:
    assert run().code == 1
    waive(here)
    result = run("--format", "github")
    assert result.code == 0
    assert "FAILED        target.white (accepted)\n" in result.out
    assert f"known     waived until {TODAY + timedelta(days=10)} by grey-paper (printed)\n" in result.out
    assert "current is conformant with accepted failures: 1 MUST passed, 1 accepted\n" in result.out
    assert "::notice title=target.white" in result.out


def test_a_document_has_standard_output_for_itself(here: Path) -> None:
    result = run("--format", "json", "--report", "out")
    assert json.loads(result.out)["kind"] == "ConformanceReport"
    assert "current is not conformant" in result.err
    assert "wrote out/report.json" in result.err


def test_an_expired_waiver_of_a_run_exits_with_1(here: Path) -> None:
    waive(here, days=-1)
    result = run()
    assert result.code == 1
    assert f"the waiver grey-paper expired on {TODAY - timedelta(days=1)} (printed)" in result.out


def test_an_unused_waiver_of_a_run_is_a_warning(here: Path) -> None:
    waive(here, contract="target.thick")
    assert (
        "warning: the waiver grey-paper accepts nothing: no failure of target.thick matches it; remove it" in run().out
    )


def test_lint_follows_the_same_waivers(here: Path) -> None:
    (here / "bad.yaml").write_text(BAD)
    waive(here, contract="manifests.*", path="bad.yaml")
    result = call("lint", "bad.yaml")
    assert result.code == 0
    assert "bad.yaml:7: waived: the API has no field" in result.out
    assert "the files fit current with accepted failures: " in result.out
    sarif = json.loads(call("lint", "bad.yaml", "--format", "sarif").out)
    assert all(one["suppressions"] for one in sarif["runs"][0]["results"])


@pytest.mark.parametrize("command", [("lint", "good.yaml"), ("run", "--target", "grey"), ("waivers",)])
def test_every_command_refuses_a_waiver_of_an_unknown_contract(here: Path, command: tuple[str, ...]) -> None:
    (here / "good.yaml").write_text(GOOD)
    waive(here, contract="paths.storage_uri_names_the_model_direct")
    error = refused(*command)
    assert "the waiver 'grey-paper' names an unknown contract 'paths.storage_uri_names_the_model_direct'" in error
    assert "did you mean 'paths.storage_uri_names_the_model_directory'?" in error


def test_waivers_are_listed_with_the_days_that_are_left(here: Path) -> None:
    assert call("waivers").out == "there are no waivers\n"
    waive(here, owner="ann", target="grey")
    with (here / "pyproject.toml").open("a") as file:
        file.write('[tool.trivet.waivers.old]\ncontract = "paths.*"\nreason = "r"\nexpires = "2024-01-01"\n')
    result = call("waivers")
    assert (result.code, result.err) == (0, "")
    first, second, last = result.out.split("\n\n")
    assert first.splitlines()[0] == "old"
    assert second.splitlines() == [
        "grey-paper",
        f"  expires   {TODAY + timedelta(days=10)}: 10 days left",
        "  accepts   target.white, target grey",
        "  reason    printed",
        "  owner     ann",
    ]
    assert last == "2 waivers, 1 expired\n"


def test_only_what_a_baseline_of_a_run_does_not_have_fails(here: Path) -> None:
    assert run("--report", "before").code == 1
    result = run("--baseline", "before/report.json", "--report", "after")
    assert result.code == 0
    assert "baseline before/report.json: 1 × finding accepted\n" in result.out
    assert json.loads((here / "after" / "report.json").read_text())["summary"]["accepted"] == 1
    assert run("--report", "white", target="fake").code == 0
    assert run("--baseline", "white/report.json").code == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the baseline old.json"),
        ("{}", "the baseline old.json is not a ConformanceReport"),
        ("lint", "the baseline old.json is the report of lint, not of a run"),
    ],
)
def test_what_is_no_baseline_of_a_run_is_refused_before_anything_starts(
    here: Path, content: str | None, words: str
) -> None:
    if content == "lint":
        (here / "good.yaml").write_text(GOOD)
        content = call("lint", "good.yaml", "--format", "json").out
    if content is not None:
        (here / "old.json").write_text(content)
    result = run("--baseline", "old.json")
    assert (result.code, result.out) == (3, "")
    assert words in result.err
    assert "run --report DIR" in result.err


def test_a_required_feature_that_is_lacking_exits_with_1(here: Path) -> None:
    result = run("--require-feature", "ScaleToZero", target="fake")
    assert result.code == 1
    assert "FAILED        target.has_the_required_features\n" in result.out
    assert "the target lacks the feature ScaleToZero: a service without traffic may scale to zero" in result.out
    result = run("--require-feature", "ScaleToZro")
    assert result.code == 3
    assert "unknown feature 'ScaleToZro'" in result.err
    assert "did you mean 'ScaleToZero'?" in result.err


@pytest.mark.parametrize("command", [("fleet", "--mlflow", "http://127.0.0.1:9"), ("check", "model")])
def test_a_command_without_a_platform_refuses_required_features_and_ignores_the_setting_of_runs(
    here: Path, command: tuple[str, ...]
) -> None:
    result = call(*command, "--require-feature", "ScaleToZero")
    assert (result.code, result.out) == (3, "")
    assert f"trivet {command[0]} judges models and no platform" in result.err
    assert "trivet run --target kind --require-feature" in result.err
    (here / "pyproject.toml").write_text('[tool.trivet]\nrequire_features = ["ScaleToZero"]\n')
    assert "feature" not in call(*command).err


def test_a_plan_shows_the_required_features_and_explain_their_contract(here: Path) -> None:
    assert "target.has_the_required_features" in call("plan", "--require-feature", "Knative").out
    assert "The target must have the features" in call("explain", "target.has_the_required_features").out


def test_the_difference_of_two_runs_has_an_exit_code_of_its_own(here: Path) -> None:
    run("--report", "white", target="fake")
    run("--report", "grey")
    result = call("diff", "white/report.json", "grey/report.json")
    assert (result.code, result.err) == (1, "")
    assert "  target.white · MUST · PASSED → FAILED\n" in result.out
    assert call("diff", "grey/report.json", "grey/report.json").code == 0
    result = call("diff", "grey/report.json", "white/report.json")
    assert result.code == 2
    assert (
        "inconclusive: target.loaded was PASSED, and is no longer judged: the target fake does not offer" in result.out
    )
    document = json.loads(call("diff", "white/report.json", "grey/report.json", "--format", "json").out)
    jsonschema.validate(document, difference_json.schema())
    assert call("diff", "white/report.json", "grey/report.json", "--format", "markdown").out.startswith("### `current`")


def test_what_cannot_be_compared_is_refused(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    call("lint", "good.yaml", "--report", "lint")
    run("--report", "run")
    assert "cannot read absent.json" in refused("diff", "run/report.json", "absent.json")
    assert "cannot read run" in refused("diff", "run/report.json", "run")
    assert "one is the report of lint and the other of a run" in refused("diff", "lint/report.json", "run/report.json")
    (here / "old.json").write_text((here / "run" / "report.json").read_text().replace("v1alpha2", "v1alpha1"))
    error = refused("diff", "old.json", "run/report.json")
    assert (
        "old.json: the ConformanceReport has apiVersion trivet.dev/v1alpha1, and this version of trivet reads " in error
    )
    assert "unknown format 'yaml'" in refused("diff", "run/report.json", "run/report.json", "--format", "yaml")
