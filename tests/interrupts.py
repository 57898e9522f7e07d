"""Interrupting a piece of work at each point at which the interpreter looks for signals, one run of the work per point."""

from __future__ import annotations

import dis
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

from trivet.host import signals
from trivet.host.signals import unwinding_on_signals

LOOKS = ("RESUME", "CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "YIELD_VALUE", "SEND")
"""Instructions at whose end CPython looks for signals, or might in another version."""


@dataclass(frozen=True)
class Interrupted:
    """One run of the work: how many points it had, the point of the interrupt (empty: it was not come to), and whether it was raised."""

    points: int
    where: str
    raised: bool


def interrupted(work: Callable[[], object], at: int, files: Sequence[str]) -> Interrupted:
    """Run ``work`` under ``unwinding_on_signals`` with a SIGINT at its point number ``at``; -1 for none.

    Points are those of frames whose file has one of ``files`` in its path. An Exception of the work goes through. From Python 3.12 on
    the opcodes of a function are traced from its second call: run the work once before its points are counted.
    """
    points, where = 0, ""

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        if path in (__file__, signals.__file__) or not any(name in path for name in files):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return look

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal points, where
        if event == "opcode" and frame.f_lasti in _after_looks(frame.f_code):
            points += 1
            if points - 1 == at:
                where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                handler = signal.getsignal(signal.SIGINT)
                assert callable(handler)
                handler(signal.SIGINT, frame)
        return look

    before = sys.gettrace()
    try:
        with unwinding_on_signals():
            # From Python 3.12 on, opcodes are traced only if that was asked for before tracing began.
            sys._getframe().f_trace_opcodes = True
            sys.settrace(enter)
            try:
                work()
            finally:
                sys.settrace(before)
    except KeyboardInterrupt:
        return Interrupted(points, where, True)
    return Interrupted(points, where, False)


@cache
def _after_looks(code: CodeType) -> frozenset[int]:
    """The offsets of instructions before which CPython has just looked for signals."""
    instructions = list(dis.get_instructions(code))
    return frozenset(following.offset for one, following in pairwise(instructions) if one.opname in LOOKS)
