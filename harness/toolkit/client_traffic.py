"""What clients observed: which requests were lost, how long an outage was, and the timeline in buckets of a second."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from trivet.errors import CannotTell, TrivetError
from trivet.integration import v2_values
from trivet.model.scenario import Gauge, Mark, Timeline, TrafficBucket, Workload
from trivet.model.traffic import Answer
from trivet.toolkit.comparison import same_values


@dataclass(frozen=True, kw_only=True)
class Outage:
    """The requests that clients lost in a window of the traffic.

    ``lost`` of ``requests`` got no correct answer within the client timeout: ``errors`` of them failed (HTTP error, no connection, wrong
    value), the others were answered too late. ``seconds`` is the time from the first lost request to the last one, by when they were
    due, plus one interval; 0 for none. ``stall`` is the longest latency, of unanswered requests too. ``first`` describes the first lost
    request.
    """

    requests: int
    lost: int
    errors: int
    seconds: float
    stall: float
    first: str = ""

    def __str__(self) -> str:
        if not self.lost:
            return f"none of {self.requests} requests lost, the slowest answered after {self.stall:.1f} s"
        return (
            f"{self.lost} of {self.requests} requests lost over {self.seconds:.1f} s ({self.errors} failed, "
            f"{self.lost - self.errors} too late), the slowest after {self.stall:.1f} s; first lost request: {self.first}"
        )


def answered_by(answer: Answer, models: Mapping[str, Sequence[Any]]) -> str:
    """The model that gave an answer, by its values; ``service`` where ``models`` is empty; empty for an error or a wrong value."""
    if answer.status != 200:
        return ""
    if not models:
        return "service"
    try:
        values = v2_values(answer.body)
    except TrivetError:
        return ""
    return next((name for name, expected in models.items() if same_values(values, expected)), "")


def is_lost(answer: Answer, workload: Workload) -> bool:
    """Whether the request failed, got a wrong value, or was answered after the client timeout."""
    return answer.seconds > workload.client_timeout or not answered_by(answer, workload.models)


def all_known(answers: Sequence[Answer], workload: Workload, ends: float) -> bool:
    """Whether every request that was due until ``ends`` is among ``answers``, which are in the order in which they were due.

    Requests are due at a steady rate, so that one in flight shows as a gap before a later one.
    """
    due = [answer.at for answer in answers]
    later = next((number for number, at in enumerate(due) if at > ends), None)
    return later is not None and all(after - at < 1.5 / workload.rate for at, after in pairwise(due[: later + 1]))


def outage(answers: Sequence[Answer], workload: Workload) -> Outage:
    """The requests lost among ``answers``. Raises CannotTell when there are none: without requests an outage is unknown."""
    if not answers:
        raise CannotTell("no request was due in the window: whether any would have been lost is unknown")
    lost = [answer for answer in answers if is_lost(answer, workload)]
    return Outage(
        requests=len(answers),
        lost=len(lost),
        errors=sum(not answered_by(answer, workload.models) for answer in lost),
        seconds=round(lost[-1].at - lost[0].at + 1 / workload.rate, 3) if lost else 0.0,
        stall=round(max(answer.seconds for answer in answers), 3),
        first=_described(lost[0], workload) if lost else "",
    )


def _described(lost: Answer, workload: Workload) -> str:
    """A lost request in words; the body of a correct but late answer is not quoted."""
    model = answered_by(lost, workload.models)
    return (
        f"answered by {model} after {lost.seconds:.1f} s, client timeout {workload.client_timeout:g} s"
        if model
        else str(lost)
    )


def timeline(
    answers: Sequence[Answer],
    workload: Workload | None,
    *,
    began: float,
    ended: float,
    marks: Mapping[str, float],
    gauges: Mapping[str, Sequence[tuple[float, Mapping[str, float]]]],
) -> Timeline:
    """The timeline from ``began`` to ``ended`` (``time.monotonic``), in buckets of a second.

    Seconds without a request have a bucket too, so that a gap in the traffic shows.
    """
    by_second: dict[int, list[Answer]] = {}
    for answer in answers:
        by_second.setdefault(math.floor(answer.at - began), []).append(answer)
    buckets = []
    if workload and by_second:
        for at in range(min(by_second), max(by_second) + 1):
            due = by_second.get(at, [])
            good = Counter(
                name
                for answer in due
                if (name := answered_by(answer, workload.models)) and not is_lost(answer, workload)
            )
            took = [answer.seconds for answer in due] or [0.0]
            buckets.append(
                TrafficBucket(
                    at=at,
                    requests=len(due),
                    lost=sum(is_lost(answer, workload) for answer in due),
                    median_seconds=round(median(took), 3),
                    max_seconds=round(max(took), 3),
                    answers={name: good[name] for name in workload.models or good},
                )
            )
    return Timeline(
        rate=workload.rate if workload else 0.0,
        client_timeout=workload.client_timeout if workload else 0.0,
        buckets=tuple(buckets),
        marks=tuple(Mark(at=round(at - began, 3), name=name) for name, at in marks.items() if at <= ended),
        gauges=tuple(
            Gauge(name=name, points=tuple((round(at - began, 3), dict(values)) for at, values in points))
            for name, points in gauges.items()
        ),
    )
