"""What is seen on a cluster: admissions, reachability, conditions over time, metric series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What the API server, with its webhooks, said to a document without keeping it.

    ``stored`` is the object as it would be stored, defaults included; empty when it was refused, and ``message`` then says why.
    """

    admitted: bool
    stored: Mapping[str, Any]
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """One attempt to open a TCP connection from a pod.

    ``how`` is ``open``, ``refused`` (at once: nothing listens, or a policy rejects), ``dropped`` (no answer in time) or
    ``unresolved`` (no such name); anything but ``open`` means closed. ``seconds`` is wall time.
    """

    source: str
    host: str
    port: int
    how: str
    seconds: float

    @property
    def open(self) -> bool:
        """Whether the connection came about."""
        return self.how == "open"

    def __str__(self) -> str:
        """In one line."""
        return f"{self.source} → {self.host}:{self.port}: {self.how} after {self.seconds:.2f} s"


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """The status of an object at one moment (``at``: seconds since the epoch): condition type → ``True``, ``False`` or ``Unknown``.

    A history holds one for each change. ``status`` is the whole ``status`` of the object.
    """

    at: float
    conditions: Mapping[str, str]
    status: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One value of an instant query."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series of a range query: (seconds since the epoch, value), oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class ScrapeTarget:
    """One endpoint that Prometheus scrapes, with the last error when it is not up."""

    job: str
    url: str
    up: bool
    labels: Mapping[str, str]
    error: str = ""
