"""What a person reads: the summary, progress as lines, and the catalogue of contracts. Whole texts are held as snapshots."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Thread
from typing import TextIO

import pytest
from rich.cells import cell_len
from rich.text import Text
from samples.reports import SAMPLES, conformant, empty, hostile, not_conformant
from snapshots import same_as_file

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.engine.plan import Plan
from trivet.model.contract import Contract
from trivet.model.events import ContractEnded, ContractStarted, Emit, PhaseEnded, PhaseStarted, RunEnded, RunStarted
from trivet.model.finding import Finding, passed
from trivet.model.report import ConformanceReport
from trivet.model.stack import Stack
from trivet.render.catalogue import explain, listing, planned
from trivet.render.layout import COLUMNS, telling, wrap
from trivet.render.summary import lines, summary
from trivet.render.terminal import live, watch

SNAPSHOTS = Path(__file__).parent / "__snapshots__"

every_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
Sample = Callable[[], ConformanceReport]


def same_as_snapshot(name: str, text: str) -> None:
    """Hold ``text`` to the stored snapshot."""
    same_as_file(SNAPSHOTS / f"{name}.txt", text)


def readable(text: str) -> None:
    """Hold ``text`` to the width, and to characters that any terminal and log viewer can show."""
    assert [one for one in text.splitlines() if cell_len(one) > COLUMNS] == []
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    assert [one for one in text.split("\n") if one != one.rstrip()] == []


@pytest.mark.parametrize("name", SAMPLES)
def test_summary(name: str) -> None:
    text = summary(SAMPLES[name]())
    readable(text)
    same_as_snapshot(f"summary_{name}", text)


@pytest.mark.parametrize("columns", [40, 60, 79, 100])
@every_sample
def test_the_summary_fits_narrower_terminals(sample: Sample, columns: int) -> None:
    shown = ["".join(span.text for span in one) for one in lines(sample(), columns)]
    assert [one for one in shown if cell_len(one) > columns] == []


@pytest.mark.parametrize(
    ("sample", "verdict"),
    [
        (conformant, "2024.11-fixed is conformant: 21 MUST passed, 1 advice\nexit code 0: conformant\n"),
        (
            not_conformant,
            "2024.11 is not conformant: 2 MUST failed, 1 MUST inconclusive, 1 error, 1 advice\nexit code 1: a MUST failed\n",
        ),
        (empty, "current is inconclusive: no contract was judged\nexit code 2: inconclusive\n"),
    ],
)
def test_the_verdict_stands_last_with_its_cause_and_exit_code(sample: Sample, verdict: str) -> None:
    assert summary(sample()).endswith(verdict)


def events(report: ConformanceReport, emit: Emit) -> None:
    """The events of a run that came to ``report``."""
    emit(RunStarted(stack=report.stack.name, target=report.target, contracts=tuple(r.id for r in report.contracts)))
    emit(PhaseStarted(name="tracking server"))
    emit(PhaseStarted(name="runtime"))
    emit(PhaseEnded(name="tracking server", seconds=5.1))
    for result in report.contracts:
        emit(ContractStarted(id=result.id))
        emit(ContractEnded(result=result))
    emit(PhaseEnded(name="runtime", seconds=66.9, failure="the process ended with exit code 1"))
    emit(RunEnded(report=report))


@pytest.mark.parametrize("name", ["not_conformant", "hostile"])
def test_progress_on_a_pipe(name: str) -> None:
    stream, ticks = io.StringIO(), count()
    with watch(stream, clock=lambda: next(ticks) / 4) as emit:
        events(SAMPLES[name](), emit)
    readable(stream.getvalue())
    same_as_snapshot(f"progress_{name}", stream.getvalue())


def test_lines_from_several_threads_do_not_mix() -> None:
    stream = io.StringIO()
    with watch(stream) as emit:
        threads = [Thread(target=lambda: [emit(PhaseStarted(name="x" * 50)) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {one.partition(" s  ")[2] for one in stream.getvalue().splitlines()} == {"x" * 50 + " …"}


def test_a_stream_that_knows_only_ascii_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show(not_conformant(), stream)
    assert "MLflow -> KServe" in raw.getvalue().decode("ascii")


def show(report: ConformanceReport, stream: TextIO) -> None:
    """Print the summary, as a run does at its end."""
    with watch(stream) as emit:
        emit(RunEnded(report=report))


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A colour terminal of 120 columns."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    return Screen()


def test_a_terminal_shows_what_runs_and_ends_with_the_same_summary(terminal: Screen) -> None:
    with watch(terminal) as emit:
        emit(RunStarted(stack="2024.11", target="local", contracts=("a.b", "c.d")))
        emit(PhaseStarted(name="storage initializer"))
        deadline = time.monotonic() + 5
        while "storage initializer" not in terminal.getvalue() or "0/2 contracts" not in terminal.getvalue():
            assert time.monotonic() < deadline, "nothing was drawn"
            time.sleep(0.01)
        events(not_conformant(), emit)
    output = terminal.getvalue()
    assert "tracking server done in 5.1 s" in Text.from_ansi(output).plain
    shown = "".join(Text.from_ansi(one).plain.rstrip() + "\n" for one in output.split("\n"))
    assert summary(not_conformant()) in shown


def test_no_color_takes_the_colours_from_a_terminal(terminal: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    show(not_conformant(), terminal)
    assert "FAILED" in terminal.getvalue()
    assert "\x1b[31m" not in terminal.getvalue()
    assert "\x1b[1;31m" not in terminal.getvalue()


def test_a_terminal_gets_its_cursor_back_when_the_run_breaks(terminal: Screen) -> None:
    def interrupted() -> None:
        with watch(terminal) as emit:
            emit(RunStarted(stack="current", target="local", contracts=("a.b",)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().rindex(shown) > terminal.getvalue().rindex(hidden)


def test_a_report_cannot_send_sequences_to_the_terminal(terminal: Screen) -> None:
    show(hostile(), terminal)
    assert "\x1b[2J" not in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()


def test_only_a_capable_terminal_is_drawn_over(terminal: Screen) -> None:
    assert live(terminal, {"TERM": "xterm"})
    assert not live(terminal, {"TERM": "dumb"})
    assert not live(terminal, {})
    assert not live(io.StringIO(), {"TERM": "xterm"})


@contract(
    title="The storage URI must name the directory that holds MLmodel",
    level=MUST,
    seam=("mlflow", "kserve"),
    rationale="A URI one level too high downloads without complaint, and the runtime then finds no MLmodel in /mnt/models: the pod "
    "restarts for ever while the InferenceService says only that it is not ready.",
    remedy="Take the URI from trivet.integration.resolve_storage_uri instead of joining artifact_uri and a name.",
    sources=("mlflow 2.17.2, mlflow/store/artifact/utils/models.py", "kserve 0.14.1, python/kserve/storage/storage.py"),
)
def uri_holds_mlmodel(store: object, handover: object) -> Iterator[Finding]:
    """A sample."""
    yield passed("observed")


@contract(
    title="A canary should have a predecessor",
    level=SHOULD,
    seam=("kserve", "runtime"),
    rationale="There is nothing to compare with.",
    remedy="Leave canaryTrafficPercent out.",
    versions={"kserve": ">=0.14", "kfp": "<3"},
)
def canary_has_a_predecessor(manifest: object) -> Iterator[Finding]:
    """A sample."""
    yield passed("observed")


CONTRACTS: list[Contract] = [uri_holds_mlmodel, canary_has_a_predecessor]


@pytest.mark.parametrize("sample", CONTRACTS, ids=["live", "static"])
def test_explain(sample: Contract) -> None:
    readable(explain(sample))
    same_as_snapshot(f"explain_{sample.id.rpartition('.')[2]}", explain(sample))


def test_listing() -> None:
    readable(listing(CONTRACTS))
    same_as_snapshot("listing", listing(CONTRACTS))


def test_planned() -> None:
    stack = Stack(
        name="2024.11",
        title="As published",
        folder=Path(),
        components={"kfp": "2.9.0", "kserve": "0.14.1"},
        roles={},
        digest="",
        api_schemas=Path(),
    )
    skipped = {canary_has_a_predecessor.id: "applies to kfp<2; the stack has 2.9.0"}
    text = planned(Plan(profile="core", contracts=CONTRACTS, not_applicable=skipped), stack)
    readable(text)
    same_as_snapshot("planned", text)


def test_the_most_telling_lines_share_words_with_the_message_or_name_an_error() -> None:
    log = "starting\nloading numpy\nTraceback:\nModuleNotFoundError: No module named 'numpy._core'\nbye"
    assert telling(log, "the runtime could not load numpy", 1) == ["ModuleNotFoundError: No module named 'numpy._core'"]
    assert telling("scipy 1\nnumpy 2.1.3\n", "numpy is 2.1.3 there", 1) == ["numpy 2.1.3"]
    assert telling(" \n{\n}\n", "anything") == []


def test_wrapping_counts_cells_and_breaks_what_has_no_break() -> None:
    assert wrap("データの検証", 6) == ["データ", "の検証"]
    assert wrap("aaaa bbbb", 4) == ["aaaa", "bbbb"]
    assert wrap("x" * 10, 4) == ["xxxx", "xxxx", "xx"]
    assert wrap("", 4) == []
