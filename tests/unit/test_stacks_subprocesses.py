"""Waiting for a tool: until it ends, the run ends, or patience does."""

from __future__ import annotations

import subprocess
import threading

import pytest

from trivet.errors import PlatformError
from trivet.stacks.subprocesses import ended


class Tool:
    """A tool that ends with status 0 after having been waited for a number of times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def wait(self, timeout: float) -> int:
        self.times -= 1
        if self.times >= 0:
            raise subprocess.TimeoutExpired("tool", timeout)
        return 0


def awaited(times: int, stop: threading.Event, seconds: float) -> int:
    return ended(
        Tool(times).wait, what="make it", tool="the tool", stop=stop, seconds=seconds, remedy="have a quicker one"
    )


def test_a_tool_that_ends_by_itself_gives_what_it_came_to() -> None:
    assert awaited(3, threading.Event(), 60) == 0


def test_the_end_of_the_run_ends_the_wait() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(PlatformError, match="could not make it: the run is ending"):
        awaited(1000, stop, 60)


def test_a_tool_that_takes_too_long_is_given_up_with_a_remedy() -> None:
    with pytest.raises(PlatformError, match="could not make it: the tool was still at it after 0 s") as caught:
        awaited(1000, threading.Event(), 0)
    assert caught.value.remedy == "have a quicker one"
