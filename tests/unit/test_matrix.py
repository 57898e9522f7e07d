"""The matrix: its cells, what is judged and what is not, side by side, and every format of its report."""

from __future__ import annotations

import json
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fakes.composed_stacks import compose_in

from trivet.engine.matrix import Matrix, PlannedCell, planned_cells, read_axes, read_matrix_file, slug
from trivet.engine.registry import Registry
from trivet.engine.results_store import ResultsStore
from trivet.engine.run import run
from trivet.errors import PlatformError, UsageError
from trivet.model.matrix import Axis, Cell, MatrixReport
from trivet.model.report import ConformanceReport, Provenance
from trivet.render import matrix_github, matrix_html, matrix_json, matrix_junit, matrix_markdown, matrix_text
from trivet.render.matrix_table import table
from trivet.stacks.read import load_stack

PROVENANCE = Provenance(
    trivet="0.1.0", python="3.11.9", platform="linux-x86_64", started="2026-11-30T00:00:00+00:00", seconds=90.0
)


@pytest.fixture
def composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.engine.matrix.compose", compose_in(tmp_path))


class Grid:
    """Matrices of the grid target on one results store; each cell is judged in this process."""

    def __init__(self, folder: Path) -> None:
        self.store = ResultsStore(folder)
        registry = Registry(["acme_grid"])
        self.target = registry.targets["grid"]
        self.contracts = [one for one in registry.contracts.values() if one.id.startswith("acme_grid.")]
        self.base = load_stack("2024.11-fixed")
        self.fails: set[str] = set()
        self.started: list[str] = []

    def judge(self, cell: PlannedCell) -> ConformanceReport:
        assert cell.stack is not None
        self.started.append(slug(cell.values))
        if slug(cell.values) in self.fails:
            raise PlatformError("no memory")
        return run(
            self.contracts,
            target=self.target,
            stack=cell.stack,
            profile="core",
            emit=lambda event: None,
            results=self.store,
        )

    def report(self, *axes: str, jobs: int = 2, told: list[Any] | None = None) -> MatrixReport:
        chosen = read_axes(axes)
        cells = Matrix(
            planned_cells(self.base, chosen, lambda text: None), self.contracts, self.target, self.store
        ).run(self.judge, jobs, (told if told is not None else []).append)
        return MatrixReport(
            base=self.base.name,
            target="grid",
            axes=chosen,
            cells=tuple(cells),
            contracts=tuple(one.id for one in self.contracts),
            provenance=PROVENANCE,
        )


@pytest.fixture
def grid(tmp_path: Path, notes: Any, composed: None) -> Grid:
    return Grid(tmp_path / "results")


def test_every_combination_is_a_cell_and_the_last_axis_varies_fastest(grid: Grid) -> None:
    report = grid.report("trainer=1.0.0,2.0.0", "tracking=1.0.0,2.0.0")
    assert [cell.name for cell in report.cells] == [
        "trainer=1.0.0 tracking=1.0.0",
        "trainer=1.0.0 tracking=2.0.0",
        "trainer=2.0.0 tracking=1.0.0",
        "trainer=2.0.0 tracking=2.0.0",
    ]
    assert [cell.exit_code for cell in report.cells] == [0, 0, 1, 0]
    assert report.exit_code == 1


def test_nothing_is_judged_twice_within_a_matrix(grid: Grid, notes: Callable[[], list[str]]) -> None:
    report = grid.report("trainer=1.0.0,2.0.0,3.0.0", "tracking=1.0.0,2.0.0,3.0.0", jobs=4)
    judged = notes()
    assert len(judged) == len(set(judged)) == 3 + 3 + 9
    assert (report.judged, report.reused) == (15, 27 - 15)


