"""Ending on a signal: what asks the process to end unwinds it, so that every ``with`` block cleans up what it started."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Signalled(KeyboardInterrupt):
    """A signal that asked the process to end, by its number. Unwinds like Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(f"{signal.Signals(number).name} asked for the end")
        self.number = number


@contextmanager
def unwinding_on_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Signalled in the block, once; at its end they do again what they did before.

    A second Ctrl-C must not break off the cleaning up, which takes seconds: once one was heard, all are ignored for good.

    A signal that is ignored from outside, such as by nohup, stays ignored. Outside the main thread, which alone may handle
    signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> NoReturn:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise Signalled(number)

    for number in heard:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in heard:
            if signal.getsignal(number) is end:
                signal.signal(number, before[number])
