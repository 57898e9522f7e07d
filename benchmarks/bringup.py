"""A cluster from nothing, images being there: ``trivet up`` beside the same installation one component after the other.

The other side is what KServe's quick install and its readers do by hand (kserve 0.14.1 and 0.20.0, hack/quick_install.sh): each
component is applied, and waited for, before the next. Cluster, images and manifests are the same, so what differs is the order alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from sides import spread, table

from trivet.model.events import Event, PhaseEnded
from trivet.model.stack import Stack
from trivet.provision.kind import up as kind
from trivet.provision.kind.steps import InstallStep
from trivet.stacks.read import load_stack

STACK = "2024.11-fixed"
SHOWN = 5.0
"""Seconds; phases that take less are left out."""


@dataclass(frozen=True)
class Turn:
    """Seconds from nothing to a complete cluster, and of each phase by name."""

    seconds: float
    phases: dict[str, float]


def measure(scratch: Path, rounds: int) -> str:
    """The sides take turns; each deletes the cluster before and after."""
    source = kind.ImageSource(kind=os.environ.get("TRIVET_IMAGES", "pull"))
    stack = load_stack(STACK)
    turns: dict[str, list[Turn]] = {"trivet up": [], "one after the other": []}
    together = kind.read_steps
    for _ in range(rounds):
        for side, taken in turns.items():
            kind.down(stack, lambda event: None)
            kind.read_steps = together if side == "trivet up" else lambda *args: chained(together(*args))  # type: ignore[assignment]
            taken.append(turn(stack, source))
    kind.read_steps = together
    kind.down(stack, lambda event: None)
    rows = [["", "wall s", "ratio"]]
    first = turns["trivet up"]
    for side, taken in turns.items():
        ratio = median(one.seconds / other.seconds for one, other in zip(taken, first, strict=True))
        rows.append([side, spread([one.seconds for one in taken], 0), f"{ratio:.2f}"])
    longest = [["phase of `trivet up`", "takes s"]]
    for name in first[0].phases:
        if (seconds := median(one.phases.get(name, 0.0) for one in first)) >= SHOWN:
            longest.append([name, f"{seconds:.0f}"])
    return f"a cluster of {STACK} from nothing, images there, {rounds} rounds\n{table(rows)}\n\n{table(longest)}"


def turn(stack: Stack, source: kind.ImageSource) -> Turn:
    """One cluster from nothing."""
    phases: dict[str, float] = {}

    def note(event: Event) -> None:
        if isinstance(event, PhaseEnded):
            phases[event.name] = event.seconds
            print(f"  {event.name}: {event.seconds:.1f} s", file=sys.stderr)

    began = time.perf_counter()
    kind.up(stack, note, source)
    return Turn(time.perf_counter() - began, phases)


def chained(steps: Sequence[InstallStep]) -> list[InstallStep]:
    """The same steps, each of which begins when the one before it is ready."""
    before = [(), *((step.name,) for step in steps)]
    return [replace(step, needs=(*step.needs, *first)) for step, first in zip(steps, before, strict=False)]