def test_a_second_run_judges_nothing(grid: Grid, notes: Callable[[], list[str]]) -> None:
    first = grid.report("trainer=1.0.0,2.0.0", "tracking=1.0.0,2.0.0")
    notes()
    second = grid.report("trainer=1.0.0,2.0.0", "tracking=1.0.0,2.0.0")
    assert notes() == []
    assert (second.judged, second.reused) == (0, 12)
    assert [cell.exit_code for cell in second.cells] == [cell.exit_code for cell in first.cells]
    assert {cell.seconds for cell in second.cells} == {0.0}


def test_one_more_version_runs_the_dependent_contracts_of_the_new_cells_and_nothing_else(
    grid: Grid, notes: Callable[[], list[str]]
) -> None:
    grid.report("trainer=1.0.0,2.0.0,3.0.0", "tracking=1.0.0,2.0.0")
    notes()
    grid.report("trainer=1.0.0,2.0.0,3.0.0", "tracking=1.0.0,2.0.0,3.0.0")
    assert sorted(notes()) == ["both 1.0.0 3.0.0", "both 2.0.0 3.0.0", "both 3.0.0 3.0.0", "reader 3.0.0"]


def test_an_axis_without_influence_costs_one_cell(grid: Grid, notes: Callable[[], list[str]]) -> None:
    report = grid.report("initializer=0.14.1,0.20.0", "runtime=1.5.0,1.7.1")
    assert len(notes()) == 3
    assert {cell.exit_code for cell in report.cells} == {0}


def test_a_contradiction_is_a_cell_that_is_not_judged(grid: Grid) -> None:
    report = grid.report("tracking=1.0.0,9.0.0", "trainer=1.0.0")
    assert [cell.error for cell in report.cells] == ["", "the requirements contradict each other"]
    assert report.exit_code == 2


def test_a_run_that_fails_leaves_the_other_cells(grid: Grid) -> None:
    grid.fails = {"trainer-1.0.0"}
    report = grid.report("trainer=1.0.0,2.0.0")
    assert [(cell.error, len(cell.contracts)) for cell in report.cells] == [("no memory", 0), ("", 3)]
    assert report.cells[0].stack is not None


def test_an_interrupt_ends_the_cells_that_run_and_loses_nothing(grid: Grid, notes: Callable[[], list[str]]) -> None:
    stopped = threading.Event()

    def judge(cell: PlannedCell) -> ConformanceReport:
        if cell.values["trainer"] == "2.0.0":
            stopped.wait(20)
            raise PlatformError("ended")
        return grid.judge(cell)

    def progress(event: Any) -> None:
        raise KeyboardInterrupt

    cells = planned_cells(grid.base, read_axes(["trainer=1.0.0,2.0.0,3.0.0"]), lambda text: None)
    matrix = Matrix(cells, grid.contracts, grid.target, grid.store)
    with pytest.raises(KeyboardInterrupt):
        matrix.run(judge, 2, progress, stopped.set)
    notes()
    grid.report("trainer=1.0.0,2.0.0,3.0.0")
    assert "writer 1.0.0" not in notes()


def test_progress_says_what_remains(grid: Grid) -> None:
    said: list[str] = []
    told: list[Any] = []
    grid.report("trainer=1.0.0,2.0.0", told=told, jobs=1)
    times = iter([0.0, 120.0, 240.0])
    progress = matrix_text.Progress(2, said.append, clock=lambda: next(times))
    for event in told:
        progress(event)
    assert re.fullmatch(r"\[1/2\] trainer=1.0.0: ✓ 3; 3 judged, 0 reused, 0 s; 1 remain, about 2 min", said[0])
    assert re.fullmatch(r"\[2/2\] trainer=2.0.0: ✓ 3; 2 judged, 1 reused, 0 s", said[1])


