"""PromQL over the metrics that MLServer exports, for alert rules and for judging a canary.

MLServer serves them on port 8082 at ``/metrics``; the annotation that KServe puts on the pods names another port. Every query counts
inference requests only: readiness probes are requests too, with status 400 while a model loads (MLServer 1.5.0 and 1.7.1
mlserver/rest/app.py, starlette_exporter with the prefix ``rest_server``, labels ``method``, ``path``, ``status_code``). The label ``path``
holds the route, ``/v2/models/{model_name}/infer``, not the name of the model. Prometheus must therefore add ``namespace``,
``inferenceservice`` (the pods' label ``serving.kserve.io/inferenceservice``) and, for a canary, ``revision``
(``serving.knative.dev/revision``) to the series.
"""

from __future__ import annotations

import math

from trivet.errors import PlatformError

METRICS_PORT = 8082
METRICS_PATH = "/metrics"
REQUESTS = "rest_server_requests_total"
DURATION = "rest_server_request_duration_seconds"
INFER = "/v2/models/[^/]+/infer"


def requests_total_query(name: str, namespace: str, *, revision: str = "", status: str = "") -> str:
    """The query for the number of inference requests answered since the pods started. ``status`` is a regular expression on the HTTP
    status."""
    return f"sum({REQUESTS}{_selector(name, namespace, revision, status)})"


def durations_total_query(name: str, namespace: str, *, revision: str = "") -> str:
    """The query for the number of requests in the latency histogram."""
    return f"sum({DURATION}_count{_selector(name, namespace, revision)})"


def request_rate_query(name: str, namespace: str, *, revision: str = "", window: str = "5m") -> str:
    """The query for inference requests per second."""
    return f"sum(rate({REQUESTS}{_selector(name, namespace, revision)}[{window}]))"


def error_rate_query(name: str, namespace: str, *, revision: str = "", window: str = "5m", status: str = "5..") -> str:
    """The query for the fraction of inference requests, 0 to 1, with a ``status``. Without requests it has no series or NaN, never 0."""
    errors = f"sum(rate({REQUESTS}{_selector(name, namespace, revision, status)}[{window}]))"
    every = request_rate_query(name, namespace, revision=revision, window=window)
    # A service without errors has no series of errors; if it has requests, its rate is 0.
    return f"({errors} or 0 * {every}) / ({every} > 0)"


def latency_query(name: str, namespace: str, *, quantile: float = 0.99, revision: str = "", window: str = "5m") -> str:
    """The query for a quantile of the latency in seconds, as precise as the buckets of the histogram."""
    buckets = f"sum by (le) (rate({DURATION}_bucket{_selector(name, namespace, revision)}[{window}]))"
    return f"histogram_quantile({quantile:g}, {buckets})"


def query_prometheus(url: str, promql: str, *, timeout: float = 20.0) -> float | None:
    """Evaluate a query now on the Prometheus at ``url``; None for no series and for NaN.

    Raises PlatformError when Prometheus does not answer, rejects the query, or returns several series.
    """
    # Imported here, so that writing alert rules does not load it.
    import requests

    try:
        answer = requests.get(f"{url.rstrip('/')}/api/v1/query", params={"query": promql}, timeout=timeout)
        body = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise PlatformError(
            f"Prometheus at {url} does not answer: {error}", remedy="pass the base URL, without /api/v1/query"
        ) from error
    if body.get("status") != "success":
        raise PlatformError(f"Prometheus at {url} rejects {promql!r}: {body.get('error', answer.status_code)}")
    found = body["data"]["result"]
    if len(found) > 1:
        raise PlatformError(f"{promql!r} returns {len(found)} series", remedy="aggregate them, for example with sum()")
    return sample_value(float(found[0]["value"][1])) if found else None


def sample_value(value: float) -> float | None:
    """A sample of Prometheus; None for NaN, which a rate or quantile without data is."""
    return None if math.isnan(value) else value


def _selector(name: str, namespace: str, revision: str, status: str = "") -> str:
    labels = {"namespace": f'="{namespace}"', "inferenceservice": f'="{name}"', "path": f'=~"{INFER}"'}
    if revision:
        labels["revision"] = f'="{revision}"'
    if status:
        labels["status_code"] = f'=~"{status}"'
    return "{" + ",".join(f"{key}{value}" for key, value in labels.items()) + "}"
