"""Measuring whole processes side by side: turns are interleaved, so that a busy minute hits every side, and the medians compared."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import BinaryIO, TypeVar

import psutil

Turn = TypeVar("Turn")


@dataclass(frozen=True)
class Spent:
    """Seconds of one process: on the clock, and of processors, its own children's included. ``output`` is all it printed."""

    wall: float
    cpu: float
    code: int
    output: str


def spend(command: Sequence[str], cwd: Path, codes: Sequence[int] = (0,), stdin: Path | None = None) -> Spent:
    """Run a command to its end, on the file ``stdin`` if there is one. Raises SystemExit when it exits with none of ``codes``."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file, _opened(stdin) as given:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, env=_environment(), stdin=given, stdout=file, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        output = file.read()
    if process.returncode not in codes:
        raise SystemExit(f"{command[0]} exited {process.returncode}:\n{output[-2000:]}")
    return Spent(wall, used.ru_utime + used.ru_stime, process.returncode, output)


def _opened(stdin: Path | None) -> BinaryIO:
    return (stdin or Path(os.devnull)).open("rb")


def first_line(command: Sequence[str], cwd: Path, stdin: Path | None = None) -> Spent:
    """What a command has spent when its first line of output is there, by itself and its children."""
    with _opened(stdin) as given:
        began = time.perf_counter()
        with subprocess.Popen(
            command,
            cwd=cwd,
            env=_environment(),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout
            line = process.stdout.readline()
            wall = time.perf_counter() - began
            cpu = sum(sum(one.cpu_times()[:2]) for one in _tree(process.pid))
            process.stdout.read()
    return Spent(wall, cpu, process.returncode, line)


def peak_memory(command: Sequence[str], cwd: Path, stdin: Path | None = None) -> int:
    """The most bytes of memory that a command and its children had together, pages that they share counted once (PSS).

    Of a run by itself: looking, every 20 ms, takes processor time.
    """
    peak = 0
    with _opened(stdin) as given:
        process = subprocess.Popen(
            command, cwd=cwd, env=_environment(), stdin=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None:
            peak = max(peak, sum(_pss(one) for one in _tree(process.pid)))
            time.sleep(0.02)
    return peak


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended
        return 0


def _environment() -> dict[str, str]:
    """This process's, in which Python keeps its bytecode: what every start compiles anew is no start that users see."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def interleaved(sides: Mapping[str, Callable[[], Turn]], rounds: int) -> dict[str, list[Turn]]:
    """``rounds`` turns of every side, A B C A B C …, after one of each that is not counted."""
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, turn in sides.items():
            taken = turn()
            if number:
                turns[name].append(taken)
    return turns


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the smallest and largest value."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, the first as the head; the first column is flush left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
