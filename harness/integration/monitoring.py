"""PromQL over the metrics that MLServer really has, for alert rules and for judging a canary.

They are on port 8082, path ``/metrics``; the annotation that KServe puts on the pods names another port. Every query counts inference
requests only: readiness probes are requests too, and answered 400 while a model loads (MLServer 1.5.0 and 1.7.1 mlserver/rest/app.py,
starlette_exporter with the prefix ``rest_server``, labels ``method``, ``path``, ``status_code``). The path is that of the route,
``/v2/models/{model_name}/infer``, and names no model. The scraping Prometheus is therefore expected to put ``namespace``,
``inferenceservice`` (the pods' label ``serving.kserve.io/inferenceservice``) and, for a canary, ``revision``
(``serving.knative.dev/revision``) on the series.
"""

from __future__ import annotations

import math

from trivet.errors import PlatformError

METRICS_PORT = 8082
METRICS_PATH = "/metrics"
REQUESTS = "rest_server_requests_total"
DURATION = "rest_server_request_duration_seconds"
INFER = "/v2/models/[^/]+/infer"


def requests_total(name: str, namespace: str, *, revision: str = "", status: str = "") -> str:
    """How many inference requests were answered since the pods started. ``status`` is a regular expression on the HTTP status."""
    return f"sum({REQUESTS}{_selector(name, namespace, revision, status)})"


def durations_total(name: str, namespace: str, *, revision: str = "") -> str:
    """How many requests the latency histogram holds."""
    return f"sum({DURATION}_count{_selector(name, namespace, revision)})"


def request_rate(name: str, namespace: str, *, revision: str = "", window: str = "5m") -> str:
    """Inference requests per second."""
    return f"sum(rate({REQUESTS}{_selector(name, namespace, revision)}[{window}]))"


def error_rate(name: str, namespace: str, *, revision: str = "", window: str = "5m", status: str = "5..") -> str:
    """The part of the inference requests, 0 to 1, that got a ``status``. No series, or NaN, without requests: never 0 for want of data."""
    errors = f"sum(rate({REQUESTS}{_selector(name, namespace, revision, status)}[{window}]))"
    every = request_rate(name, namespace, revision=revision, window=window)
    # A service without a single error has no series of errors; with requests that is a rate of 0.
    return f"({errors} or 0 * {every}) / ({every} > 0)"


def latency(name: str, namespace: str, *, quantile: float = 0.99, revision: str = "", window: str = "5m") -> str:
    """A quantile of the latency in seconds, as precise as the histogram's buckets."""
    buckets = f"sum by (le) (rate({DURATION}_bucket{_selector(name, namespace, revision)}[{window}]))"
    return f"histogram_quantile({quantile:g}, {buckets})"


def ask_prometheus(url: str, promql: str, *, timeout: float = 20.0) -> float | None:
    """The value of a query by the Prometheus at ``url`` now; None when there is no series, or no number: neither is a 0.

    Raises PlatformError when it does not answer, refuses the query, or has several series.
    """
    # Here, because who only writes alert rules need not wait for it.
    import requests

    try:
        answer = requests.get(f"{url.rstrip('/')}/api/v1/query", params={"query": promql}, timeout=timeout)
        body = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise PlatformError(
            f"Prometheus at {url} does not answer: {error}", remedy="pass the URL below which it has /api/v1/query"
        ) from error
    if body.get("status") != "success":
        raise PlatformError(f"Prometheus at {url} refuses {promql!r}: {body.get('error', answer.status_code)}")
    found = body["data"]["result"]
    if len(found) > 1:
        raise PlatformError(f"{promql!r} has {len(found)} values", remedy="sum over what is not asked for")
    return number(float(found[0]["value"][1])) if found else None


def number(value: float) -> float | None:
    """A value of Prometheus; None for NaN, which is what a rate or quantile over nothing is."""
    return None if math.isnan(value) else value


def _selector(name: str, namespace: str, revision: str, status: str = "") -> str:
    labels = {"namespace": f'="{namespace}"', "inferenceservice": f'="{name}"', "path": f'=~"{INFER}"'}
    if revision:
        labels["revision"] = f'="{revision}"'
    if status:
        labels["status_code"] = f'=~"{status}"'
    return "{" + ",".join(f"{key}{value}" for key, value in labels.items()) + "}"
