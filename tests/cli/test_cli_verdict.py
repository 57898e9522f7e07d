"""``trivet verdict``: wrong usage, and a third party's target upgraded by processes of their own, also after kill -9."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from commandline import PROGRAM, CommandOutput, call, environment, refused, run

OF_GRID = ("--target", "grid", "--plugin", "acme_grid", "--contract", "acme_grid.*")
ASKED = ("verdict", "--from", "2024.11", "--to", "2024.11-fixed", *OF_GRID)
SKEW = ("verdict", "--from", "2024.11-fixed", "--to", "current", *OF_GRID)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    monkeypatch.syspath_prepend(variables["PYTHONPATH"])
    monkeypatch.setenv("TRIVET_CACHE", variables["TRIVET_CACHE"])


def verdict(variables: Mapping[str, str], *arguments: str) -> CommandOutput:
    return run(
        *SKEW,
        *arguments,
        PYTHONPATH=variables["PYTHONPATH"],
        TRIVET_CACHE=variables["TRIVET_CACHE"],
        ACME_JUDGED=variables["ACME_JUDGED"],
    )


@pytest.mark.usefixtures("in_this_process")
def test_a_dry_run_shows_the_steps_and_starts_nothing() -> None:
    done = call(*ASKED, "--dry-run")
    assert done.code == 0
    assert "from 2024.11 to 2024.11-fixed, target grid: 1 steps, 3 contracts in each mix" in done.out
    assert "scikit-learn 1.5.2 → 1.4.1.post1" in done.out
    assert "2 mixes of old and new are possible" in done.out


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "current", "--to", "curent"), "unknown stack 'curent'\n  remedy: did you mean 'current'?"),
        (("--from", "current", "--to", "current"), "there is nothing to upgrade"),
        (("--from", "current", "--to", "2024.11", "--format", "pdf"), "unknown format of a verdict 'pdf'"),
        (("--from", "current", "--to", "2024.11", "--results", "."), "is not a results store"),
        (("--from", "current", "--to", "2024.11", "missing.yaml"), "missing.yaml"),
        (("--from", "current", "--to", "2024.11", "broken.yaml"), "broken.yaml"),
        (
            ("--from", "current", "--to", "2024.11", "--target", "kind"),
            "the kserve of a stack cannot be from elsewhere on the target kind",
        ),
    ],
)
def test_wrong_usage_is_refused_before_anything_runs(here: Path, arguments: tuple[str, ...], words: str) -> None:
    (here / "notes.txt").write_text("mine")
    (here / "broken.yaml").write_text("apiVersion: serving.kserve.io/v1beta1\nkind: [\n")
    given = arguments if "--target" in arguments else (*arguments, *OF_GRID)
    assert words in refused("verdict", *given)


@pytest.mark.usefixtures("in_this_process")
def test_a_tracking_server_that_does_not_answer_is_named_before_anything_runs() -> None:
    done = call(*ASKED, "--fleet", "http://127.0.0.1:9")
    assert (done.code, done.out) == (2, "")
    assert "registered-models/search at http://127.0.0.1:9: connection refused" in done.err


def test_both_stacks_are_required() -> None:
    done = call("verdict", "--from", "current")
    assert (done.code, "--to" in done.err) == (3, True)


@pytest.mark.usefixtures("in_this_process")
def test_a_results_store_of_another_version_is_refused(here: Path) -> None:
    store = here / "results"
    store.mkdir()
    (store / "results-store.json").write_text('{"apiVersion": "trivet.dev/results/v9", "kind": "ResultsStore"}')
    assert "has the version trivet.dev/results/v9" in refused(*ASKED, "--results", "results")


@pytest.mark.processes
def test_an_upgrade_is_judged_once_and_a_second_call_judges_nothing(here: Path, variables: Mapping[str, str]) -> None:
    first = verdict(variables, "--report", "out")
    assert first.code == 0, first
    written = json.loads((here / "out" / "verdict.json").read_text(encoding="utf-8"))
    assert written["order"].index("tracking") < written["order"].index("trainer")
    (broken,) = written["incompatibilities"]
    assert [(one["new"], one["old"]) for one in broken["suspects"]] == [("trainer", "tracking")]
    for mix in written["mixes"]:
        if mix["report"]:
            assert (here / "out" / mix["report"] / "report.json").is_file()
    assert (here / "out" / "verdict.html").is_file()
    judged = Path(variables["ACME_JUDGED"]).read_text(encoding="utf-8")
    again = verdict(variables, "--format", "json")
    assert again.code == 0
    assert json.loads(again.out)["judged"] == 0
    assert Path(variables["ACME_JUDGED"]).read_text(encoding="utf-8") == judged


@pytest.mark.processes
@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda one: one.name)
def test_an_interrupted_verdict_leaves_nothing_and_continues_where_it_was(
    here: Path, variables: Mapping[str, str], number: signal.Signals
) -> None:
    judged = Path(variables["ACME_JUDGED"])
    first = subprocess.Popen(
        [str(PROGRAM), *SKEW, "--jobs", "1"],
        env=environment(**variables, ACME_SECONDS="4"),
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 180
    while not (judged.exists() and "both" in judged.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(number)
    assert first.wait(60) in (-signal.SIGKILL, 128 + number)
    done = verdict(variables)
    assert done.code == 0, done
    lines = [line for line in judged.read_text(encoding="utf-8").splitlines() if line[:6] in ("writer", "reader")]
    # A result that was kept is not judged again; the new trainer exists with the old SDK and with the new one.
    assert sorted(lines) == ["reader 2.17.2", "reader 3.17.2", "writer 2.17.2", "writer 3.17.2", "writer 3.17.2"]
    assert not list((Path(variables["TRIVET_CACHE"]) / "runs").glob("*/"))
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(here) in " ".join(one.info["cmdline"] or ())]
