"""Clients of a service on a cluster, through the ingress: at a steady rate in the background, or a few at once up to a number.

The background client is open-loop: what is due is sent, whether or not earlier requests were answered, and the time of each counts from
when it was due. A client that waits for its answers sends nothing during a stall, and so does not see it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from trivet.errors import UsageError
from trivet.host.signals import interruptible, uninterruptible
from trivet.model.traffic import Answer, Stream

AT_ONCE = 128
"""Requests of a background client that may be under way; more would wait, which shows in their times."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a model is asked: the URL of its ``infer``, and the headers that lead there."""

    url: str
    headers: Mapping[str, str]


class Traffic:
    """Clients of services, by name; ``address`` finds where one is asked."""

    def __init__(self, address: Callable[[str], Address]) -> None:
        self._address = address

    def send(
        self, service: str, request: Mapping[str, Any], *, times: int, concurrency: int = 4, timeout: float = 30.0
    ) -> list[Answer]:
        """``times`` requests, ``concurrency`` of them under way at any moment."""
        client = _Client(self._address(service), request, timeout)
        with ThreadPoolExecutor(concurrency, thread_name_prefix="trivet-traffic") as pool:
            return list(pool.map(lambda _: client.ask(time.monotonic()), range(times)))

    @contextmanager
    @uninterruptible
    def background(
        self, service: str, request: Mapping[str, Any], *, rate: float, timeout: float = 60.0
    ) -> Iterator[BackgroundTraffic]:
        """``rate`` requests per second until the end of the block, which waits for what is under way."""
        if rate <= 0:
            raise UsageError(f"a rate of {rate:g} requests per second", remedy="give a rate above 0")
        flow = BackgroundTraffic(_Client(self._address(service), request, timeout), rate)
        flow.start()
        try:
            yield flow
        finally:
            flow.stop()


class BackgroundTraffic:
    """Requests under way at a steady rate."""

    def __init__(self, client: _Client, rate: float) -> None:
        self._client = client
        self._rate = rate
        self._marks: dict[str, float] = {}
        self._asked: list[Future[Answer]] = []
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="trivet-traffic")
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._tick, name="trivet-traffic-clock", daemon=True)

    def mark(self, name: str) -> float:
        """Name this moment and return it."""
        self._marks[name] = time.monotonic()
        return self._marks[name]

    @property
    def answers(self) -> list[Answer]:
        """What was answered, or lost, so far, in the order in which it was due."""
        return [asked.result() for asked in list(self._asked) if asked.done() and not asked.cancelled()]

    @property
    def stream(self) -> Stream:
        """The requests, answers and marks so far."""
        return Stream(
            request=self._client.request, rate=self._rate, answers=tuple(self.answers), marks=dict(self._marks)
        )

    def start(self) -> None:
        """Begin to send."""
        self._clock.start()

    @interruptible
    def stop(self) -> None:
        """Send nothing more, and wait for what is under way."""
        self._ended.set()
        self._clock.join()
        self._pool.shutdown(wait=True)

    def _tick(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self._asked.append(self._pool.submit(self._client.ask, due))
            due += 1 / self._rate


class _Client:
    def __init__(self, address: Address, request: Mapping[str, Any], timeout: float) -> None:
        self.request = request
        self._address = address
        self._timeout = timeout
        self._own = threading.local()

    def ask(self, due: float) -> Answer:
        """The answer to the request that was due at ``due``, whatever it was. Each thread keeps its connection, as real clients do."""
        session = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = requests.Session()
            session.trust_env = False
        try:
            got = session.post(
                self._address.url, json=self.request, headers=dict(self._address.headers), timeout=self._timeout
            )
        except requests.RequestException as error:
            return Answer(at=due, seconds=time.monotonic() - due, status=0, error=f"{type(error).__name__}: {error}")
        try:
            body: Any = got.json()
        except ValueError:
            body = got.text
        return Answer(at=due, seconds=time.monotonic() - due, status=got.status_code, body=body)
