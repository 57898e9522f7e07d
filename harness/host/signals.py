"""Ending on a signal: SIGINT, SIGTERM and SIGHUP unwind the process, so that every ``with`` block cleans up what it started.

A signal becomes an exception in the main thread, wherever it is. That is right for code that waits, and wrong where it would lose what was
just started or break off its clean-up. There the signal is held, and raised within milliseconds once the main thread is out:

* in a function marked :func:`uninterruptible` and in all that it calls, except for what is marked :func:`interruptible` within, such as the
  long waits of a start. The marks count while they are on the stack. So a generator is held while it runs, not while it is suspended: a
  context manager made of one is protected, and the block under it is interruptible.
* in all that runs when a context manager of ``contextlib`` is left, ``ExitStack`` included, and in finalizers;
* in ``__enter__``, ``__exit__`` and ``contextlib`` themselves, though not in what they call: what was entered is certain to be left;
* while a module is imported, by Python or by its C code, which makes other exceptions of one;
* while ``subprocess`` starts a process: what was started is known;
* where ``threading`` has let go of a lock and not begun to wait, or has waited and not taken it again.

An exception is raised once. What Python swallows ("Exception ignored in …", from finalizers and callbacks) is raised again; but once the
process unwinds, further signals change nothing, because cleaning up takes seconds and must not be broken off.

Windows that stay open, and what finishes the work there:

* Before the handlers are set, from exec to the end of the imports, a signal does what it does to any process: nothing was started yet.
  After they are taken away everything is stopped.
* CPython looks for signals before a blocking call and when one interrupts it, not in between. A signal that comes in between is noticed
  when the call ends. Waits of the main thread have deadlines or look again, so that this is a delay and no loss.
* SIGKILL, a crash of the machine: the run's journal (``host.journal``) says what was started. The next run, or
  ``trivet doctor --clean``, removes it.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, TypeVar

from trivet.errors import DeclarationError

Function = TypeVar("Function", bound=Callable[..., Any])

ENDING = threading.Event()
"""Set while a signal that asked this process to end unwinds it: what waits for a tool in another thread gives up."""

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REMINDED = 0.02
"""Seconds between two attempts to raise a signal that is held."""

_HELD_IN = (
    (contextlib, "_GeneratorContextManager.__exit__"),
    (contextlib, "ExitStack.__exit__"),
    (contextlib, "closing.__exit__"),
    (subprocess, "Popen.__init__"),
    (importlib, "_bootstrap._find_and_load"),
    (threading, "Condition._release_save"),
    (threading, "Condition._acquire_restore"),
)
"""Functions of the standard library in which signals are held. Some are private: a Python without one has one more open window."""


def _code_of(module: ModuleType, name: str) -> CodeType | None:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    code = getattr(found, "__code__", None)
    return code if isinstance(code, CodeType) else None


_held_in: set[CodeType] = {code for module, name in _HELD_IN if (code := _code_of(module, name))}
_raised_in: set[CodeType] = set()
_OWN_CODE = ("__enter__", "__exit__")


class Signalled(KeyboardInterrupt):
    """A signal that asked the process to end, by its number. Unwinds like Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(f"{signal.Signals(number).name} asked for the end")
        self.number = number


def uninterruptible(function: Function) -> Function:
    """Mark a function: signals are held until it has returned, or a generator function: while it runs between two yields."""
    _held_in.add(_own_code(function, "uninterruptible"))
    return function


def interruptible(function: Function) -> Function:
    """Mark a function that waits long and may be left at any point: signals are raised in it, even below one that is uninterruptible."""
    _raised_in.add(_own_code(function, "interruptible"))
    return function


def _own_code(function: Callable[..., Any], mark: str) -> CodeType:
    # The code of a wrapper is shared by all that one decorator makes.
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        name = getattr(function, "__qualname__", repr(function))
        raise DeclarationError(
            f"@{mark} marks {name}, which is not the function itself but what a decorator made of it",
            remedy=f"put @{mark} directly before `def`, below @contextmanager and other decorators",
        )
    return function.__code__


@contextlib.contextmanager
def unwinding_on_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Signalled in the block, once; at its end they do again what they did before.

    A signal that is held until the end of the block is passed on to who handled it before. One that is ignored from outside, such as by
    nohup, stays ignored. Outside the main thread, which alone may handle signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in NUMBERS}
    heard = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    ending = _Ending(sys.unraisablehook)
    handle, swallowed = ending.handle, ending.swallowed
    try:
        sys.unraisablehook = swallowed
        for number in heard:
            signal.signal(number, handle)
        yield
    finally:
        ending.close()
        for number in heard:
            if signal.getsignal(number) is handle:
                signal.signal(number, before[number])
        if sys.unraisablehook is swallowed:
            sys.unraisablehook = ending.hook
        ENDING.clear()
        if ending.held is not None:
            signal.raise_signal(ending.held)


uninterruptible(unwinding_on_signals.__wrapped__)  # type: ignore[attr-defined]


class _Ending:
    """The first signal that came, and what became of it."""

    def __init__(self, hook: Callable[[sys.UnraisableHookArgs], object]) -> None:
        self.hook = hook
        self._number: int | None = None
        self._raised = False
        self._reminding = False
        self._closed = False
        self._sending = threading.Lock()

    @property
    def held(self) -> int | None:
        """The signal that came and was not raised."""
        return None if self._raised else self._number

    def close(self) -> None:
        """Raise nothing any more, and send no reminder."""
        with self._sending:
            self._closed = True

    @uninterruptible
    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal that interrupted ``frame``."""
        if self._raised:
            return
        self._number = number if self._number is None else self._number
        if self._closed:
            return
        if is_held(frame):
            self._remind()
            return
        self._raised = True
        ENDING.set()
        raise Signalled(self._number)

    @uninterruptible
    def swallowed(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Python's hook for exceptions that nobody can catch."""
        if isinstance(unraisable.exc_value, Signalled) and not self._closed:
            self._raised = False
            self._remind()
        else:
            self.hook(unraisable)

    def _remind(self) -> None:
        if not self._reminding:
            self._reminding = True
            # Not a threading.Thread: the main thread may be anywhere, also inside a lock that starting one takes.
            try:
                _thread.start_new_thread(self._send_what_is_held, ())
            except RuntimeError:
                # No thread can be started: the next signal raises the one that is held, or the end of the block passes it on.
                self._reminding = False

    def _send_what_is_held(self) -> None:
        while not self._closed:
            time.sleep(REMINDED)
            with self._sending:
                if not self._closed and self.held is not None:
                    signal.pthread_kill(threading.main_thread().ident or 0, self.held)


def is_held(frame: FrameType | None) -> bool:
    """Whether a signal that interrupts ``frame`` is held."""
    if frame is not None and (frame.f_code.co_name in _OWN_CODE or _glues(frame)):
        return True
    while frame is not None:
        if frame.f_code in _raised_in:
            return False
        if frame.f_code in _held_in or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _glues(frame: FrameType) -> bool:
    """Whether it hands what was entered, a process that was started, or a lock that was let go, to who leaves, ends or takes it."""
    code = frame.f_code
    if code is threading.Condition.wait.__code__:
        # ``gotit`` is assigned just before its ``try`` statement. A Python that has no such variable is not held here at all.
        return "gotit" in code.co_varnames and "gotit" not in frame.f_locals
    return code.co_filename == contextlib.contextmanager.__code__.co_filename or code is subprocess.run.__code__
