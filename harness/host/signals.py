"""Terminates on signals: SIGINT, SIGTERM and SIGHUP unwind the process, so that every ``with`` block cleans up what it started.

A signal becomes an exception in the main thread, wherever it is. That is right for code that waits, and wrong where it would lose what was
just started or interrupt a clean-up. There the signal is held, and raised within milliseconds once the main thread has left the code:

* in a function marked :func:`uninterruptible` and in everything that it calls, except for functions marked :func:`interruptible` below it,
  such as the long waits of a start. The marks count while they are on the stack. A generator is therefore held while it runs, not while it
  is suspended: a context manager made from one is protected, and the block under it is interruptible.
* in everything that runs when a context manager of ``contextlib`` exits, including ``ExitStack``, and in finalizers;
* in ``__enter__``, ``__exit__`` and ``contextlib`` themselves, though not in what they call: every entered context is exited;
* while a module is imported, by Python or by its C code, which turns the exception into another one;
* while ``subprocess`` starts a process: every started process is known;
* where ``threading`` has released a lock and not started to wait, or has waited and not acquired the lock again.

The exception is raised once. When Python ignores it ("Exception ignored in …", from finalizers and callbacks), it is raised again. While it
unwinds the process, further signals are ignored, because clean-up takes seconds and must not be interrupted: as long as the exception
object exists, which every block that it passes, and every exception that is raised from it, refers to. When it no longer exists, somebody
caught it and went on (a debugger, ``except KeyboardInterrupt``), and the next signal is raised as the first one was.

Windows that remain, and what completes the work there:

* Before the handlers are set, from exec to the end of the imports, a signal has its default effect: nothing has been started yet.
  After they are removed, everything has been stopped.
* CPython checks for signals before a blocking call and when one interrupts it, not in between. A signal in between is noticed when the
  call ends. Waits of the main thread have timeouts or poll, so that the signal is delayed and not lost.
* Code that catches the exception and keeps it, in a variable or in a reference cycle, looks like code that is being unwound: signals are
  ignored until the object is deleted. SIGKILL ends such a process.
* SIGKILL, a crash of the machine: the run's journal (``host.journal``) has what was started. The next run, or
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
import weakref
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, TypeVar

from trivet.errors import DeclarationError

Function = TypeVar("Function", bound=Callable[..., Any])


class Termination:
    """Whether the process is being unwound by a signal, which threads that wait for a tool ask, so that they stop waiting."""

    # Not a threading.Event: it is set in signal handlers and when an exception is freed, where its lock may be held already.
    def __init__(self) -> None:
        self.unwinding = False
        """True from the moment a signal is raised until its exception no longer exists, or until the end of the block."""

    def is_set(self) -> bool:
        """That of ``unwinding``."""
        return self.unwinding


TERMINATING = Termination()
"""That of this process. When somebody has caught the exception and gone on, the process no longer terminates."""

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
    """A signal (``number``) that terminates the process. Unwinds like Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(f"terminated by {signal.Signals(number).name}")
        self.number = number


def uninterruptible(function: Function) -> Function:
    """Mark a function: signals are held until it returns. In a generator function they are held while it runs between two yields."""
    _held_in.add(_own_code(function, "uninterruptible"))
    return function


def interruptible(function: Function) -> Function:
    """Mark a function that waits long and may be interrupted anywhere: signals are raised in it, even below an uninterruptible one."""
    _raised_in.add(_own_code(function, "interruptible"))
    return function


def _own_code(function: Callable[..., Any], mark: str) -> CodeType:
    # All wrappers made by one decorator share one code object.
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        name = getattr(function, "__qualname__", repr(function))
        raise DeclarationError(
            f"@{mark} marks {name}, which is the wrapper of a decorator and not the function itself",
            remedy=f"put @{mark} directly before `def`, below @contextmanager and other decorators",
        )
    return function.__code__


