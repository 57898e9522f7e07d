"""Who handles signals while a run is open, and after it."""

from __future__ import annotations

import signal
import threading

import pytest
from paper import STACK, PaperTarget

from trivet.engine.incremental import IncrementalRun

pytestmark = pytest.mark.usefixtures("default_signals")

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in NUMBERS]


def open_run() -> IncrementalRun:
    return IncrementalRun(target=PaperTarget(), stack=STACK, profile="core", emit=lambda event: None)


def test_signals_are_handled_while_a_session_is_open_and_as_before_afterwards() -> None:
    before = handlers()
    with open_run() as run:
        assert handlers() == before
        assert run.session
        assert not set(map(id, handlers())) & set(map(id, before))
    assert handlers() == before


def test_a_session_of_another_thread_leaves_signals_alone() -> None:
    before = handlers()
    seen: list[list[object]] = []

    def work() -> None:
        with open_run() as run:
            assert run.session
            seen.append(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
