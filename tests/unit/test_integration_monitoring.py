"""Queries for alert rules: what they count, and that no data is no good news."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from trivet.errors import UsageError
from trivet.integration.monitoring import (
    durations_total_query,
    error_rate_query,
    latency_query,
    request_rate_query,
    requests_total_query,
)
from trivet.integration.request_metrics import (
    CONTOUR,
    KNATIVE_OPENCENSUS,
    KSERVE_PYTHON,
    MLSERVER_DATA_PLANE,
    MLSERVER_GRPC,
    MLSERVER_REST,
)

ROUTES = MLSERVER_REST.duration_where


def test_only_inference_requests_of_one_service_are_counted() -> None:
    assert requests_total_query("c", "ns") == (
        f'sum(rest_server_requests_total{{namespace="ns",inferenceservice="c",{ROUTES}}})'
    )
    assert durations_total_query("c", "ns", revision="c-1") == (
        f'sum(rest_server_request_duration_seconds_count{{namespace="ns",inferenceservice="c",{ROUTES},revision="c-1"}})'
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
        f'(rate(rest_server_request_duration_seconds_bucket{{namespace="ns",inferenceservice="c",{ROUTES}}}[5m])))'
    )


def test_a_version_other_routes_and_custom_handlers_are_inference_requests_too() -> None:
    query = requests_total_query("c", "ns")
    for route in ("/versions/[^/]+", "generate", "infer_stream", "/invocations"):
        assert route in query


def test_other_sources_have_their_own_series_labels_and_units() -> None:
    assert request_rate_query("c", "ns", window="1m", source=KNATIVE_OPENCENSUS) == (
        'sum(rate(revision_request_count{namespace_name="ns",configuration_name="c-predictor"}[1m]))'
    )
    assert latency_query("c", "ns", source=KNATIVE_OPENCENSUS).endswith("[5m]))) * 0.001")
    assert error_rate_query("c", "ns", revision="c-1", window="1m", source=CONTOUR).startswith(
        '(sum(rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name=~"ns_c-predictor(-[0-9]+)?_[0-9]+",'
        'envoy_response_code_class="5",envoy_cluster_name=~"ns_c-1_[0-9]+"}[1m])) or 0 * '
    )


def test_several_counters_are_added_and_none_of_them_is_no_zero() -> None:
    success, failure = (
        f'sum(rate(model_infer_request_{which}_total{{namespace="ns",inferenceservice="c"}}[1m]))'
        for which in ("success", "failure")
    )
    assert request_rate_query("c", "ns", window="1m", source=MLSERVER_DATA_PLANE) == (
        f"(({success} or 0 * {failure}) + ({failure} or 0 * {success}))"
    )


def test_a_counter_that_is_subtracted_is_so() -> None:
    query = error_rate_query("c", "ns", window="1m", source=MLSERVER_GRPC)
    assert re.search(
        r"\(sum\(rate\(grpc_server_handling_seconds_count.* - \(sum\(rate\(grpc_server_handled_total", query
    )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (lambda: error_rate_query("c", "ns", source=KSERVE_PYTHON), "counts no errors"),
        (lambda: latency_query("c", "ns", source=MLSERVER_DATA_PLANE), "has no latency histogram"),
        (lambda: requests_total_query("c", "ns", status="500", source=MLSERVER_GRPC), "no label with the HTTP status"),
        (lambda: request_rate_query("c", "ns", revision=""), "the revision is empty"),
    ],
)
def test_what_a_source_does_not_count_is_refused(query: Callable[[], str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        query()
