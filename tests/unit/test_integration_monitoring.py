"""Queries for alert rules: what they count, and that no data is no good news."""

from __future__ import annotations

from trivet.integration.monitoring import durations_total, error_rate, latency, request_rate, requests_total


def test_only_inference_requests_of_one_service_are_counted() -> None:
    assert requests_total("c", "ns") == (
        'sum(rest_server_requests_total{namespace="ns",inferenceservice="c",path=~"/v2/models/[^/]+/infer"})'
    )
    assert durations_total("c", "ns", revision="c-1") == (
        'sum(rest_server_request_duration_seconds_count{namespace="ns",inferenceservice="c",path=~"/v2/models/[^/]+/infer",revision="c-1"})'
    )


def test_an_error_rate_without_requests_is_no_number_and_without_errors_it_is_zero() -> None:
    query = error_rate("c", "ns", window="1m")
    every = request_rate("c", "ns", window="1m")
    assert f"or 0 * {every})" in query
    assert query.endswith(f"/ ({every} > 0)")
    assert 'status_code=~"5.."' in query


def test_a_latency_comes_out_of_the_buckets() -> None:
    assert latency("c", "ns") == (
        "histogram_quantile(0.99, sum by (le) "
        '(rate(rest_server_request_duration_seconds_bucket{namespace="ns",inferenceservice="c",path=~"/v2/models/[^/]+/infer"}[5m])))'
    )
