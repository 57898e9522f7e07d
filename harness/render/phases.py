"""The phases of creating a cluster, as a table with bars, because phases overlap."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trivet.model.events import Emit, Event, PhaseEnded

WIDTH = 40
SHORTEST = 0.5
"""Seconds; shorter phases are not shown."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A finished phase; times are seconds since the start."""

    name: str
    began: float
    ended: float


class Stopwatch:
    """Passes events on and records when phases began and ended."""

    def __init__(self, emit: Emit, clock: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._clock = clock
        self._began = clock()
        self.phases: list[Phase] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, PhaseEnded):
            ended = self._clock() - self._began
            self.phases.append(Phase(name=event.name, began=max(0.0, ended - event.seconds), ended=ended))
        self._emit(event)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began


def timetable(phases: Sequence[Phase], total: float) -> str:
    """One line per phase, in the order of their starts: seconds, name, and a bar from its start to its end."""
    shown = sorted(
        (one for one in phases if one.ended - one.began >= SHORTEST), key=lambda one: (one.began, -one.ended)
    )
    width = max((len(one.name) for one in shown), default=0)
    per = WIDTH / total if total else 0.0
    lines = []
    for one in shown:
        before = int(one.began * per)
        bar = "#" * max(1, round((one.ended - one.began) * per))
        lines.append(
            f"{one.ended - one.began:7.1f} s  {one.name:<{width}}  {'.' * before}{bar}"[: 13 + width + WIDTH + 1]
        )
    return "\n".join([*lines, f"{total:7.1f} s  total"])
