"""Waivers under lint: the same meaning as in a run, by file and by the stack that judges it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from trivet.authoring.contracts import MUST, contract
from trivet.engine.acceptance import Waivers, deviations
from trivet.engine.lint import LintResult, lint
from trivet.model.finding import Finding, failed, passed
from trivet.model.outcome import Outcome
from trivet.model.subjects import CompiledPipeline, Manifest
from trivet.model.waiver import Waiver
from trivet.render.linting import LintText
from trivet.stacks.read import load_stack
from trivet.toolkit.walking import PathPatterns

STACK = load_stack("2024.11")
DAY = date(2026, 11, 30)
NAMED = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: {}}}\n"


@contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do")
def is_good(manifest: Manifest) -> Iterator[Finding]:
    where = manifest.at("metadata", "name")
    if manifest.name == "good":
        yield passed("good", location=where)
    else:
        yield failed(f"{manifest.name} is not good", location=where)


@contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do")
def is_a_pipeline(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    yield failed("never asked")


def waiver(contract: str = "*.is_good", **scope: Any) -> Waiver:
    return Waiver(**{"contract": contract, "reason": "known", "expires": DAY, **scope})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("good", "bad", "worse"):
        (tmp_path / f"{name}.yaml").write_text(NAMED.format(name))
    return tmp_path


def linted(*waivers: Waiver, paths: str = ".", day: date = DAY, **more: Any) -> LintResult:
    named = {f"w{number}": one for number, one in enumerate(waivers)}
    contracts = [is_good, is_a_pipeline]
    return lint([Path(paths)], contracts, STACK, waivers=Waivers(named, Path.cwd(), day), **more)


def open_messages(result: LintResult) -> list[str]:
    found = [finding for one in result.report.contracts for finding in one.findings]
    return [one.message for one in found if one.outcome is Outcome.FAILED and not one.accepted]


def test_a_waived_failure_stays_in_the_report_and_does_not_fail(here: Path) -> None:
    result = linted(waiver())
    assert result.exit_code == 0
    assert result.report.contracts[0].outcome is Outcome.FAILED
    assert result.report.contracts[0].accepted
    assert [(use.status.value, use.findings) for use in result.report.waivers] == [("used", 2)]


@pytest.mark.parametrize(
    ("scope", "left"),
    [
        ({"path": "bad.yaml"}, ["worse is not good"]),
        ({"object": "InferenceService/w*"}, ["bad is not good"]),
        ({"message": "worse is"}, ["bad is not good"]),
        ({"target": "static"}, []),
        ({"target": "kind"}, ["bad is not good", "worse is not good"]),
        ({"stack": "current"}, ["bad is not good", "worse is not good"]),
    ],
)
def test_a_waiver_is_about_its_scope(here: Path, scope: dict[str, str], left: list[str]) -> None:
    result = linted(waiver(**scope))
    assert open_messages(result) == left
    assert result.exit_code == (1 if left else 0)


def test_the_stack_is_the_one_that_judges_the_file(here: Path) -> None:
    current = [(PathPatterns(["bad.yaml"], here), load_stack("current"))]
    assert open_messages(linted(waiver(stack="current"), stacks=current)) == ["worse is not good"]


def test_an_expired_waiver_fails(here: Path) -> None:
    result = linted(waiver(), day=DAY + timedelta(days=1))
    assert (result.exit_code, result.report.waivers[0].status.value) == (1, "expired")


@pytest.mark.parametrize(
    ("scope", "paths", "status"),
    [
        ({"message": "never said"}, ".", "unused"),
        ({"path": "good.yaml"}, ".", "unused"),
        ({"path": "bad.yaml"}, "good.yaml", "undecided"),
        ({"object": "InferenceService/bad"}, "good.yaml", "undecided"),
        ({"contract": "*.is_a_pipeline"}, ".", "undecided"),
    ],
)
def test_a_waiver_is_unused_only_if_what_it_is_about_was_judged(
    here: Path, scope: dict[str, str], paths: str, status: str
) -> None:
    assert linted(waiver(**scope), paths=paths).report.waivers[0].status.value == status


def test_a_waived_finding_stays_visible_though_the_baseline_has_it_too(here: Path) -> None:
    baseline = deviations(linted().report.contracts)
    result = linted(waiver(path="bad.yaml"), baseline=baseline)
    (finding,) = [one for one in result.report.contracts[0].findings if one.outcome is Outcome.FAILED]
    assert finding.message == "bad is not good"
    assert (result.exit_code, result.stale, result.report.ignored) == (0, 0, 1)


def test_an_expired_waiver_outranks_the_baseline(here: Path) -> None:
    baseline = deviations(linted().report.contracts)
    result = linted(waiver(path="bad.yaml"), baseline=baseline, day=DAY + timedelta(days=1))
    assert (result.exit_code, open_messages(result)) == (1, ["bad is not good"])


def text_of(*waivers: Waiver, quiet: bool = False, max_advice: int = 20, day: date = DAY) -> str:
    text = LintText(quiet=quiet, max_advice=max_advice)
    lines: list[str] = []
    result = linted(*waivers, day=day, emit=lambda found: lines.append(text.lines(found)))
    return "\n".join(one for one in (*lines, text.summary(result)) if one)


def test_lint_prints_what_is_waived_and_why(here: Path) -> None:
    assert text_of(waiver(owner="ann", path="bad.yaml")) == (
        "bad.yaml:3: waived: bad is not good [test_lint_waivers.is_good]\n"
        "    known: waived until 2026-11-30 by w0 (ann: known)\n"
        "worse.yaml:3: FAILED: worse is not good [test_lint_waivers.is_good]\n"
        "    remedy: do\n"
        "found: 3 × InferenceService; 1 of 2 contracts apply, on stack 2024.11\n"
        "waived: 1 × finding by w0 until 2026-11-30\n"
        "the files do not fit 2024.11: 1 MUST failed"
    )


def test_lint_says_since_when_a_waiver_has_expired_and_which_is_unused(here: Path) -> None:
    text = text_of(waiver(), waiver(message="never"), day=DAY + timedelta(days=3), quiet=True)
    assert "    known: the waiver w0 expired on 2026-11-30 (known)\n" in text
    assert "warning: the waiver w0 expired on 2026-11-30: 2 failures of *.is_good no longer accepted\n" in text
    assert "warning: the waiver w1 accepts nothing: no failure of *.is_good matches it; remove it\n" in text


def test_the_verdict_names_what_is_accepted(here: Path) -> None:
    text = text_of(waiver(), max_advice=0)
    assert text.endswith("the files fit 2024.11 with accepted failures: 1 accepted")
    assert "waived: 2 × finding by w0 until 2026-11-30\n" in text
    assert "is not good" not in text
