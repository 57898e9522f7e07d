"""Queries for alert rules: what they count, and that no data is no good news."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest
from fakes.http_server import serving

from trivet.errors import PlatformError
from trivet.integration.monitoring import (
    durations_total_query,
    error_rate_query,
    latency_query,
    query_prometheus,
    request_rate_query,
    requests_total_query,
)


def test_only_inference_requests_of_one_service_are_counted() -> None:
    assert requests_total_query("c", "ns") == (
        'sum(rest_server_requests_total{namespace="ns",inferenceservice="c",path=~"/v2/models/[^/]+/infer"})'
    )
    assert durations_total_query("c", "ns", revision="c-1") == (
        'sum(rest_server_request_duration_seconds_count{namespace="ns",inferenceservice="c",path=~"/v2/models/[^/]+/infer",revision="c-1"})'
    )


def test_an_error_rate_without_requests_is_no_number_and_without_errors_it_is_zero() -> None:
    query = error_rate_query("c", "ns", window="1m")
    every = request_rate_query("c", "ns", window="1m")
    assert f"or 0 * {every})" in query
    assert query.endswith(f"/ ({every} > 0)")
    assert 'status_code=~"5.."' in query


def test_a_latency_comes_out_of_the_buckets() -> None:
    assert latency_query("c", "ns") == (
        "histogram_quantile(0.99, sum by (le) "
        '(rate(rest_server_request_duration_seconds_bucket{namespace="ns",inferenceservice="c",path=~"/v2/models/[^/]+/infer"}[5m])))'
    )


@contextmanager
def prometheus(*series: str) -> Iterator[str]:
    """A server that answers every query with these values."""
    body = {"status": "success", "data": {"result": [{"metric": {}, "value": [0, value]} for value in series]}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(("series", "value"), [(("1.5",), 1.5), (("NaN",), None), ((), None)])
def test_no_series_and_no_number_are_no_value(series: tuple[str, ...], value: float | None) -> None:
    with prometheus(*series) as url:
        assert query_prometheus(url, "x") == value


def test_several_series_and_no_answer_are_errors() -> None:
    with prometheus("1", "2") as url, pytest.raises(PlatformError, match="returns 2 series"):
        query_prometheus(url, "x")
    with pytest.raises(PlatformError, match="does not answer"):
        query_prometheus("http://127.0.0.1:9", "x")
