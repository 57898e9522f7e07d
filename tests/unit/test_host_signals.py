"""Signals that terminate the process are raised where it waits, held where it would lose something, and never lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from itertools import count
from pathlib import Path

import pytest
from fakes.target import STACK, FakeTarget
from interrupts import interrupted

from trivet.engine.incremental import IncrementalRun
from trivet.errors import DeclarationError
from trivet.host import signals
from trivet.host.signals import NUMBERS, TERMINATING, Signalled, interruptible, uninterruptible, unwinding_on_signals

pytestmark = pytest.mark.usefixtures("default_signals")

LONG = 5.0


def send(number: int = signal.SIGINT) -> None:
    """Send this process a signal and let the interpreter see it."""
    os.kill(os.getpid(), number)
    time.sleep(0.01)


def ended_by(work: Callable[[], object]) -> int:
    """The number of the signal that ended ``work``; it must end within a second."""
    began = time.monotonic()
    with pytest.raises(Signalled) as caught, unwinding_on_signals():
        work()
    assert time.monotonic() - began < 1.0
    return caught.value.number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_wait(number: int) -> None:
    def work() -> None:
        send(number)
        time.sleep(LONG)

    assert ended_by(work) == number


def test_a_signal_is_held_until_an_uninterruptible_function_has_returned() -> None:
    done: list[str] = []

    @uninterruptible
    def careful() -> None:
        send()
        done.append("all of it")

    def work() -> None:
        careful()
        time.sleep(LONG)

    ended_by(work)
    assert done == ["all of it"]


def test_a_wait_within_an_uninterruptible_function_can_be_interruptible() -> None:
    @interruptible
    def wait() -> None:
        send()
        time.sleep(LONG)

    @uninterruptible
    def careful() -> None:
        wait()
        pytest.fail("it was held")

    ended_by(careful)


def test_a_context_manager_that_was_entered_uninterruptibly_is_left_whole_and_its_block_is_interruptible() -> None:
    done: list[str] = []

    @contextmanager
    @uninterruptible
    def careful() -> Iterator[None]:
        send(signal.SIGTERM)
        done.append("entered")
        try:
            yield
        finally:
            send(signal.SIGINT)
            done.append("left")

    def work() -> None:
        with careful():
            time.sleep(LONG)

    assert ended_by(work) == signal.SIGTERM
    assert done == ["entered", "left"]


def test_leaving_any_context_manager_of_contextlib_is_not_broken_off() -> None:
    done: list[str] = []

    @contextmanager
    def any_one() -> Iterator[None]:
        yield
        send()
        done.append("left")

    def work() -> None:
        with ExitStack() as stack:
            stack.enter_context(any_one())
            stack.callback(send)
        time.sleep(LONG)

    ended_by(work)
    assert done == ["left"]


def test_an_exception_that_python_swallows_is_raised_again() -> None:
    class Watched:
        pass

    def work() -> None:
        watched = Watched()
        _ = weakref.ref(watched, lambda reference: send())
        del watched
        time.sleep(LONG)

    ended_by(work)


def test_a_finalizer_is_not_broken_off() -> None:
    done: list[str] = []

    class Watched:
        def __del__(self) -> None:
            send()
            done.append("all of it")

    def work() -> None:
        watched = Watched()
        del watched
        time.sleep(LONG)

    ended_by(work)
    assert done == ["all of it"]


def test_a_module_is_imported_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.01)\ncomplete = True\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def work() -> None:
        import_module("slow_to_import")
        time.sleep(LONG)

    ended_by(work)
    assert sys.modules.pop("slow_to_import").complete


def test_further_signals_change_nothing() -> None:
    done: list[str] = []

    def work() -> None:
        try:
            send(signal.SIGTERM)
        finally:
            send(signal.SIGINT)
            send(signal.SIGTERM)
            done.append("cleaned up")

    assert ended_by(work) == signal.SIGTERM
    assert done == ["cleaned up"]


def test_after_a_signal_that_somebody_caught_and_dropped_the_next_one_has_an_effect_again() -> None:
    def work() -> None:
        with suppress(KeyboardInterrupt):
            send(signal.SIGINT)
        send(signal.SIGTERM)
        time.sleep(LONG)

    assert ended_by(work) == signal.SIGTERM


def test_tools_are_to_stop_while_a_signal_unwinds_the_process_and_no_longer_once_somebody_has_dropped_it() -> None:
    def work() -> None:
        with suppress(KeyboardInterrupt):
            try:
                send(signal.SIGINT)
            finally:
                stopping.append(TERMINATING.is_set())
        stopping.append(TERMINATING.is_set())
        try:
            send(signal.SIGTERM)
        finally:
            stopping.append(TERMINATING.is_set())

    stopping: list[bool] = []
    assert ended_by(work) == signal.SIGTERM
    assert stopping == [True, False, True]
    assert not TERMINATING.is_set()


def test_an_interrupt_that_became_another_exception_still_stops_tools() -> None:
    stopping: list[bool] = []

    def work() -> None:
        try:
            try:
                send(signal.SIGINT)
            except KeyboardInterrupt:
                raise ValueError("another") from None
        finally:
            stopping.append(TERMINATING.is_set())

    with pytest.raises(ValueError, match="another"), unwinding_on_signals():
        work()
    assert stopping == [True]


def test_after_a_signal_that_somebody_dropped_clean_up_is_still_not_broken_off() -> None:
    done: list[str] = []

    @uninterruptible
    def clean_up() -> None:
        send(signal.SIGTERM)
        done.append("all of it")

    def work() -> None:
        with suppress(KeyboardInterrupt):
            send(signal.SIGINT)
        clean_up()
        time.sleep(LONG)

    assert ended_by(work) == signal.SIGTERM
    assert done == ["all of it"]


def test_a_process_is_still_unwound_when_its_interrupt_became_another_exception() -> None:
    done: list[str] = []

    def work() -> None:
        try:
            try:
                send(signal.SIGINT)
            except KeyboardInterrupt:
                raise ValueError("another") from None
        finally:
            send(signal.SIGTERM)
            done.append("cleaned up")

    with pytest.raises(ValueError, match="another"), unwinding_on_signals():
        work()
    assert done == ["cleaned up"]


def test_a_signal_that_is_held_to_the_end_is_passed_on_to_who_handled_it_before() -> None:
    passed_on: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: passed_on.append(number))
    try:
        with unwinding_on_signals():
            uninterruptible(lambda: send(signal.SIGTERM))()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert passed_on == [signal.SIGTERM]


def test_a_signal_that_is_ignored_from_outside_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with unwinding_on_signals():
        send(signal.SIGHUP)


@contextmanager
@uninterruptible
def taken(open_now: set[str], name: str) -> Iterator[None]:
    open_now.add(name)
    try:
        yield
    finally:
        open_now.remove(name)


def test_what_was_entered_is_left_wherever_the_signal_comes() -> None:
    open_now: set[str] = set()

    def work() -> None:
        with taken(open_now, "a"), ExitStack() as stack:
            stack.enter_context(taken(open_now, "b"))
            stack.enter_context(taken(open_now, "c"))
            open_now.copy()

    interrupted(work, -1, ["contextlib.py", __file__])
    raised = 0
    for at in count():
        one = interrupted(work, at, ["contextlib.py", __file__])
        assert not open_now, one.where
        raised += one.raised
        if not one.where:
            break
    assert at > 50
    assert raised == at, "no signal is lost"


def test_the_points_are_those_at_which_a_careless_function_loses_what_it_took() -> None:
    open_now: set[str] = set()

    def work() -> None:
        open_now.add("a")
        len("here it is lost")
        open_now.remove("a")

    interrupted(work, -1, [__file__])
    lost = []
    for at in range(interrupted(work, -1, [__file__]).points):
        one = interrupted(work, at, [__file__])
        lost += [one.where] * bool(open_now)
        open_now.clear()
    assert lost


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in NUMBERS]


def open_run() -> IncrementalRun:
    return IncrementalRun(target=FakeTarget(), stack=STACK, profile="core", emit=lambda event: None)


def test_signals_are_handled_while_a_session_is_open_and_as_before_afterwards() -> None:
    before = handlers()
    with open_run() as run:
        assert handlers() == before
        assert run.session
        assert not set(map(id, handlers())) & set(map(id, before))
    assert handlers() == before


def test_this_python_has_every_function_of_the_standard_library_in_which_signals_are_held() -> None:
    assert {name for module, name in signals._HELD_IN if signals._code_of(module, name) is None} == set()
    assert "gotit" in threading.Condition.wait.__code__.co_varnames


def test_a_function_that_another_python_does_not_have_is_left_out() -> None:
    assert signals._code_of(threading, "Condition._no_such_function") is None
    assert signals._code_of(threading, "_NoSuchClass.wait") is None


@pytest.mark.parametrize("mark", [uninterruptible, interruptible])
def test_a_mark_above_another_decorator_is_refused(mark: Callable[[object], object]) -> None:
    @contextmanager
    def wrapped() -> Iterator[None]:
        yield

    with pytest.raises(DeclarationError, match=r"marks .*wrapped.*\n  remedy: put @\w+ directly before `def`"):
        mark(wrapped)
    with pytest.raises(DeclarationError, match="marks"):
        mark(property(lambda self: None))


def test_a_signal_that_is_held_where_no_thread_can_be_started_is_raised_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)

    def work() -> None:
        uninterruptible(lambda: send(signal.SIGTERM))()
        send(signal.SIGINT)

    assert ended_by(work) == signal.SIGTERM


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
