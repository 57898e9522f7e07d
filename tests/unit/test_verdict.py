"""The verdict on an upgrade: its steps, the mixes that are judged and those that are not, files and models, and every format."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from commandline import BAD, GOOD, call, refused
from samples.reports import conformant

from trivet.engine.acceptance import Acceptance
from trivet.engine.fleet import Selection
from trivet.engine.lint import LintResult, lint
from trivet.engine.matrix import PlannedCell
from trivet.engine.registry import Registry
from trivet.engine.results_store import ResultsStore
from trivet.engine.run import run, summary_of
from trivet.engine.upgrade_inputs import Stage, judge_files, judge_models
from trivet.engine.verdict import Upgrade, upgrade_steps
from trivet.engine.verdict_difference import verdict_difference
from trivet.errors import PlatformError, UsageError
from trivet.model.finding import Location
from trivet.model.fleet import FleetReport, JudgedModel, ModelReason, ModelVerdict
from trivet.model.outcome import Level, Outcome
from trivet.model.report import ConformanceReport, Provenance
from trivet.model.stack import Stack
from trivet.model.verdict import FileBreak, FilePlace, FilesVerdict, ModelChange, ModelsVerdict, UpgradeVerdict
from trivet.render import (
    report_json,
    verdict_github,
    verdict_html,
    verdict_json,
    verdict_junit,
    verdict_markdown,
    verdict_sarif,
    verdict_text,
)
from trivet.stacks import read
from trivet.stacks.composed import Contradiction

OLD, NEW = "2024.11-fixed", "current"
load_stack = cache(read.load_stack)
PROVENANCE = Provenance(
    trivet="0.1.0", python="3.11.9", platform="linux-x86_64", started="2026-11-30T00:00:00+00:00", seconds=90.0
)


@pytest.fixture
def contradictions() -> set[frozenset[str]]:
    """The sets of parts that no resolution finds an environment for; a test adds to them."""
    return set()


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch, contradictions: set[frozenset[str]]) -> None:
    """Composition without a package index: whole roles of shipped stacks, and an SDK that changes nothing."""

    def compose(base: Stack, parts: Mapping[str, str], *, progress: Callable[[str], None] = lambda _: None) -> Stack:
        if frozenset(parts) in contradictions:
            raise Contradiction("the requirements contradict each other")
        roles = {
            name: load_stack(parts[name]).roles[name] if name in parts else role for name, role in base.roles.items()
        }
        return replace(base, name="+".join((base.name, *parts)), roles=roles, digest="+".join(parts)) if parts else base

    monkeypatch.setattr("trivet.engine.matrix.compose", compose)
    monkeypatch.setattr("trivet.engine.verdict.compose", compose)


class Grid:
    """Upgrades of the grid target on one results store; each mix is judged in this process."""

    def __init__(self, folder: Path) -> None:
        self.store = ResultsStore(folder)
        registry = Registry(["acme_grid"])
        self.target = registry.targets["grid"]
        self.contracts = [one for one in registry.contracts.values() if one.id.startswith("acme_grid.")]
        self.started: list[str] = []
        self.fails: set[str] = set()

    def upgrade(self, old: str = OLD, new: str = NEW) -> Upgrade:
        stacks = load_stack(old), load_stack(new)
        return Upgrade(
            *stacks,
            (old, new),
            upgrade_steps(*stacks, (old, new)),
            contracts=self.contracts,
            target=self.target,
            store=self.store,
            accepted=lambda stack: Acceptance(),
        )

    def judge(self, cell: PlannedCell) -> ConformanceReport:
        assert cell.stack is not None
        self.started.append(" ".join(cell.values))
        if self.started[-1] in self.fails:
            raise PlatformError("no memory")
        return run(
            self.contracts,
            target=self.target,
            stack=cell.stack,
            profile="core",
            emit=lambda event: None,
            results=self.store,
        )

    def verdict(self, old: str = OLD, new: str = NEW, told: list[Any] | None = None) -> UpgradeVerdict:
        upgrade = self.upgrade(old, new)
        upgrade.judge(self.judge, 2, (told if told is not None else []).append)
        return upgrade.verdict(PROVENANCE)


@pytest.fixture
def grid(tmp_path: Path, notes: Any, composed: None) -> Grid:
    return Grid(tmp_path / "results")


# -- steps


def test_a_step_for_each_part_that_differs_servers_before_clients(composed: None) -> None:
    steps = upgrade_steps(load_stack(OLD), load_stack(NEW), (OLD, NEW))
    assert [step.name for step in steps] == ["tracking", "kserve", "runtime", "trainer", "sdk"]
    versions = {step.name: [(one.name, one.before, one.after) for one in step.components] for step in steps}
    assert versions["tracking"] == [("mlflow", "2.17.2", "3.17.2")]
    assert ("kserve", "0.14.1", "0.20.0") in versions["kserve"]
    assert ("scikit-learn", "1.4.1.post1", "1.5.2") in versions["runtime"]
    assert ("mlflow_client", "2.17.2", "3.17.2") in versions["trainer"]
    assert versions["sdk"] == [("kfp", "2.9.0", "2.17.0")]
    assert [step.name for step in steps if "backup" in step.no_return] == ["tracking"]


def test_an_sdk_that_resolves_in_no_mix_goes_with_the_trainer(
    composed: None, contradictions: set[frozenset[str]]
) -> None:
    contradictions.add(frozenset({"sdk"}))
    assert "sdk" in [one.name for one in upgrade_steps(load_stack(OLD), load_stack(NEW), (OLD, NEW))]
    contradictions.add(frozenset({"trainer", "sdk"}))
    steps = upgrade_steps(load_stack(OLD), load_stack(NEW), (OLD, NEW))
    assert [step.name for step in steps] == ["tracking", "kserve", "runtime", "trainer"]
    assert ("kfp", "2.9.0", "2.17.0") in [(one.name, one.before, one.after) for one in steps[-1].components]


def test_only_what_differs_is_a_step(composed: None) -> None:
    steps = upgrade_steps(load_stack("2024.11"), load_stack(OLD), ("2024.11", OLD))
    assert [step.name for step in steps] == ["trainer"]


def test_another_backend_of_kfp_is_a_step_between_the_servers_and_the_trainer(composed: None) -> None:
    def described(name: str, **pipelines: Any) -> Stack:
        stack = load_stack(name)
        return replace(stack, settings={**stack.settings, "pipelines": pipelines})

    old, new = described(OLD, backend="2.16.1"), described(NEW, backend="2.17.0", plugins={})
    steps = upgrade_steps(old, new, (OLD, NEW))
    assert [step.name for step in steps] == ["tracking", "kserve", "runtime", "pipelines", "trainer", "sdk"]
    (change,) = steps[3].components
    assert (change.name, change.before, change.after) == ("kfp_backend", "2.16.1", "2.17.0")
    (alone,) = upgrade_steps(load_stack(OLD), described(OLD, backend="2.17.0"), (OLD, OLD))
    assert (alone.name, alone.components[0].before) == ("pipelines", None)


def test_the_same_stack_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="have the same parts: there is nothing to upgrade"):
        upgrade_steps(load_stack(OLD), load_stack(OLD), (OLD, OLD))


def test_a_new_trainer_keeps_the_old_sdk_until_its_step(grid: Grid) -> None:
    upgrade = grid.upgrade()
    assert upgrade.values(["trainer"]) == {"trainer": NEW, "sdk": OLD}
    assert upgrade.values(["trainer", "sdk"]) == {"trainer": NEW, "sdk": NEW}
    assert upgrade.values(["kserve"]) == {"kserve": NEW, "initializer": NEW}


# -- mixes


def test_an_order_is_found_whose_every_mix_was_judged(grid: Grid) -> None:
    report = grid.verdict()
    assert report.order == ("tracking", "kserve", "runtime", "trainer", "sdk")
    assert report.exit_code == 0
    taken: tuple[str, ...] = ()
    for step in report.order:
        taken = (*taken, step)
        mix = report.mix(taken)
        assert mix
        assert (mix.exit_code, mix.judged + mix.reused) == (0, 3)


def test_the_pair_that_does_not_work_together_is_named(grid: Grid) -> None:
    (one,) = grid.verdict().incompatibilities
    assert one.contract == "acme_grid.reader_reads_what_the_writer_writes"
    assert [(pair.new, pair.old, pair.new_version, pair.old_version) for pair in one.suspects] == [
        ("trainer", "tracking", "3.17.2", "2.17.2")
    ]
    assert (one.before, one.after) == (False, False)
    assert ("trainer",) in one.mixes


def test_a_mix_that_is_known_to_fail_is_not_run(grid: Grid) -> None:
    report = grid.verdict()
    refused = report.mix(("kserve", "runtime", "trainer", "sdk"))
    assert refused
    # The store has every result of it: they rest on the trainer and the tracking server alone.
    assert (refused.exit_code, refused.judged) == (1, 0)
    assert report.judged == 3 + 3 + 2


def test_missing_results_of_a_mix_with_a_kept_failure_are_not_judged(grid: Grid) -> None:
    grid.verdict()
    for file in grid.store.folder.glob("??/*.json"):
        if json.loads(file.read_text(encoding="utf-8"))["contract"] == "acme_grid.reader_has_a_version":
            file.unlink()
    # What would judge the old server's result again, which the mix with the new trainer lacks.
    grid.fails = {"", "kserve initializer", "runtime"}
    grid.started.clear()
    report = grid.verdict()
    refused = report.mix(("trainer",))
    assert refused
    assert (refused.known_to_fail, refused.exit_code, refused.judged, refused.reused) == (True, 1, 0, 2)
    assert "trainer sdk" not in grid.started


def test_a_second_verdict_judges_nothing(grid: Grid, notes: Callable[[], list[str]]) -> None:
    first = grid.verdict()
    notes()
    second = grid.verdict()
    assert notes() == []
    assert (second.judged, second.order) == (0, first.order)
    assert len(second.mixes) == len(first.mixes)


def test_without_a_safe_order_the_smallest_group_is_the_remedy(grid: Grid) -> None:
    # Downgrading the server and the client: the client must go first.
    report = grid.verdict(NEW, OLD)
    assert report.order.index("trainer") < report.order.index("tracking")


def test_a_mix_that_cannot_be_composed_is_on_no_order(grid: Grid, contradictions: set[frozenset[str]]) -> None:
    contradictions.add(frozenset({"sdk"}))
    report = grid.verdict()
    refused = report.mix(("sdk",))
    assert refused
    assert (refused.impossible, refused.refused) == (True, True)
    assert report.order
    assert "KFP SDK upgraded: cannot be composed\n    reason    the requirements contradict" in verdict_text.summary(
        report
    )
    assert "KFP SDK upgraded: cannot be composed: the requirements contradict" in verdict_markdown.write(report)


def test_a_mix_that_could_not_be_run_makes_it_inconclusive_only_if_no_order_is_safe(grid: Grid) -> None:
    grid.fails = {"runtime"}
    assert grid.verdict().exit_code == 0
    grid.fails = {"tracking"}
    report = grid.verdict()
    assert report.exit_code == 0, "the store has the results of that mix"


def test_a_whole_that_could_not_be_run_is_inconclusive(grid: Grid) -> None:
    grid.fails = {"tracking kserve initializer runtime trainer sdk"}
    report = grid.verdict()
    assert (report.exit_code, report.order) == (2, ())
    assert "no memory; the same command judges what is missing again" in report.unclear[0]


def test_a_new_stack_that_fails_has_no_order_and_is_named(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    # 3.17.2 reads nothing that the grid's own check calls newer: make the new server the older one.
    upgrade = grid.upgrade()
    whole = upgrade.cell(frozenset(upgrade.names))
    assert whole.stack is not None
    tracking = load_stack(OLD).roles["tracking"]
    broken = replace(whole, stack=replace(whole.stack, roles={**whole.stack.roles, "tracking": tracking}))
    upgrade._composed[frozenset(upgrade.names)] = broken
    upgrade.judge(grid.judge, 1, lambda event: None)
    report = upgrade.verdict(PROVENANCE)
    assert (report.exit_code, report.order, report.blocked) == (1, (), True)
    assert report.incompatibilities[0].after
    assert "the new stack itself is not conformant" in verdict_text.summary(report)


# -- files and models


@pytest.fixture
def linted() -> Callable[[Path], Callable[[Stack], LintResult]]:
    contracts = [one for one in Registry([]).contracts.values() if one.static]

    def of(path: Path) -> Callable[[Stack], LintResult]:
        return lambda stack: lint([path], contracts, stack)

    return of


def test_what_the_old_stack_refuses_already_is_no_news(
    tmp_path: Path, linted: Callable[[Path], Callable[[Stack], LintResult]]
) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(BAD)
    found = judge_files(linted(file), [str(file)], load_stack(OLD), [Stage(step="kserve", stack=load_stack(NEW))])
    assert found.breaks == ()
    assert "manifests.fields_are_known" in found.failing_before
    file.write_text(GOOD)
    found = judge_files(linted(file), [str(file)], load_stack(OLD), [Stage(step="kserve", stack=load_stack(NEW))])
    assert (found.breaks, found.failing_before, found.seen["InferenceService"]) == ((), (), 1)


def test_a_file_that_only_the_new_stack_refuses_breaks_with_the_step_that_brings_it(
    tmp_path: Path, linted: Callable[[Path], Callable[[Stack], LintResult]]
) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(
        GOOD.replace("  name: churn\n", "  name: churn\n  annotations: {serving.kserve.io/deploymentMode: Standard}\n")
    )
    # Backwards: KServe 0.14.1 has no mode of this name, 0.20.0 does.
    old, new = load_stack(NEW), load_stack(OLD)
    stages = [Stage(step="tracking", stack=old), Stage(step="kserve", stack=new), Stage(step="sdk", stack=new)]
    (broken,) = judge_files(linted(file), [str(file)], old, stages).breaks
    assert (broken.contract, broken.step, broken.lasting) == (
        "manifests.deployment_mode_is_supported",
        "kserve",
        True,
    )
    assert str(broken.places[0]).startswith(f"{file}:5")
    (passing,) = judge_files(linted(file), [str(file)], old, [*stages, Stage(step="runtime", stack=old)]).breaks
    assert not passing.lasting


def test_a_model_that_newly_breaks_is_named_with_its_step() -> None:
    old, new = load_stack(OLD), load_stack(NEW)
    reason = ModelReason(
        contract="environment.dependencies_fit_the_runtime",
        level=Level.MUST,
        outcome=Outcome.FAILED,
        message="_loss.CyHalfBinomialLoss is missing",
    )
    asked: list[Selection] = []

    def fleet(stack: Stack, selection: Selection) -> FleetReport:
        asked.append(selection)
        broken = stack is new
        models = (
            JudgedModel(
                name="churn[1]",
                version="3",
                verdict=ModelVerdict.BREAKS if broken else ModelVerdict.FINE,
                reasons=(reason,) if broken else (),
            ),
            JudgedModel(name="old", version="1", verdict=ModelVerdict.BREAKS, reasons=(reason,)),
        )
        return FleetReport(
            server="http://mlflow", stack=summary_of(stack), models=models, provenance=PROVENANCE, total=2
        )

    stages = [Stage(step="tracking", stack=old), Stage(step="runtime", stack=new), Stage(step="sdk", stack=new)]
    found = judge_models(fleet, "http://mlflow", old, stages)
    (change,) = found.changes
    assert (change.uri, change.before, change.after, change.step) == (
        "models:/churn[1]/3",
        "fine",
        "breaks",
        "runtime",
    )
    assert (found.before["breaks"], found.after["breaks"]) == (1, 2)
    assert asked[-1].models == ("churn[[]1]",)


def test_an_empty_registry_is_not_green(grid: Grid) -> None:
    def fleet(stack: Stack, selection: Selection) -> FleetReport:
        return FleetReport(server="http://mlflow", stack=summary_of(stack), models=(), provenance=PROVENANCE)

    upgrade = grid.upgrade()
    upgrade.judge(grid.judge, 2, lambda event: None)
    models = judge_models(fleet, "http://mlflow", upgrade.old, [Stage(step="", stack=upgrade.new)])
    assert upgrade.verdict(PROVENANCE, models=models).exit_code == 2


def test_models_that_are_unknown_for_one_reason_are_one_line_in_what_people_read_and_a_case_each(grid: Grid) -> None:
    changes = [
        ModelChange(uri=f"models:/churn/{number}", before="fine", after="unknown", reason=reason)
        for number, reason in enumerate(["not pinned"] * 1001 + ["too large"])
    ]
    models = ModelsVerdict(
        server="http://mlflow", before={"fine": 1002}, after={"unknown": 1002}, changes=tuple(changes)
    )
    upgrade = grid.upgrade()
    upgrade.judge(grid.judge, 2, lambda event: None)
    report = upgrade.verdict(PROVENANCE, models=models)
    assert report.exit_code == 2
    assert report.unclear == (
        "models:/churn/0 and 1,000 more are fine on 2024.11-fixed and unknown on current: not pinned; `trivet check models:/churn/0 "
        "--stack current` settles it for this one, `trivet fleet --mlflow http://mlflow --stack current --serve` for all",
        "models:/churn/1001 is fine on 2024.11-fixed and unknown on current: too large; "
        "`trivet check models:/churn/1001 --stack current` settles it",
    )
    text, summary = verdict_text.summary(report), verdict_markdown.write(report)
    assert "models:/churn/0 and 1,000 more: fine → unknown: not pinned" in text
    assert "models:/churn/0` and 1,000 more: fine → unknown: not pinned" in summary
    assert "models:/churn/500" not in text + summary
    assert 'name="models:/churn/500"' in verdict_junit.write(report)


# -- formats


@pytest.fixture
def report(grid: Grid) -> UpgradeVerdict:
    return grid.verdict()


def test_the_terminal_shows_the_pair_the_order_and_the_cost(report: UpgradeVerdict) -> None:
    text = verdict_text.summary(report)
    assert "the new trainer (MLflow client 3.17.2) with the old MLflow server (MLflow 2.17.2)" in text
    assert "version 2.17.2 does not read what version 3.17.2 writes" in text
    assert re.search(r"safe order\n  1\. +MLflow server: MLflow 2.17.2 → 3.17.2\n", text)
    assert "no way back: MLflow's server refuses a database with an older schema" in text
    assert "nothing breaks in this order: MLflow server, then KServe, then serving" in text
    assert "results judged" in text
    assert text.endswith("exit code 0: a safe order, and nothing newly fails\n")


def test_the_json_has_the_published_schema(report: UpgradeVerdict) -> None:
    schema = json.loads(files("trivet.render").joinpath(verdict_json.SCHEMA_FILE).read_text(encoding="utf-8"))
    written = json.loads(verdict_json.write(report))
    jsonschema.validate(written, schema)
    assert written["exitCode"] == 0
    assert written["order"] == list(report.order)
    assert written["mixes"][0]["verdict"] == "conformant"


def test_the_page_draws_the_order_and_links_each_mix(report: UpgradeVerdict) -> None:
    linked = replace(report, mixes=tuple(replace(mix, report="cells/a b") for mix in report.mixes))
    page = verdict_html.write(linked)
    assert '<a href="cells/a%20b/report.html">MLflow server upgraded</a>' in page
    assert "1. MLflow server" in page
    assert "<script" not in page
    escaped = verdict_html.write(replace(report, old=replace(report.old, title="<b>")))
    assert "&lt;b&gt;" in escaped
    assert "<b>\n" not in escaped


def test_markdown_has_the_order_and_what_breaks(report: UpgradeVerdict) -> None:
    text = verdict_markdown.write(report)
    assert text.startswith("### 2024.11-fixed → current: nothing breaks in this order")
    assert "| 1 | MLflow server | MLflow 2.17.2 → 3.17.2" in text
    assert "`acme_grid.reader_reads_what_the_writer_writes`" in text


def broken_files(report: UpgradeVerdict) -> UpgradeVerdict:
    place = FilePlace(location=Location(file="deploy/churn.yaml", line=5), message="no mode Standard")
    one = FileBreak(contract="manifests.mode", title="the mode exists", step="kserve", reason="no", places=(place,))
    return replace(report, files=FilesVerdict(paths=("deploy",), seen={"manifests": 1}, breaks=(one,)))


def blocked(report: UpgradeVerdict) -> UpgradeVerdict:
    return replace(report, order=(), blocked=True)


def unclear(report: UpgradeVerdict) -> UpgradeVerdict:
    return replace(report, order=(), unclear=("a mix could not be judged",))


@pytest.mark.parametrize("change", [lambda report: report, broken_files, blocked, unclear])
def test_junit_and_annotations_fail_exactly_when_the_exit_code_does(
    report: UpgradeVerdict, change: Callable[[UpgradeVerdict], UpgradeVerdict]
) -> None:
    changed = change(report)
    root = ET.fromstring(verdict_junit.write(changed))
    failing = root.findall("testsuite/testcase/failure") + root.findall("testsuite/testcase/error")
    assert bool(failing) == bool(changed.exit_code)
    assert ("::error " in verdict_github.write(changed)) == bool(changed.exit_code)


def test_what_an_order_avoids_is_advice(report: UpgradeVerdict) -> None:
    root = ET.fromstring(verdict_junit.write(report))
    assert [suite.get("name") for suite in root][:2] == ["order", "what breaks on the way"]
    (avoided,) = root.findall("testsuite[@name='what breaks on the way']/testcase/skipped")
    assert (avoided.get("message") or "").startswith("advice: the new trainer (MLflow client 3.17.2) with the old")
    assert "::warning title=acme_grid.reader_reads_what_the_writer_writes (advice)::the new trainer" in (
        verdict_github.write(report)
    )


def test_what_files_newly_fail_stands_at_their_lines(report: UpgradeVerdict) -> None:
    changed = broken_files(report)
    (run,) = json.loads(verdict_sarif.write(changed))["runs"]
    (result,) = run["results"]
    physical = result["locations"][0]["physicalLocation"]
    assert (physical["artifactLocation"]["uri"], physical["region"]) == ("deploy/churn.yaml", {"startLine": 5})
    assert result["message"]["text"] == "newly fails with the step KServe: no mode Standard"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "manifests.mode"
    assert "::error file=deploy/churn.yaml,line=5,title=manifests.mode (failed)::newly fails" in (
        verdict_github.write(changed)
    )
    (case,) = ET.fromstring(verdict_junit.write(changed)).findall("testsuite[@name='files']/testcase")
    assert (case.get("file"), case.get("line")) == ("deploy/churn.yaml", "5")
    assert json.loads(verdict_sarif.write(report))["runs"][0]["results"] == []


def test_no_safe_order_says_what_to_upgrade_together(report: UpgradeVerdict) -> None:
    none = replace(report, order=(), blocked=True, together=(("tracking",), ("trainer", "sdk")))
    assert none.exit_code == 1
    for text in (verdict_text.summary(none), verdict_markdown.write(none), verdict_html.write(none)):
        assert "upgrade trainer and KFP SDK together, in one maintenance window" in text


def test_a_dry_run_and_progress_name_the_mixes(report: UpgradeVerdict) -> None:
    assert verdict_text.remaining(report.steps).startswith("32 mixes of old and new are possible")
    opened = verdict_text.opening("a", "b", "grid", report.steps, 3, "store")
    assert "KFP 2.9.0 → 2.17.0" in opened
    assert verdict_text.progress(report.mixes[0]).startswith("✓ nothing upgraded: conformant, 3 MUST passed; 3 judged")


# -- two verdicts


def kinds(old: UpgradeVerdict, new: UpgradeVerdict) -> dict[str, tuple[str, bool]]:
    return {one.id: (one.kind.value, one.blocks) for one in verdict_difference(old, new).contracts}


def test_a_verdict_does_not_differ_from_itself(report: UpgradeVerdict, tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    file.write_text(verdict_json.write(broken_files(report)), encoding="utf-8")
    read_again = verdict_json.read_file(file)
    assert read_again == broken_files(report)
    found = verdict_difference(read_again, broken_files(report))
    assert (found.contracts, found.exit_code) == ((), 0)


def test_what_files_newly_fail_and_an_order_that_is_lost_are_new_and_what_an_order_avoids_is_advice(
    report: UpgradeVerdict,
) -> None:
    unbroken = replace(report, files=FilesVerdict(paths=("deploy",), seen={"manifests": 1}))
    assert kinds(unbroken, broken_files(report)) == {"files: manifests.mode": ("newly failed", True)}
    assert kinds(broken_files(report), unbroken) == {"files: manifests.mode": ("newly passed", False)}
    assert kinds(report, broken_files(report))["files: manifests.mode"] == ("newly failed", True)
    assert kinds(report, blocked(report)) == {"a safe order": ("newly failed", True)}
    fewer = replace(report, incompatibilities=())
    (advice,) = kinds(fewer, report).values()
    assert advice == ("newly failed", False)
    assert verdict_difference(fewer, report).exit_code == 0
    assert verdict_difference(report, unclear(report)).exit_code == 2


def test_a_new_verdict_that_judged_less_or_cannot_tell_more_is_inconclusive(report: UpgradeVerdict) -> None:
    files = FilesVerdict(paths=("deploy",), seen={"manifests": 1})
    models = ModelsVerdict(server="http://mlflow", before={"serves": 1}, after={"serves": 1})
    full = replace(report, files=files, models=models)

    def unclear_of(old: UpgradeVerdict, new: UpgradeVerdict) -> tuple[str, ...]:
        found = verdict_difference(old, new)
        assert found.exit_code == (2 if found.unclear else 0)
        return found.unclear

    assert unclear_of(full, full) == unclear_of(report, full) == ()
    assert unclear_of(full, replace(full, files=None)) == ("the old verdict judged files, and the new one did not",)
    assert unclear_of(full, replace(full, models=None)) == ("the old verdict judged models, and the new one did not",)
    files_unclear = replace(
        full, files=replace(files, unclear=("a.yaml is not read",)), unclear=("a.yaml is not read",)
    )
    assert unclear_of(full, files_unclear) == ("a.yaml is not read",)
    assert unclear_of(files_unclear, files_unclear) == ()
    assert unclear_of(full, replace(full, models=replace(models, errors=("no answer",)))) == ("no answer",)
    assert unclear_of(full, replace(full, unclear=("no platform",))) == ("no platform",)
    assert unclear_of(replace(full, unclear=("no platform",)), full) == ()


def test_a_verdict_is_not_compared_with_a_report(report: UpgradeVerdict, tmp_path: Path) -> None:
    verdict, other = tmp_path / "verdict.json", tmp_path / "report.json"
    verdict.write_text(verdict_json.write(report), encoding="utf-8")
    other.write_text(report_json.write(conformant()), encoding="utf-8")
    assert "report.json: not a UpgradeVerdict: its kind is 'ConformanceReport'" in refused("diff", verdict, other)
    assert "cannot read" in refused("diff", verdict, tmp_path / "absent.json")
    same = call("diff", verdict, verdict, "--format", "markdown")
    assert (same.code, same.out.splitlines()[0].endswith("nothing newly failed")) == (0, True)
