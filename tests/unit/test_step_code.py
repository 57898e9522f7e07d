"""The code of pipeline steps is read by several checks at a time, and Python says nothing of it on the terminal."""

from __future__ import annotations

import gc
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from trivet.contracts.ir.step_code import syntax_error

CODE = "def step(x):\n" + "\n".join(f"    a{n} = [x + {n}, {{'k': (x, {n})}}, lambda y: y * {n}]" for n in range(30))


class Finalised:
    """Garbage whose finaliser runs wherever memory is collected, and lets other threads run."""

    def __init__(self) -> None:
        self.cycle = self

    def __del__(self) -> None:
        sum(range(50))


@pytest.fixture
def many_switches() -> Iterator[None]:
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("many_switches")
def test_code_is_parsed_in_several_threads_at_once() -> None:
    raised: list[BaseException] = []

    def parse(thread: int) -> None:
        try:
            for number in range(30):
                for _ in range(20):
                    Finalised()
                assert syntax_error(f"{CODE}\n# {thread} {number}") == ("", False)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=parse, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not raised


def test_what_python_warns_of_in_a_step_is_not_printed() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert syntax_error("retries = 1if x else 2  # a warning of Python 3.11") == ("", False)
    assert not said
