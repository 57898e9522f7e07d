"""Waiting for a tool to exit, until the run is stopped or the timeout is over."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from trivet.errors import PlatformError
from trivet.stacks.subprocesses import wait_for_exit

PRINTS = "print('done')"
RUNS_ON = "import time; time.sleep(60)"


def run(program: str, stop: threading.Event, timeout: float, ended: list[str] | None = None) -> str:
    def end() -> None:
        process.kill()
        if ended is not None:
            ended.append("ended")

    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        output, _ = wait_for_exit(
            process, what="make it", stop=stop, timeout=timeout, remedy="install a faster one", end=end
        )
    return output


def test_the_output_of_a_tool_that_exits_is_returned_and_the_tool_is_not_ended() -> None:
    ended: list[str] = []
    assert run(PRINTS, threading.Event(), 60, ended) == "done\n"
    assert not ended


def test_stopping_the_run_ends_the_tool() -> None:
    stop = threading.Event()
    stop.set()
    ended: list[str] = []
    with pytest.raises(PlatformError, match="cannot make it: the run is stopping"):
        run(RUNS_ON, stop, 60, ended)
    assert ended == ["ended"]


def test_a_tool_that_takes_too_long_is_ended_and_the_error_has_a_remedy() -> None:
    ended: list[str] = []
    with pytest.raises(
        PlatformError, match=r"cannot make it: timed out after 0 s waiting for python\S* to exit"
    ) as caught:
        run(RUNS_ON, threading.Event(), 0, ended)
    assert caught.value.remedy == "install a faster one"
    assert ended == ["ended"]
