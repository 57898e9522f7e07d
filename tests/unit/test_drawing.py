"""The search for a counter-example, on plain functions: whatever is observed comes out as what it is."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import strategies as st

from trivet.errors import CannotTell, PlatformError
from trivet.fixtures.jobs.drawing import STRATEGIES, rows, search
from trivet.integration import Column, Signature, Tensor
from trivet.toolkit import drawing
from trivet.toolkit.drawing import DRAWN, counter_example, directory_names_and_endings, rows_of

NUMBERS = st.integers(0, 1000)


def columns(**types: str) -> Signature:
    inputs = tuple(Column(name=name, type=kind, required=True, spec={}) for name, kind in types.items())
    return Signature(inputs=inputs, outputs=(), params={})


NUMBER = rows_of(columns(n="integer"), most=1)


# -- the search, in this process --------------------------------------------------------------------------------------


def test_a_deviation_that_repeats_comes_out_at_its_smallest() -> None:
    assert search(NUMBERS, lambda n: f"{n} is large" if n >= 10 else "", examples=50) == ("10 is large", True)


def test_no_deviation_is_no_text_and_every_example_tried() -> None:
    tried: list[int] = []

    def conforming(value: int) -> str:
        tried.append(value)
        return ""

    assert search(NUMBERS, conforming, examples=50) == ("", True)
    assert len(tried) == 50


def test_a_deviation_that_occurs_once_is_returned_as_one_that_does_not_repeat() -> None:
    seen: list[int] = []

    def deviation(number: int) -> str:
        seen.append(number)
        return f"call 5 went wrong at {number}" if len(seen) == 5 else ""

    assert search(NUMBERS, deviation, examples=50) == (f"call 5 went wrong at {seen[4]}", False)


@pytest.mark.parametrize("period", [2, 3, 7])
def test_a_deviation_that_comes_and_goes_is_a_deviation(period: int) -> None:
    calls = 0

    def deviation(number: int) -> str:
        nonlocal calls
        calls += 1
        return f"wrong at {number}" if calls % period == 0 else ""

    assert search(NUMBERS, deviation, examples=50)[0].startswith("wrong at ")


def test_rows_have_every_column_in_the_type_that_the_signature_says() -> None:
    types = {"boolean": bool, "integer": int, "long": int, "float": float, "double": float, "string": str}
    assert set(types) == set(DRAWN)

    def deviation(batch: list[dict[str, Any]]) -> str:
        assert 1 <= len(batch) <= 3
        return "".join(
            f"{name} is {row[name]!r}" for row in batch for name, kind in types.items() if type(row[name]) is not kind
        )

    assert search(rows({kind: kind for kind in DRAWN}, most=3), deviation, examples=50) == ("", True)


def test_a_directory_has_levels_with_names_and_no_control_characters() -> None:
    def deviation(drawn: tuple[str, str]) -> str:
        directory, ending = drawn
        levels = directory.split("/")
        fine = 1 <= len(levels) <= 3 and all(level.strip(".") and level.isprintable() for level in levels)
        return "" if fine and ending in ("", "/", "//") else repr(drawn)

    assert search(STRATEGIES["directory_names_and_endings"](), deviation, examples=200) == ("", True)


@pytest.mark.parametrize("signature", [columns(), columns(when="datetime", n="integer")])
def test_columns_that_are_not_drawn_are_named(signature: Signature) -> None:
    with pytest.raises(CannotTell, match=r"of type (none at all|datetime) are not drawn; drawn are boolean, integer"):
        rows_of(signature)


def test_arrays_are_not_drawn() -> None:
    tensor = Tensor(name="", dtype="float64", shape=(-1, 5))
    with pytest.raises(CannotTell, match=r"arrays \(float64 of the shape \[-1, 5\]\) are not drawn"):
        rows_of(Signature(inputs=(tensor,), outputs=(), params={}))


# -- the whole conversation, Hypothesis in its environment ------------------------------------------------------------

conversation = pytest.mark.processes


def large(batch: list[dict[str, Any]]) -> str:
    return f"{batch[0]['n']} is large" if batch[0]["n"] >= 10 else ""


@conversation
def test_the_smallest_deviation_comes_back_from_the_process() -> None:
    tried, found = counter_example(NUMBER, large, examples=50)
    assert found == "10 is large"
    assert tried > 1


@conversation
def test_without_a_deviation_every_example_is_tried() -> None:
    assert counter_example(NUMBER, lambda batch: "", examples=50) == (50, "")


@conversation
@pytest.mark.parametrize(
    "strategy",
    [rows_of(columns(**{kind: kind for kind in DRAWN})), directory_names_and_endings()],
    ids=lambda strategy: str(strategy.name),
)
def test_the_same_values_are_drawn_every_time_and_survive_the_way(strategy: drawing.Strategy[Any]) -> None:
    seen: list[list[Any]] = [[], [], []]

    def noting(into: list[Any]) -> Callable[[Any], str]:
        def deviation(value: Any) -> str:
            into.append(value)
            return ""

        return deviation

    counter_example(strategy, noting(seen[0]), examples=30)
    counter_example(strategy, noting(seen[1]), examples=30)
    assert seen[0] == seen[1]
    search(STRATEGIES[strategy.name](**strategy.arguments), noting(seen[2]), examples=30)
    assert {type(value) for value in seen[0]} == {type(value) for value in seen[2]}
    assert json.loads(json.dumps(seen[0])) == [list(value) for value in seen[0]]


@conversation
def test_a_deviation_that_occurs_once_is_reported_with_that_word() -> None:
    calls: list[int] = []

    def deviation(batch: list[dict[str, Any]]) -> str:
        calls.append(batch[0]["n"])
        return f"call 5 went wrong at {calls[4]}" if len(calls) == 5 else ""

    tried, found = counter_example(NUMBER, deviation, examples=50)
    assert found == f"call 5 went wrong at {calls[4]} (once: on the same input it did not repeat)"
    assert tried == len(calls)


@conversation
def test_cannot_tell_ends_the_search_at_once_and_is_raised_unchanged() -> None:
    reason = CannotTell("the server is gone")
    calls = 0

    def deviation(batch: list[dict[str, Any]]) -> str:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise reason
        return ""

    with pytest.raises(CannotTell) as raised:
        counter_example(NUMBER, deviation, examples=50)
    assert raised.value is reason
    assert calls == 5


@conversation
def test_a_deviation_stands_although_the_search_could_not_go_on() -> None:
    calls = 0

    def deviation(batch: list[dict[str, Any]]) -> str:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise CannotTell("the server is gone")
        return f"wrong at {batch}" if calls == 4 else ""

    _, found = counter_example(NUMBER, deviation, examples=50)
    assert found.startswith("wrong at ")
    assert found.endswith("(after that the search ended: the server is gone)")
    assert calls == 5


@conversation
def test_a_process_that_ends_early_is_cannot_tell_with_its_exit_status() -> None:
    def deviation(batch: list[dict[str, Any]]) -> str:
        for child in drawing_processes(os.getpid()):
            child.kill()
        return ""

    with pytest.raises(CannotTell, match="Hypothesis, which draws inputs, ended with status -9; the end of its log"):
        counter_example(NUMBER, deviation, examples=50)


@conversation
def test_what_the_process_printed_is_in_the_message_when_it_ends() -> None:
    unheard_of = drawing.Strategy(name="rows", arguments={"columns": {"n": "decimal"}, "most": 1}, read=list)
    with pytest.raises(CannotTell, match=r"(?s)ended with status 1; the end of its log:.*KeyError: 'decimal'"):
        counter_example(unheard_of, lambda value: "", examples=5)


def test_an_environment_that_cannot_be_built_is_a_reason_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(role: object) -> None:
        raise PlatformError("cannot install Hypothesis", remedy="see that the package registry is reachable")

    monkeypatch.setattr(drawing, "build_environment", refused)
    with pytest.raises(CannotTell) as raised:
        counter_example(NUMBER, large, examples=5)
    assert raised.value.message == "no inputs can be drawn: cannot install Hypothesis"
    assert raised.value.remedy == "see that the package registry is reachable"


@conversation
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_ends_with_its_caller(number: signal.Signals, tmp_path: Path) -> None:
    script = (
        "import time\n"
        "from trivet.toolkit.drawing import counter_example, directory_names_and_endings\n"
        "counter_example(directory_names_and_endings(), lambda value: print('asked', flush=True) or time.sleep(60), examples=5)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        assert asker.stdout.readline() == "asked\n"
        (child,) = drawing_processes(asker.pid)
        asker.send_signal(number)
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@conversation
def test_a_signal_ends_the_installation_of_hypothesis_too(tmp_path: Path) -> None:
    script = (
        "import threading\n"
        "from trivet.toolkit.drawing import counter_example, directory_names_and_endings\n"
        "from trivet.host.signals import unwinding_on_signals\n"
        "check = threading.Thread(target=counter_example, args=(directory_names_and_endings(), str), kwargs={'examples': 5})\n"
        "with unwinding_on_signals():\n"
        "    check.start()\n"
        "    try:\n"
        "        threading.Event().wait(60)\n"
        "    finally:\n"
        "        check.join()\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(60)
        environment = {
            **os.environ,
            "TRIVET_CACHE": str(tmp_path / "cache"),
            "UV_CACHE_DIR": str(tmp_path / "uv"),
            "UV_DEFAULT_INDEX": f"http://127.0.0.1:{mute.getsockname()[1]}/simple",
        }
        with subprocess.Popen(
            [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True
        ) as run:
            connection, _ = mute.accept()
            with connection:
                (uv,) = psutil.Process(run.pid).children()
                run.terminate()
                _, complaint = run.communicate(timeout=10)
                assert not uv.is_running()
    assert "no inputs can be drawn: cannot install Hypothesis: the run is stopping" in complaint
    assert "terminated by SIGTERM" in complaint


def drawing_processes(parent: int) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(parent).children()
        if any(word.endswith("drawing.py") for word in child.cmdline())
    ]
