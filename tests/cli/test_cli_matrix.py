"""``trivet matrix`` on a third party's target: cells as processes of their own, resuming, and wrong usage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from commandline import PROGRAM, CommandOutput, call, environment, refused, run

from trivet.stacks.read import stack_folder

ASKED = ("matrix", "--stack", "2024.11-fixed", "--target", "grid", "--plugin", "acme_grid", "--contract", "acme_grid.*")
AXES = ("--axis", "trainer=2024.11-fixed,current", "--axis", "tracking=2024.11-fixed,current")


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    return tmp_path / "judged.txt"


def matrix(variables: Mapping[str, str], *arguments: str, seconds: str = "0") -> CommandOutput:
    """A call of the matrix as a process. Its check of both versions takes ``seconds``."""
    return run(
        *(*ASKED, *AXES, *arguments),
        PYTHONPATH=variables["PYTHONPATH"],
        TRIVET_CACHE=variables["TRIVET_CACHE"],
        ACME_JUDGED=variables["ACME_JUDGED"],
        ACME_SECONDS=seconds,
    )


def notes(file: Path) -> list[str]:
    """What was judged, without the starts of sessions."""
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line != "start"]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    monkeypatch.syspath_prepend(variables["PYTHONPATH"])
    monkeypatch.setenv("TRIVET_CACHE", variables["TRIVET_CACHE"])


@pytest.mark.usefixtures("in_this_process")
def test_a_dry_run_starts_nothing() -> None:
    done = call(*ASKED, *AXES, "--dry-run")
    assert done.code == 0
    assert "a matrix of 2 trainer × 2 tracking on 2024.11-fixed, target grid, 3 contracts in each cell" in done.out
    assert "trainer=current tracking=current: 3 to judge" in done.out


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give axes, with --axis or with --file"),
        ((*AXES, "--file", "skew.toml"), "give axes, with --axis or with --file"),
        (("--file", "missing.toml"), "cannot read the matrix"),
        (("--axis", "trackng=current"), "unknown role 'trackng'\n  remedy: did you mean 'tracking'?"),
        (("--axis", "tracking="), "the axis tracking is empty"),
        (("--axis", "tracking=curent"), "unknown stack 'curent'"),
        ((*AXES, "--format", "sarif"), "unknown format of a matrix 'sarif'"),
        ((*AXES, "--results", "."), "is not a results store"),
        ((*AXES, "--addon", "pipelines"), "--addon pipelines is not supported on the target grid"),
    ],
)
def test_wrong_usage_is_refused(here: Path, arguments: tuple[str, ...], words: str) -> None:
    (here / "notes.txt").write_text("mine")
    assert words in refused(*ASKED, *arguments)


@pytest.mark.parametrize(("target", "part"), [("kind", "tracking"), ("existing", "trainer")])
def test_the_cells_of_a_cluster_have_its_platform(target: str, part: str) -> None:
    message = refused("matrix", "--target", target, *AXES)
    assert f"the {part} of a stack cannot be from elsewhere on the target {target}" in message


@pytest.mark.usefixtures("in_this_process")
def test_a_target_that_does_not_say_what_results_rest_on_is_refused(tmp_path: Path) -> None:
    assert "results of the target memory cannot be kept" in refused(
        "matrix", "--target", "memory", "--plugin", "acme_target", "--contract", "acme_target.*", *AXES
    )


@pytest.mark.processes
def test_cells_are_judged_once_and_a_second_matrix_reuses_everything(
    here: Path, variables: Mapping[str, str], judged: Path
) -> None:
    first = matrix(variables, "--report", "out")
    assert first.code == 1, first
    assert sorted(notes(judged)) == [
        "both 2.17.2 2.17.2",
        "both 2.17.2 3.17.2",
        "both 3.17.2 2.17.2",
        "both 3.17.2 3.17.2",
        "reader 2.17.2",
        "reader 3.17.2",
        "writer 2.17.2",
        "writer 3.17.2",
    ]
    written = json.loads((here / "out" / "matrix.json").read_text(encoding="utf-8"))
    assert (written["judged"], written["reused"]) == (8, 4)
    for cell in written["cells"]:
        report = json.loads((here / "out" / cell["report"] / "report.json").read_text(encoding="utf-8"))
        assert len(report["contracts"]) == 3
        assert (here / "out" / cell["report"] / "report.html").is_file()
    again = matrix(variables, "--format", "json")
    assert (again.code, len(notes(judged))) == (1, 8)
    assert json.loads(again.out)["judged"] == 0


@pytest.mark.processes
def test_a_cell_whose_run_fails_says_why(here: Path, variables: Mapping[str, str]) -> None:
    (here / "pyproject.toml").write_text("[tool.trivet]\n")
    done = matrix(variables, seconds="soon")
    assert done.code == 2
    assert "acme_grid.reader_reads_what_the_writer_writes" in done.out


@pytest.mark.processes
@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_an_interrupted_matrix_leaves_nothing_and_continues_where_it_was(
    here: Path, variables: Mapping[str, str], judged: Path, number: signal.Signals
) -> None:
    slow = environment(**variables, ACME_SECONDS="4")
    first = subprocess.Popen(
        [str(PROGRAM), *ASKED, *AXES, "--jobs", "2"],
        env=slow,
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 120
    while not (judged.exists() and any(line.startswith("both") for line in notes(judged))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(number)
    assert first.wait(60) in (-signal.SIGKILL, 128 + number)
    done = matrix(variables)
    assert done.code == 1, done
    kept = [line for line in notes(judged) if not line.startswith("both")]
    assert len(kept) == len(set(kept)), "a result that was kept is not judged again"
    assert {line for line in notes(judged) if line.startswith("both")} == {
        f"both {writer} {reader}" for writer in ("2.17.2", "3.17.2") for reader in ("2.17.2", "3.17.2")
    }
    assert not list((Path(variables["TRIVET_CACHE"]) / "runs").glob("*/"))
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(here) in " ".join(one.info["cmdline"] or ())]
    assert os.environ.get("ACME_JUDGED") is None


@pytest.mark.usefixtures("in_this_process")
def test_a_file_describes_a_matrix(here: Path) -> None:
    (here / "skew.toml").write_text(
        f'stack = "{stack_folder("2024.11-fixed")}"\ncontracts = ["acme_grid.*"]\n[axes]\ntracking = ["2024.11", "current"]\n'
    )
    done = call("matrix", "--target", "grid", "--plugin", "acme_grid", "--file", "skew.toml", "--dry-run")
    assert done.code == 0
    assert "a matrix of 2 tracking on 2024.11-fixed, target grid, 3 contracts in each cell" in done.out
