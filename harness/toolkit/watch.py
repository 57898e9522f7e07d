"""Watching a variant: marks, the slice of the traffic since the fault, gauges, and waiting with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

from trivet.errors import CannotTell, TrivetError
from trivet.model.clients import Background, TrafficClient
from trivet.model.scenario import Case, Timeline, Workload
from trivet.model.traffic import Answer
from trivet.toolkit.client_traffic import Outage, all_known, outage, timeline

T = TypeVar("T")

POLL = 0.5
SAMPLED = 1.0
"""Seconds between two looks at a condition, and between two samples of a gauge."""

FAULT, EFFECT, REVERT, RECOVERED = "fault", "in effect", "revert", "all well again"


class Watch:
    """What a symptom has to go by. Times are of ``time.monotonic``."""

    def __init__(self, case: Case, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._case = case
        self._workload: Workload | None = None
        self._background: Background | None = None
        self._over = False
        self._clock = clock
        self._marks: dict[str, float] = {}
        self._samples: dict[str, list[tuple[float, Mapping[str, float]]]] = {name: [] for name in case.gauges}
        self.began = clock()
        self.deadline = float("inf")
        """When the budget of the symptom ends."""

    def mark(self, name: str) -> float:
        """Name this moment, on the timeline too, and return it."""
        self._marks[name] = self._clock()
        return self._marks[name]

    def since(self, name: str) -> float:
        """The time of a mark."""
        return self._marks[name]

    @property
    def left(self) -> float:
        """Seconds of the symptom's budget that are left."""
        return self.deadline - self._clock()

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` of traffic go by. Raises CannotTell when the budget does not allow it."""
        if seconds > self.left:
            raise CannotTell(f"{seconds:g} s of watching do not fit into the {max(0.0, self.left):.0f} s that are left")
        time.sleep(seconds)

    def until(self, what: str, look: Callable[[], T | None], *, seconds: float | None = None) -> T:
        """The first answer of ``look`` that is not None. Raises CannotTell after ``seconds``, or at the end of the budget."""
        return until(what, look, seconds=min(self.left, self.left if seconds is None else seconds))

    @contextmanager
    def sending(self, traffic: TrafficClient, workload: Workload) -> Iterator[None]:
        """Requests until the end of the block, which waits for those under way: what is known of clients is known by them.

        For a case without a flow, whose service is only there, or only to be asked, under the fault.
        """
        with traffic.background(
            workload.service, workload.request, rate=workload.rate, timeout=_timeout(workload)
        ) as background:
            self._workload, self._background, self._over = workload, background, False
            yield
        self._over = True

    def answers(self, since: str = FAULT, before: str = "") -> list[Answer]:
        """The answers to the requests that were due since a mark, and before another one if that is named, as far as they are known by now:
        a request that stalls is not yet among them (see ``settle``). Raises CannotTell for none."""
        ends = self._marks[before] if before else float("inf")
        found = [answer for answer in self._all() if self._marks[since] <= answer.at < ends]
        if not found:
            raise CannotTell(f"no request was due since {since!r}, so that nothing is known of what clients saw")
        return found

    def outage(self, since: str = FAULT, before: str = "") -> Outage:
        """What clients lost since a mark, and before another one if that is named. Raises CannotTell when no request was due."""
        workload = self._sent()
        return outage(self.answers(since, before), workload)

    def settle(self, before: str = "") -> None:
        """Wait until it is known what became of every request that was due before a mark, or by now. Raises CannotTell when their time-outs
        are over and it is not."""
        workload = self._sent()
        ends = self._marks[before] if before else self._clock()
        until(
            f"what became of the requests that were due before {before or 'that moment'!r} is known",
            lambda: True if self._over or all_known(self._all(), workload, ends) else None,
            seconds=max(0.0, ends + _timeout(workload) + SAMPLED - self._clock()),
        )

    def timeline(self) -> Timeline | None:
        """Everything so far; None when there is nothing to show."""
        answers = self._all()
        if not answers and not any(self._samples.values()) and len(self._marks) < 2:
            return None
        return timeline(
            answers, self._workload, began=self.began, ended=self._clock(), marks=self._marks, gauges=self._samples
        )

    def sample(self) -> None:
        """Read every gauge once. One that cannot be read now is left out."""
        for name, read in self._case.gauges.items():
            with suppress(TrivetError):
                values = read()
                self._samples[name].append((self._clock(), dict(values)))

    def _sent(self) -> Workload:
        if self._workload is None:
            raise CannotTell("the scenario sends no requests, so that nothing is known of what clients saw")
        return self._workload

    def _all(self) -> list[Answer]:
        return list(self._background.answers) if self._background else []


def _timeout(workload: Workload) -> float:
    """Seconds after which a request ends that nobody answers: long after its client gave up, so that a stall is measured too."""
    return 3 * workload.client_timeout


@contextmanager
def watching(case: Case, traffic: TrafficClient | None) -> Iterator[Watch]:
    """Traffic and samples from the begin of the block to its end, which waits for requests that are under way."""
    watch = Watch(case)
    with ExitStack() as stack:
        if case.workload and traffic:
            stack.enter_context(watch.sending(traffic, case.workload))
        stack.enter_context(_sampling(watch))
        yield watch


@contextmanager
def _sampling(watch: Watch) -> Iterator[None]:
    ended = threading.Event()

    def sample() -> None:
        while not ended.is_set():
            watch.sample()
            ended.wait(SAMPLED)

    sampler = threading.Thread(target=sample, name="trivet-gauges", daemon=True)
    try:
        sampler.start()
        yield
    finally:
        ended.set()
        if sampler.is_alive():
            sampler.join()


def until(what: str, look: Callable[[], T | None], *, seconds: float) -> T:
    """The first answer of ``look`` that is not None. Raises CannotTell, saying ``what`` was waited for, after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise CannotTell(f"{what}: not so within {seconds:.0f} s")
        time.sleep(POLL)
