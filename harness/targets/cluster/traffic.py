"""Sends requests to an InferenceService through the ingress: a number of them, or at a constant rate in the background.

The background client is open-loop: each request is sent when it is due, whether or not earlier ones have a response, and its time counts
from when it was due. A closed-loop client sends nothing during a stall, and therefore does not measure it.
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

MAX_CONCURRENCY = 128
"""Maximum number of requests of a background client in flight; further ones wait, which their times include."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """The URL of a model's ``infer``, and the headers that route to it."""

    url: str
    headers: Mapping[str, str]


class Traffic:
    """The traffic client. ``address`` maps the name of an InferenceService to its address."""

    def __init__(self, address: Callable[[str], Address]) -> None:
        self._address = address

    def send(
        self, service: str, request: Mapping[str, Any], *, times: int, concurrency: int = 4, timeout: float = 30.0
    ) -> list[Answer]:
        """Send ``times`` requests, ``concurrency`` of them in flight at a time."""
        client = _Client(self._address(service), request, timeout)
        with ThreadPoolExecutor(concurrency, thread_name_prefix="trivet-traffic") as pool:
            return list(pool.map(lambda _: client.send(time.monotonic()), range(times)))

    @contextmanager
    @uninterruptible
    def background(
        self, service: str, request: Mapping[str, Any], *, rate: float, timeout: float = 60.0
    ) -> Iterator[BackgroundTraffic]:
        """Send ``rate`` requests per second until the end of the block, which waits for requests in flight."""
        if rate <= 0:
            raise UsageError(f"the rate is {rate:g} requests per second", remedy="use a rate above 0")
        traffic = BackgroundTraffic(_Client(self._address(service), request, timeout), rate)
        traffic.start()
        try:
            yield traffic
        finally:
            traffic.stop()


class BackgroundTraffic:
    """Requests that are sent at a constant rate in the background."""

    def __init__(self, client: _Client, rate: float) -> None:
        self._client = client
        self._rate = rate
        self._marks: dict[str, float] = {}
        self._futures: list[Future[Answer]] = []
        self._pool = ThreadPoolExecutor(MAX_CONCURRENCY, thread_name_prefix="trivet-traffic")
        self._stopped = threading.Event()
        self._clock = threading.Thread(target=self._tick, name="trivet-traffic-clock", daemon=True)

    def mark(self, name: str) -> float:
        """Record a mark at the current time and return the time."""
        self._marks[name] = time.monotonic()
        return self._marks[name]

    @property
    def answers(self) -> list[Answer]:
        """The answered and lost requests so far, ordered by the time at which they were due."""
        return [future.result() for future in list(self._futures) if future.done() and not future.cancelled()]

    @property
    def stream(self) -> Stream:
        """The requests, answers and marks so far."""
        return Stream(
            request=self._client.request, rate=self._rate, answers=tuple(self.answers), marks=dict(self._marks)
        )

    def start(self) -> None:
        """Start sending."""
        self._clock.start()

    @interruptible
    def stop(self) -> None:
        """Stop sending, and wait for requests in flight."""
        self._stopped.set()
        self._clock.join()
        self._pool.shutdown(wait=True)

    def _tick(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            self._futures.append(self._pool.submit(self._client.send, due))
            due += 1 / self._rate


class _Client:
    def __init__(self, address: Address, request: Mapping[str, Any], timeout: float) -> None:
        self.request = request
        self._address = address
        self._timeout = timeout
        self._thread = threading.local()

    def send(self, due: float) -> Answer:
        """Send the request that is due at ``due`` and return its result, also without a response. Each thread keeps its connection."""
        session = getattr(self._thread, "session", None)
        if session is None:
            session = self._thread.session = requests.Session()
            session.trust_env = False
        try:
            response = session.post(
                self._address.url, json=self.request, headers=dict(self._address.headers), timeout=self._timeout
            )
        except requests.RequestException as error:
            return Answer(at=due, seconds=time.monotonic() - due, status=0, error=f"{type(error).__name__}: {error}")
        try:
            body: Any = response.json()
        except ValueError:
            body = response.text
        return Answer(at=due, seconds=time.monotonic() - due, status=response.status_code, body=body)
