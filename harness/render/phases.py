"""The phases of creating a cluster, as a table with bars, because phases overlap."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from trivet.model.events import Emit, Event, PhaseEnded
from trivet.model.report import Phase

WIDTH = 40
SHORTEST = 0.5
"""Seconds; shorter phases are not shown."""


class Stopwatch:
    """Passes events on and records the phases that have ended."""

    def __init__(self, emit: Emit, clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._began = clock()
        self.phases: list[Phase] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, PhaseEnded):
            ended = self._clock() - self._began
            started = max(0.0, ended - event.seconds)
            self.phases.append(Phase(name=event.name, started=started, seconds=ended - started))
        self._emit(event)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began


def timetable(phases: Sequence[Phase], total: float) -> str:
    """One line per phase, in the order of their starts: seconds, name, and a bar from its start to its end."""
    shown = sorted((one for one in phases if one.seconds >= SHORTEST), key=lambda one: (one.started, -one.seconds))
    width = max((len(one.name) for one in shown), default=0)
    per = WIDTH / total if total else 0.0
    lines = []
    for one in shown:
        before = int(one.started * per)
        bar = "#" * max(1, round(one.seconds * per))
        lines.append(f"{one.seconds:7.1f} s  {one.name:<{width}}  {'.' * before}{bar}"[: 13 + width + WIDTH + 1])
    return "\n".join([*lines, f"{total:7.1f} s  total"])