@contextlib.contextmanager
def unwinding_on_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Signalled in the block, unless it is being unwound; after it the previous handlers are restored.

    A signal that is still held at the end of the block is passed to the previous handler. A signal that the process was started to ignore,
    as with nohup, stays ignored. Outside the main thread, the only one that can handle signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in NUMBERS}
    handled = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    state = _SignalState(sys.unraisablehook)
    handle, ignored = state.handle, state.ignored
    try:
        sys.unraisablehook = ignored
        for number in handled:
            signal.signal(number, handle)
        yield
    finally:
        state.close()
        for number in handled:
            if signal.getsignal(number) is handle:
                signal.signal(number, before[number])
        if sys.unraisablehook is ignored:
            sys.unraisablehook = state.hook
        TERMINATING.unwinding = False
        if state.held is not None:
            signal.raise_signal(state.held)


uninterruptible(unwinding_on_signals.__wrapped__)  # type: ignore[attr-defined]


class _SignalState:
    """The signal that is held, and the exception that was raised last."""

    def __init__(self, hook: Callable[[sys.UnraisableHookArgs], object]) -> None:
        self.hook = hook
        self.held: int | None = None
        """The first signal that was received and is not raised yet."""
        self._raised: weakref.ref[Signalled] | None = None
        self._reminding = False
        self._closed = False
        self._sending = threading.Lock()

    def close(self) -> None:
        """Raise no further exception, and send no further signal."""
        with self._sending:
            self._closed = True

    @uninterruptible
    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal that interrupted ``frame``."""
        if self._raised and self._raised():
            return
        self.held = number if self.held is None else self.held
        if self._closed:
            return
        if is_held(frame):
            self._remind()
            return
        raise self._exception()

    def _exception(self) -> Signalled:
        # Made here, because a variable of a frame in the exception's traceback would keep the exception alive.
        error = Signalled(self.held or signal.SIGINT)
        self._raised, self.held = weakref.ref(error, self._no_longer_unwinding), None
        TERMINATING.unwinding = True
        return error

    @uninterruptible
    def _no_longer_unwinding(self, raised: weakref.ref[Signalled]) -> None:
        if raised is self._raised:
            TERMINATING.unwinding = False

    @uninterruptible
    def ignored(self, unraisable: sys.UnraisableHookArgs) -> None:
        """``sys.unraisablehook``: raise the signal again when Python ignored its exception."""
        if isinstance(unraisable.exc_value, Signalled) and not self._closed:
            self._raised, self.held = None, unraisable.exc_value.number
            self._remind()
        else:
            self.hook(unraisable)

    def _remind(self) -> None:
        if not self._reminding:
            self._reminding = True
            # Not a threading.Thread: its start acquires locks that the interrupted main thread may hold.
            try:
                _thread.start_new_thread(self._send_what_is_held, ())
            except RuntimeError:
                # No thread can be started: the next signal raises the held one, or the end of the block passes it on.
                self._reminding = False

    def _send_what_is_held(self) -> None:
        while not self._closed:
            time.sleep(REMINDED)
            with self._sending:
                if not self._closed and (number := self.held) is not None:
                    signal.pthread_kill(threading.main_thread().ident or 0, number)


def is_held(frame: FrameType | None) -> bool:
    """Whether a signal that interrupts ``frame`` is held."""
    if frame is not None and (frame.f_code.co_name in _OWN_CODE or _hands_over(frame)):
        return True
    while frame is not None:
        if frame.f_code in _raised_in:
            return False
        if frame.f_code in _held_in or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _hands_over(frame: FrameType) -> bool:
    """Whether the code hands an entered context, a started process or a released lock to the code that exits, ends or acquires it."""
    code = frame.f_code
    if code is threading.Condition.wait.__code__:
        # ``gotit`` is assigned just before the ``try`` statement. In a Python without this variable, signals are not held here.
        return "gotit" in code.co_varnames and "gotit" not in frame.f_locals
    return code.co_filename == contextlib.contextmanager.__code__.co_filename or code is subprocess.run.__code__