def test_a_dry_run_counts_what_is_missing(grid: Grid) -> None:
    cells = planned_cells(grid.base, read_axes(["trainer=1.0.0,2.0.0,9.0.0"]), lambda text: None)
    matrix = Matrix(cells, grid.contracts, grid.target, grid.store)
    text = matrix_text.remaining([(cell, matrix.missing(cell)) for cell in cells])
    assert "trainer=2.0.0: 3 to judge" in text
    assert "trainer=9.0.0: cannot be composed: the requirements contradict each other" in text
    assert text.endswith("3 cells, at most 5 results to judge")


# -- what is asked for


def test_axes_are_read_from_texts() -> None:
    assert read_axes(["tracking=2.12.2, 2.17.2", "trainer=current"]) == (
        Axis(part="tracking", values=("2.12.2", "2.17.2")),
        Axis(part="trainer", values=("current",)),
    )


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["tracking"], "'tracking' is not an axis"),
        (["tracking="], "the axis tracking is empty"),
        (["tracking=,"], "the axis tracking is empty"),
        (["trackng=2.12.2"], "unknown role 'trackng'"),
        (["tracking=2.12.2,2.12.2"], "the axis tracking has 2.12.2 twice"),
        (["tracking=2.12.2", "tracking=2.17.2"], "the axis tracking is given twice"),
        ([], "a matrix needs an axis"),
    ],
)
def test_a_wrong_axis_is_refused(texts: Sequence[str], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        read_axes(texts)


def test_a_file_has_axes_stack_and_contracts(tmp_path: Path) -> None:
    file = tmp_path / "skew.toml"
    file.write_text('stack = "2024.11-fixed"\ncontracts = ["lineage.*"]\n[axes]\ntracking = ["2.12.2", "3.17.2"]\n')
    read = read_matrix_file(file)
    assert (read.stack, read.contracts) == ("2024.11-fixed", ("lineage.*",))
    assert read.axes == (Axis(part="tracking", values=("2.12.2", "3.17.2")),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[axes", "cannot read the matrix"),
        ("", "`axes` is missing"),
        ("[axes]\ntracking = '2.12.2'\n", "`axes.tracking` is '2.12.2', expected an array of strings"),
        ("[axes]\ntracking = []\n", "the axis tracking is empty"),
        ("[axis]\ntracking = ['2.12.2']\n", "`axis` is unknown"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "skew.toml"
    file.write_text(content)
    with pytest.raises(UsageError, match=re.escape(words)):
        read_matrix_file(file)
    with pytest.raises(UsageError, match="cannot read the matrix"):
        read_matrix_file(tmp_path / "missing.toml")


def test_too_many_cells_are_refused(composed: None) -> None:
    axes = [Axis(part=part, values=tuple(f"{n}.0.0" for n in range(21))) for part in ("trainer", "tracking")]
    with pytest.raises(UsageError, match="the matrix has 441 cells, at most 400"):
        planned_cells(load_stack("2024.11-fixed"), axes, lambda text: None)


def test_a_folder_name_has_no_separators() -> None:
    assert slug({"tracking": "../ours", "trainer": "2.12.2"}) == "tracking-..-ours_trainer-2.12.2"


# -- formats


@pytest.fixture
def report(grid: Grid) -> MatrixReport:
    made = grid.report("trainer=1.0.0,2.0.0", "tracking=1.0.0,2.0.0,9.0.0")
    linked = tuple(
        replace(cell, report=f"cells/{slug(cell.values)}") if cell.contracts else cell for cell in made.cells
    )
    return replace(made, cells=linked)


def test_the_terminal_shows_the_table_the_failures_and_the_cost(report: MatrixReport) -> None:
    text = matrix_text.summary(report)
    assert re.search(
        r"trainer \\ tracking +1\.0\.0 +2\.0\.0 +9\.0\.0\n1\.0\.0 +✓ 3 +✓ 3 +! error\n2\.0\.0 +✕ 1 of 3 +✓ 3 +! error",
        text,
    )
    assert "FAILED in 1 of 6: trainer=2.0.0 tracking=1.0.0" in text
    assert "version 1.0.0 does not read what version 2.0.0 writes" in text
    assert "trainer=1.0.0 tracking=9.0.0: the requirements contradict each other" in text
    assert "6 cells: 3 conformant, 2 inconclusive, 1 not conformant" in text
    assert "8 results judged, 4 reused, in 1.5 min" in text
    assert "exit code 1: a MUST failed" in text


def test_a_matrix_of_one_axis_is_one_row(grid: Grid) -> None:
    shown = table(grid.report("tracking=1.0.0,2.0.0"))
    assert (shown.corner, list(shown.columns)) == ("tracking", ["1.0.0", "2.0.0"])
    assert [name for name, _ in shown.rows] == ["2024.11-fixed"]


def test_the_json_has_the_published_schema(report: MatrixReport) -> None:
    schema = json.loads(files("trivet.render").joinpath(matrix_json.SCHEMA_FILE).read_text(encoding="utf-8"))
    written = json.loads(matrix_json.write(report))
    jsonschema.validate(written, schema)
    assert (written["exitCode"], written["judged"], written["reused"]) == (1, 8, 4)
    assert written["cells"][3]["verdict"] == "not conformant"


def test_the_page_links_each_cell_to_its_evidence(report: MatrixReport) -> None:
    page = matrix_html.write(report)
    assert '<div class="sheet">' in page, "which the style sheet gives its width and margins"
    assert page.count('<a href="cells/trainer-2.0.0_tracking-1.0.0/report.html">✕ 1 of 3</a>') == 1
    assert "report.html#acme_grid.reader_reads_what_the_writer_writes" in page
    assert "the requirements contradict each other" in page
    assert "<script" not in page
    escaped = matrix_html.write(replace(report, base="<b>"))
    assert "&lt;b&gt;" in escaped
    assert "<b>" not in escaped


def test_the_summary_of_a_job_has_the_table_and_what_fails_where(report: MatrixReport) -> None:
    text = matrix_markdown.write(report)
    assert (
        "| trainer \\\\ tracking | 1.0.0 | 2.0.0 | 9.0.0 |\n|---|---|---|---|\n| 1.0.0 | ✓ 3 | ✓ 3 | ! error |" in text
    )
    assert (
        "- `acme_grid.reader_reads_what_the_writer_writes` FAILED in trainer=2.0.0 tracking=1.0.0: version 1.0.0"
        in text
    )


def test_junit_has_a_suite_for_each_cell(report: MatrixReport) -> None:
    suites = list(ET.fromstring(matrix_junit.write(report)))
    assert [suite.get("name") for suite in suites][:2] == [
        "trainer=1.0.0 tracking=1.0.0",
        "trainer=1.0.0 tracking=2.0.0",
    ]
    assert [(suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in suites] == [
        ("3", "0", "0"),
        ("3", "0", "0"),
        ("1", "0", "1"),
        ("3", "1", "0"),
        ("3", "0", "0"),
        ("1", "0", "1"),
    ]


def test_github_gets_an_annotation_for_each_failure_and_the_verdict(report: MatrixReport) -> None:
    lines = matrix_github.write(report).splitlines()
    assert lines[0] == (
        "::error title=acme_grid.reader_reads_what_the_writer_writes (failed)::"
        "FAILED: version 1.0.0 does not read what version 2.0.0 writes%0Ain trainer=2.0.0 tracking=1.0.0"
    )
    assert lines[1].startswith("::error title=trainer=1.0.0 tracking=9.0.0 (inconclusive)::not judged: ")
    assert len(lines) == 4
    assert lines[-1].startswith("::error title=trivet::6 cells: ")


def test_a_matrix_without_cells_is_not_green() -> None:
    empty = MatrixReport(base="b", target="t", axes=(), cells=(), provenance=PROVENANCE)
    assert empty.exit_code == 2
    assert Cell(values={}, exit_code=3).verdict == "inconclusive"
