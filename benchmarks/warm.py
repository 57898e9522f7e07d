"""A warm ``trivet run`` of every shipped stack, from the command to the verdict, and where the time goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from sides import Spent, interleaved, spend, spread, table

from trivet.stacks.read import shipped_stacks

SHOWN = 0.1
"""Seconds; phases that take less are left out."""


@dataclass(frozen=True)
class Run:
    """One run: what the process took, and what its report says."""

    spent: Spent
    report: Mapping[str, Any]


def measure(scratch: Path, rounds: int) -> str:
    """The stacks take turns; the round that is not counted makes environments that are not there yet."""
    turns = interleaved({stack: partial(run, stack, scratch) for stack in shipped_stacks()}, rounds)
    rows = [["stack", "wall s", "CPU s", "contracts", "exit code"]]
    for stack, runs in turns.items():
        wall, cpu = (spread([getattr(each.spent, unit) for each in runs], 1) for unit in ("wall", "cpu"))
        codes = "/".join(sorted({str(each.spent.code) for each in runs}))
        rows.append([stack, wall, cpu, str(len(runs[0].report["contracts"])), codes])
    parts = "\n\n".join(table([[stack, "begins at s", "takes s"], *phases(runs)]) for stack, runs in turns.items())
    return f"a warm `trivet run`, {rounds} rounds: median (smallest–largest)\n{table(rows)}\n\n{parts}"


def run(stack: str, scratch: Path) -> Run:
    """One run with a report. Conformant or not, it must have come to a verdict."""
    trivet = str(Path(sys.executable).with_name("trivet"))
    folder = scratch / stack
    spent = spend([trivet, "run", "--stack", stack, "--report", str(folder)], scratch, codes=(0, 1))
    return Run(spent, json.loads((folder / "report.json").read_bytes()))


def phases(runs: Sequence[Run]) -> list[list[str]]:
    """The phases in order, medians; they overlap. What lies outside them comes last."""
    names = [phase["name"] for phase in sorted(runs[0].report["phases"], key=lambda phase: phase["started"])]
    rows = []
    for name in names:
        (begun, taken) = (
            median(p[field] for each in runs for p in each.report["phases"] if p["name"] == name)
            for field in ("started", "seconds")
        )
        if taken >= SHOWN:
            rows.append([name, f"{begun:.1f}", f"{taken:.1f}"])
    ends = [max(p["started"] + p["seconds"] for p in each.report["phases"]) for each in runs]
    judged = [each.report["provenance"]["seconds"] for each in runs]
    last = median(whole - end for whole, end in zip(judged, ends, strict=True))
    outside = median(each.spent.wall - whole for each, whole in zip(runs, judged, strict=True))
    return [
        *rows,
        ["judging after the last phase", f"{median(ends):.1f}", f"{last:.1f}"],
        ["starting Python, stopping servers, writing reports", "", f"{outside:.1f}"],
    ]
