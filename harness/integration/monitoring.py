"""PromQL for alert rules and dashboards: how many inference requests there are, how many fail, how long they take.

The series are those of a source of :mod:`trivet.integration.request_metrics`, MLServer's REST server unless another one is passed. Every
query counts inference requests only, as far as the source tells them apart: readiness probes are requests too, with status 400 while a
model loads. A canary is judged by :func:`trivet.integration.request_metrics.read_window`, not by rates.
"""

from __future__ import annotations

import math

from trivet.errors import UsageError
from trivet.integration.request_metrics import MLSERVER_REST, Counter, RequestSource


def requests_total_query(
    name: str, namespace: str, *, revision: str | None = None, status: str = "", source: RequestSource = MLSERVER_REST
) -> str:
    """The query for the number of inference requests answered since the pods started. ``status`` is a regular expression on the HTTP
    status."""
    return _sum(source, source.requests, name, namespace, revision, where=_status(source, status))


def durations_total_query(
    name: str, namespace: str, *, revision: str | None = None, source: RequestSource = MLSERVER_REST
) -> str:
    """The query for the number of requests in the latency histogram. Raises UsageError for a source without one."""
    counter = Counter(name=f"{_duration(source)}_count", where=source.duration_where)
    return _sum(source, (counter,), name, namespace, revision)


def request_rate_query(
    name: str,
    namespace: str,
    *,
    revision: str | None = None,
    window: str = "5m",
    source: RequestSource = MLSERVER_REST,
) -> str:
    """The query for inference requests per second."""
    return _sum(source, source.requests, name, namespace, revision, window=window)


def error_rate_query(
    name: str,
    namespace: str,
    *,
    revision: str | None = None,
    window: str = "5m",
    status: str = "",
    source: RequestSource = MLSERVER_REST,
) -> str:
    """The query for the fraction of inference requests, 0 to 1, that end with a server error, or with a ``status`` (a regular expression).

    Without requests it has no series or NaN, never 0. Raises UsageError for a source that counts no errors.
    """
    if not status and not source.errors:
        raise UsageError(f"{source.title} counts no errors", remedy="use the queue-proxy's or the mesh's source")
    counters = source.requests if status else source.errors
    errors = _sum(source, counters, name, namespace, revision, window=window, where=_status(source, status))
    every = request_rate_query(name, namespace, revision=revision, window=window, source=source)
    # A service without errors has no series of errors; if it has requests, its rate is 0.
    return f"({errors} or 0 * {every}) / ({every} > 0)"


def latency_query(
    name: str,
    namespace: str,
    *,
    quantile: float = 0.99,
    revision: str | None = None,
    window: str = "5m",
    source: RequestSource = MLSERVER_REST,
) -> str:
    """The query for a quantile of the latency in seconds, as precise as the buckets of the histogram. Raises UsageError for a source
    without one."""
    selector = source.selector(namespace, service=name, revision=revision, where=source.duration_where)
    buckets = f"sum by (le) (rate({_duration(source)}_bucket{selector}[{window}]))"
    found = f"histogram_quantile({quantile:g}, {buckets})"
    return found if source.unit == 1 else f"{found} * {source.unit:g}"


def sample_value(value: float) -> float | None:
    """A sample of Prometheus; None for NaN, which a rate or quantile without data is."""
    return None if math.isnan(value) else value


def _sum(
    source: RequestSource,
    counters: tuple[Counter, ...],
    name: str,
    namespace: str,
    revision: str | None,
    *,
    window: str = "",
    where: str = "",
) -> str:
    """The sum of counters, or of their rates in a ``window``. One without series is 0 if another one has some."""
    terms = []
    for counter in counters:
        matchers = ",".join(part for part in (counter.where, where) if part)
        selected = counter.name + source.selector(namespace, service=name, revision=revision, where=matchers)
        terms.append(f"sum(rate({selected}[{window}]))" if window else f"sum({selected})")
    if len(terms) == 1:
        return terms[0]
    total = ""
    for counter, term in zip(counters, terms, strict=True):
        others = " or ".join(f"0 * {other}" for other in terms if other != term)
        total += f"{(' - ' if counter.subtracted else ' + ') if total else ''}({term} or {others})"
    return f"({total})"


def _status(source: RequestSource, status: str) -> str:
    if status and not source.status_label:
        raise UsageError(f"{source.title} has no label with the HTTP status", remedy="leave out status")
    return f'{source.status_label}=~"{status}"' if status else ""


def _duration(source: RequestSource) -> str:
    if not source.duration:
        raise UsageError(f"{source.title} has no latency histogram", remedy="use another source of request metrics")
    return source.duration
