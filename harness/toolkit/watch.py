"""What a scenario observes a variant by: marks on its timeline, the traffic between two marks, gauges, and waiting with a deadline."""

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
from trivet.toolkit.waiting import eventually

T = TypeVar("T")

SAMPLED = 1.0
"""Seconds between two samples of a gauge."""

FAULT, INJECTED, REVERT, RECOVERED = "fault", "injected", "revert", "recovered"
"""The marks that every variant gets: before the fault is injected, once it is verified, before it is reverted, and once the steady state
is back."""
ALERT = "alert"
"""The mark of the moment when the incident's alert was seen to fire."""


class Watch:
    """One variant while it is played. Times are of ``time.monotonic``.

    ``refusal`` is why a gate refused the change that the fault would have made; empty when it was made.
    """

    def __init__(self, case: Case, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._case = case
        self._workload: Workload | None = None
        self._background: Background | None = None
        self._sent_all = False
        self._clock = clock
        self._marks: dict[str, float] = {}
        self._samples: dict[str, list[tuple[float, Mapping[str, float]]]] = {name: [] for name in case.gauges}
        self.refusal = ""
        self.began = clock()
        self.deadline = float("inf")
        """The end of the symptom's budget."""

    def mark(self, name: str) -> float:
        """Put a mark on the timeline now, and return its time."""
        self._marks[name] = self._clock()
        return self._marks[name]

    def since(self, name: str) -> float:
        """The time of a mark."""
        return self._marks[name]

    @property
    def left(self) -> float:
        """Seconds left of the symptom's budget."""
        return self.deadline - self._clock()

    def wait(self, seconds: float) -> None:
        """Wait for ``seconds`` of traffic. Raises CannotTell when fewer are left of the budget."""
        if seconds > self.left:
            raise CannotTell(
                f"observing for {seconds:g} s exceeds the symptom's budget, of which {max(0.0, self.left):.0f} s are left"
            )
        time.sleep(seconds)

    def eventually(
        self,
        what: str,
        look: Callable[[], T | None],
        *,
        timeout: float = float("inf"),
        until: Callable[[T], object] = bool,
        describe: Callable[[T | None], str] | None = None,
    ) -> T:
        """``trivet.toolkit.waiting.eventually`` within what is left of the symptom's budget, or ``timeout`` seconds if that is less."""
        return eventually(what, look, timeout=min(self.left, timeout), until=until, describe=describe)

    @contextmanager
    def sending(self, traffic: TrafficClient, workload: Workload) -> Iterator[None]:
        """Send requests until the end of the block, which waits for those in flight.

        For a case without a workload, whose service exists only under the fault, or gets requests only then.
        """
        with traffic.background(
            workload.service, workload.request, rate=workload.rate, timeout=_timeout(workload)
        ) as background:
            self._workload, self._background, self._sent_all = workload, background, False
            yield
        self._sent_all = True

    def answers(self, since: str = FAULT, before: str = "") -> list[Answer]:
        """The answers so far to the requests that were due since a mark, and before another one if that is named.

        A request in flight is not yet among them (see ``settle``). Raises CannotTell when there are none.
        """
        found = self.answers_so_far(since, before)
        if not found:
            raise CannotTell(f"no request was due since mark {since!r}: what clients observed is unknown")
        return found

    def answers_so_far(self, since: str = FAULT, before: str = "") -> list[Answer]:
        """:meth:`answers` for what polls: empty while there are none."""
        ends = self._marks[before] if before else float("inf")
        return [answer for answer in self._all() if self._marks[since] <= answer.at < ends]

    def outage(self, since: str = FAULT, before: str = "") -> Outage:
        """The requests lost since a mark, and before another one if that is named. Raises CannotTell when no request was due."""
        workload = self._sent()
        return outage(self.answers(since, before), workload)

    def settle(self, before: str = "") -> None:
        """Wait until every request that was due before a mark, or by now, is answered or lost.

        Raises CannotTell when some are still in flight after their timeout.
        """
        workload = self._sent()
        ends = self._marks[before] if before else self._clock()
        eventually(
            f"every request that was due before {f'mark {before!r}' if before else 'now'} to be answered or lost",
            lambda: self._sent_all or all_known(self._all(), workload, ends),
            timeout=max(0.0, ends + _timeout(workload) + SAMPLED - self._clock()),
            describe=lambda _: f"{sum(answer.at < ends for answer in self._all())} requests",
        )

    def timeline(self) -> Timeline | None:
        """The timeline so far; None when it would be empty."""
        answers = self._all()
        if not answers and not any(self._samples.values()) and len(self._marks) < 2:
            return None
        return timeline(
            answers, self._workload, began=self.began, ended=self._clock(), marks=self._marks, gauges=self._samples
        )

    def sample(self) -> None:
        """Read every gauge once. A gauge that cannot be read gets no sample."""
        for name, read in self._case.gauges.items():
            with suppress(TrivetError):
                values = read()
                self._samples[name].append((self._clock(), dict(values)))

    def _sent(self) -> Workload:
        if self._workload is None:
            raise CannotTell("the scenario sends no requests: what clients observed is unknown")
        return self._workload

    def _all(self) -> list[Answer]:
        return list(self._background.answers) if self._background else []


def _timeout(workload: Workload) -> float:
    """Seconds until an unanswered request is given up: three client timeouts, so that a stall can be measured."""
    return 3 * workload.client_timeout


@contextmanager
def watching(case: Case, traffic: TrafficClient | None) -> Iterator[Watch]:
    """Traffic and samples until the end of the block, which waits for requests in flight."""
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
