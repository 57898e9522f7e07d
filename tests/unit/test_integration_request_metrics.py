"""Requests counted by raw counters: births, restarts, pods that come and go, and that no count is made of nothing or counted twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from fakes.prometheus import Asked, FakePrometheus, Reply, fake_prometheus, success, vector

from trivet.errors import CannotTell, UsageError
from trivet.integration.canary_counts import ArmCounts
from trivet.integration.prometheus import Prometheus, PrometheusError
from trivet.integration.request_metrics import (
    CONTOUR,
    ISTIO,
    KNATIVE,
    KNATIVE_OPENCENSUS,
    KSERVE_PYTHON,
    MLSERVER_DATA_PLANE,
    MLSERVER_GRPC,
    MLSERVER_REST,
    MLSERVER_REST_AGGREGATED,
    SETTLED,
    SOURCES,
    Counters,
    CounterSeries,
    RequestSource,
    counts_of,
    detect_source,
    latest_end,
    read_counters,
    read_window,
    source_named,
)

INF = float("inf")
ARMS = {"namespace": "ml", "canary": "iris-2", "stable": "iris-1"}


def counter(*values: float, pod: str = "a", before: float | None = None, **further: Any) -> CounterSeries:
    """A counter with a sample every ten seconds."""
    samples = tuple((10.0 * at, float(value)) for at, value in enumerate(values, 1))
    return CounterSeries(pod=pod, samples=samples, before=before, **further)


# arithmetic


@pytest.mark.parametrize(
    ("series", "requests"),
    [
        ([], 0),
        ([counter(12, 15, before=10)], 5),
        ([counter(3, 7)], 7),
        ([counter(before=10)], 0),
        ([counter(12, 1, 4, before=10)], 6),
        ([counter(12, before=10), counter(2, 8, pod="b")], 10),
        ([counter(12, 14, pod="gone", before=10), counter(1, pod="come")], 5),
    ],
    ids=["nothing", "grown", "born at 0", "no sample", "restarted", "a pod more", "a pod for another"],
)
def test_counters_are_subtracted_for_each_pod_and_series(series: Sequence[CounterSeries], requests: int) -> None:
    assert counts_of(Counters(requests=tuple(series), errors=None)).requests == requests


def test_a_restart_that_one_counter_shows_is_one_of_all_counters_of_the_pod() -> None:
    fell, overtook, other = counter(100, 20, before=90), counter(5, 7, before=4), counter(5, 7, before=4, pod="b")
    found = counts_of(Counters(requests=(fell, overtook, other), errors=(overtook,)))
    assert found.requests == (10 + 20) + (1 + 7) + 3
    assert found.errors == 8


def test_a_series_that_only_comes_back_after_a_restart_begins_at_0() -> None:
    fell = counter(100, 20, 30, before=90)
    back = CounterSeries(pod="a", samples=((30.0, 9.0),), before=4.0)
    assert counts_of(Counters(requests=(fell,), errors=(back,))).errors == 9


def test_slower_answers_are_those_above_a_bound_of_the_histogram() -> None:
    buckets = (
        counter(9, 12, before=8, bound=0.1),
        counter(9, 15, before=9, bound=0.5),
        counter(10, 20, before=10, bound=INF),
        counter(3, pod="b", bound=0.1),
        counter(5, pod="b", bound=0.5),
        counter(5, pod="b", bound=INF),
    )
    found = counts_of(Counters(requests=(counter(25),), errors=None, buckets=buckets))
    assert found == ArmCounts(requests=25, errors=None, slower={0.1: (10 - 4) + 2, 0.5: (10 - 6) + 0})


def test_a_bound_that_one_pod_lacks_is_left_out_since_its_answers_are_neither_slow_nor_fast() -> None:
    buckets = (
        counter(4, bound=0.1),
        counter(6, bound=INF),
        counter(3, pod="b", bound=0.2),
        counter(5, pod="b", bound=INF),
    )
    assert counts_of(Counters(requests=(counter(11),), buckets=buckets)).slower == {}


def test_a_part_never_exceeds_its_whole() -> None:
    buckets = (counter(0, bound=0.1), counter(12, bound=INF))
    found = counts_of(Counters(requests=(counter(10),), errors=(counter(11),), buckets=buckets))
    assert found == ArmCounts(requests=10, errors=10, slower={0.1: 10})


def test_errors_of_mlservers_grpc_are_what_was_measured_and_not_handled() -> None:
    errors = (counter(10, before=2), counter(7, before=2, subtracted=True))
    assert counts_of(Counters(requests=(counter(10, before=2),), errors=errors)).errors == 3


# what is asked


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (MLSERVER_REST, '{namespace="ml",revision="iris-2"}'),
        (MLSERVER_REST_AGGREGATED, '{namespace="ml",revision_name="iris-2"}'),
        (KNATIVE, '{namespace="ml",revision="iris-2"}'),
        (KNATIVE_OPENCENSUS, '{namespace_name="ml",revision_name="iris-2"}'),
        (ISTIO, '{destination_service_namespace="ml",destination_service_name="iris-2"}'),
        (CONTOUR, '{envoy_cluster_name=~"ml_iris-2_[0-9]+"}'),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_revision_is_selected_by_the_labels_that_the_source_has_it_in(source: RequestSource, expected: str) -> None:
    assert source.selector("ml", revision="iris-2") == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (MLSERVER_REST, '{namespace="ml",inferenceservice="iris"}'),
        (MLSERVER_REST_AGGREGATED, '{namespace="ml",configuration_name="iris-predictor"}'),
        (KNATIVE_OPENCENSUS, '{namespace_name="ml",configuration_name="iris-predictor"}'),
        (CONTOUR, '{envoy_cluster_name=~"ml_iris-predictor(-[0-9]+)?_[0-9]+"}'),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_service_is_selected_with_all_its_revisions(source: RequestSource, expected: str) -> None:
    assert source.selector("ml", service="iris") == expected


@pytest.mark.parametrize(
    ("path", "counted"),
    [
        ("/v2/models/{model_name}/infer", True),
        ("/v2/models/{model_name}/versions/{model_version}/infer", True),
        ("/v2/models/{model_name}/generate", True),
        ("/v2/models/{model_name}/infer_stream", True),
        ("/v2/models/{model_name}/versions/{model_version}/generate_stream", True),
        ("/invocations", True),
        ("/v2/models/{model_name}/ready", False),
        ("/v2/models/{model_name}/versions/{model_version}/ready", False),
        ("/v2/models/{model_name}", False),
        ("/v2/repository/models/{model_name}/load", False),
    ],
)
def test_every_route_of_inference_is_counted_and_no_other(path: str, counted: bool) -> None:
    (where,) = {one.where for one in MLSERVER_REST.requests}
    (pattern,) = re.findall('path=~"(.*)"', where)
    assert bool(re.fullmatch(pattern, path)) is counted


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_a_source_says_what_it_does_not_see_where_it_is_scraped_and_who_says_so(source: RequestSource) -> None:
    assert source.unseen
    assert source.read_from
    assert all(re.search(r"\d|documentation|docs/", fact) for fact in source.facts)
    assert source.unit in (1.0, 0.001)
    assert source.own_labels
    for name, label, pattern in (
        ("service", source.service_label, source.service_pattern),
        ("revision", source.revision_label, source.revision_pattern),
    ):
        assert label
        assert f"{{{name}}}" in pattern
    assert source_named(source.name) is source


@pytest.mark.parametrize("revision", ["", "Iris", 'x"} or up{a="', "a b"])
def test_an_empty_revision_is_no_whole_service_and_a_name_is_no_promql(revision: str) -> None:
    with pytest.raises(UsageError, match="revision"):
        MLSERVER_REST.selector("ml", service="iris", revision=revision)
    with pytest.raises(UsageError, match="revision"):
        read_window(Prometheus("http://127.0.0.1:9"), MLSERVER_REST, **ARMS | {"canary": revision}, start=1, end=2)


def test_a_selector_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="neither a service nor a revision"):
        MLSERVER_REST.selector("ml")


def test_an_unknown_source_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'mlserver-rest'"):
        source_named("mlserver-rst")


# what Prometheus has


def labels(pod: str = "a", revision: str = "iris-2", **further: str) -> dict[str, str]:
    return {"namespace": "ml", "revision": revision, "pod": pod, "job": "predictor", "instance": pod, **further}


def one(metric: Mapping[str, str], *samples: tuple[float, float]) -> dict[str, Any]:
    return {"metric": metric, "values": [[at, str(value)] for at, value in samples]}


Answers = Callable[[str, float], Sequence[Mapping[str, Any]]]


def stored(
    series: Mapping[str, Sequence[Mapping[str, Any]]], *, now: float = 1000.0, up: bool = True
) -> Callable[[Asked], Reply]:
    """A Prometheus that has these series: by the beginning of a query, the raw samples. A series without a sample in the five
    minutes before a time does not exist at it."""

    def reply(asked: Asked) -> Reply:
        query = asked.parameters["query"]
        at = float(asked.parameters.get("time", now))
        if query == "time()":
            return vector(str(now))
        if query == "count(up)":
            return vector("3") if up else vector()
        inner = re.sub(r"^(last_over_time|max_over_time|count)\(", "", query)
        inner = re.sub(r"^last_over_time\(", "", inner)
        found = next((rows for name, rows in series.items() if inner.startswith(name)), [])
        if query.startswith("max_over_time") or query.startswith("count("):
            return vector(*["1"] * len(found))
        selected = re.search(r"\[(\d+)(ms|s)\]", query)
        if selected and not query.startswith("last_over_time"):
            begin = at - float(selected[1]) / 1000
            rows = [{**row, "values": [v for v in row["values"] if begin < v[0] <= at]} for row in found]
            return success([row for row in rows if row["values"]], "matrix")
        memory = 3600.0 if selected else 300.0
        newest = [(row, [v for v in row["values"] if at - memory < v[0] <= at]) for row in found]
        return success([{"metric": row["metric"], "value": values[-1]} for row, values in newest if values])

    return reply


def counts(
    server: FakePrometheus, source: RequestSource = MLSERVER_REST, start: float = 900, end: float = 960
) -> ArmCounts:
    client = Prometheus(server.url, deadline=5)
    return counts_of(read_counters(client, source, namespace="ml", revision="iris-2", start=start, end=end))


TOTAL, BUCKET = "rest_server_requests_total", "rest_server_request_duration_seconds_bucket"


def test_all_counters_are_read_at_the_end_of_the_window_and_compared_with_its_start() -> None:
    rows = [
        one(labels(status_code="200"), (890, 10), (905, 12), (950, 19), (965, 99)),
        one(labels(status_code="500"), (950, 2)),
        one(labels("b", status_code="200"), (930, 4)),
    ]
    buckets = [one(labels(le=le), (890, 0), (950, value)) for le, value in (("0.1", 5), ("1.0", 6), ("+Inf", 9))]
    with fake_prometheus(stored({TOTAL: rows, BUCKET: buckets})) as server:
        found = counts(server)
    assert found == ArmCounts(requests=9 + 2 + 4, errors=15, slower={0.1: 4, 1.0: 3})
    assert {asked.parameters["time"] for asked in server.asked} == {"900.000", "960.000"}


def test_windows_that_follow_each_other_count_every_request_once() -> None:
    rows = [one(labels(status_code="200"), *((at, at) for at in range(600, 1000, 7)))]
    with fake_prometheus(stored({TOTAL: rows})) as server:
        parts = [counts(server, start=at, end=at + 60).requests for at in (700, 760, 820)]
        assert sum(parts) == counts(server, start=700, end=880).requests == 880 - 698


def test_what_a_scraped_pod_no_longer_has_at_the_start_began_again_and_what_was_not_scraped_did_not() -> None:
    rare = one(labels(status_code="500"), (500, 3), (950, 5))
    scraped = one(labels(status_code="200"), (500, 40), (890, 7), (950, 9))
    with fake_prometheus(stored({TOTAL: [rare, scraped]})) as server:
        assert counts(server).requests == 2 + 5
    with fake_prometheus(stored({TOTAL: [rare]})) as server:
        assert counts(server).requests == 2


def test_a_bound_is_the_same_however_prometheus_writes_it_and_in_seconds_whatever_its_unit() -> None:
    source = KNATIVE_OPENCENSUS
    metric = {"namespace_name": "ml", "revision_name": "iris-2", "pod_name": "a"}
    series = {
        source.requests[0].name: [one(metric, (890, 1), (950, 9))],
        f"{source.duration}_bucket": [
            one({**metric, "le": "500"}, (890, 1), (905, 2)),
            one({**metric, "le": "500.0"}, (920, 3), (950, 6)),
            one({**metric, "le": "+Inf"}, (890, 1), (950, 9)),
        ],
    }
    with fake_prometheus(stored(series)) as server:
        assert counts(server, source).slower == {0.5: 8 - 5}


def test_two_answers_for_one_counter_are_an_error_that_names_how_they_differ() -> None:
    twice = [one(labels(status_code="200", job=job), (890, 1), (950, 5)) for job in ("pods", "predictor")]
    with fake_prometheus(stored({TOTAL: twice})) as server, pytest.raises(CannotTell) as failed:
        counts(server)
    assert "two answers for one series" in failed.value.message
    assert 'job="pods" and "predictor"' in failed.value.message
    assert "one job only" in failed.value.remedy


def test_labels_of_the_scrape_that_change_within_a_window_split_no_counter() -> None:
    rows = [
        one(labels(status_code="200", job="old"), (890, 1), (910, 4)),
        one(labels(status_code="200", job="new"), (930, 6), (950, 9)),
    ]
    with fake_prometheus(stored({TOTAL: rows})) as server:
        assert counts(server).requests == 8


def test_no_requests_are_told_from_no_data() -> None:
    with fake_prometheus(stored({"up": [one(labels(), (950, 1))]})) as server:
        assert counts(server) == ArmCounts(requests=0, errors=0)
    with fake_prometheus(stored({})) as server, pytest.raises(CannotTell, match="scraped no pod of revision iris-2"):
        counts(server)


def test_pods_that_cannot_be_scraped_are_named() -> None:
    def reply(asked: Asked) -> Reply:
        down = [{"metric": labels("a"), "value": [960, "0"]}]
        return success(down) if asked.parameters["query"].startswith("max_over_time(up") else vector()

    with fake_prometheus(reply) as server, pytest.raises(CannotTell, match=r"cannot scrape any pod .*up is 0.: a"):
        counts(server)


def test_a_gateway_that_is_not_scraped_is_no_revision_without_requests() -> None:
    with fake_prometheus(stored({})) as server, pytest.raises(CannotTell, match="no sample of istio_requests_total"):
        counts(server, ISTIO)
    with fake_prometheus(stored({'{__name__=~"istio_requests_total"}': [one({}, (950, 1))]})) as server:
        assert counts(server, ISTIO) == ArmCounts(requests=0, errors=0)


def test_a_source_without_errors_or_latency_counts_neither_as_none_of_them() -> None:
    rows = [one(labels(), (890, 1), (950, 9))]
    with fake_prometheus(stored({"request_predict_seconds_count": rows})) as server:
        assert counts(server, KSERVE_PYTHON) == ArmCounts(requests=8, errors=None, slower={})
    with fake_prometheus(stored({"model_infer_request_success_total": rows})) as server:
        assert counts(server, MLSERVER_DATA_PLANE) == ArmCounts(requests=8, errors=0, slower={})


def test_requests_of_the_route_and_of_the_revision_itself_are_two_series_of_one_pod() -> None:
    rows = [
        one({**labels(), "http_response_status_code": "200", "kn_route_tag": tag}, (890, 1), (950, value))
        for tag, value in (("kn:default", 9), ("kn:disabled", 3))
    ]
    with fake_prometheus(stored({"http_server_request_duration_seconds_count": rows})) as server:
        assert counts(server, KNATIVE).requests == 10


def test_a_latency_in_native_histograms_is_an_error_and_not_unmeasured() -> None:
    answer = stored({TOTAL: [one(labels(), (890, 1), (950, 9))]})
    native = success([{"metric": {"__name__": MLSERVER_REST.duration}, "histogram": [960, {"count": "1", "sum": "1"}]}])

    def reply(asked: Asked) -> Reply:
        return native if asked.parameters["query"].startswith(f"{MLSERVER_REST.duration}{{") else answer(asked)

    with fake_prometheus(reply) as server, pytest.raises(PrometheusError, match="is a native histogram"):
        counts(server)


# windows


def test_a_window_has_the_counts_of_both_revisions() -> None:
    rows = {
        revision: [one(labels(revision=revision, status_code="200"), (890, 0), (950, requests))]
        for revision, requests in (("iris-1", 80), ("iris-2", 20))
    }
    answers = {
        **{
            f'{TOTAL}{{namespace="ml",{MLSERVER_REST.requests[0].where},revision="{name}"': row
            for name, row in rows.items()
        },
        f'{BUCKET}{{namespace="ml",{MLSERVER_REST.duration_where},revision="iris-1"': [
            one(labels(revision="iris-1", le=le), (890, 0), (950, 80)) for le in ("0.5", "+Inf")
        ],
    }
    with fake_prometheus(stored(answers)) as server:
        found = read_window(Prometheus(server.url), MLSERVER_REST, **ARMS, start=900, end=960)
    assert (found.start, found.end) == (900, 960)
    assert (found.canary.requests, found.stable.requests) == (20, 80)
    assert (found.canary.slower, found.stable.slower) == ({}, {0.5: 0})


def test_a_revision_without_requests_has_no_slow_answers_rather_than_no_latency() -> None:
    answers = {
        f'{TOTAL}{{namespace="ml",{MLSERVER_REST.requests[0].where},revision="iris-1"': [
            one(labels(), (890, 0), (950, 9))
        ],
        f'{BUCKET}{{namespace="ml",{MLSERVER_REST.duration_where},revision="iris-1"': [
            one(labels(le=le), (890, 0), (950, 9)) for le in ("0.5", "+Inf")
        ],
        "up": [one(labels(), (950, 1))],
    }
    with fake_prometheus(stored(answers)) as server:
        found = read_window(Prometheus(server.url), MLSERVER_REST, **ARMS, start=900, end=960)
    assert found.canary == ArmCounts(requests=0, errors=0, slower={0.5: 0})


def test_the_clock_is_that_of_prometheus_and_what_is_not_settled_is_not_read() -> None:
    with fake_prometheus(stored({}, now=1000)) as server:
        client = Prometheus(server.url)
        assert latest_end(client) == 1000 - SETTLED
        with pytest.raises(UsageError, match=r"the window ends 10\.0 s too late"):
            read_window(client, MLSERVER_REST, **ARMS, start=900, end=1000 - SETTLED + 10)


def test_a_window_that_begins_before_prometheus_remembers_is_refused() -> None:
    with (
        fake_prometheus(stored({}, up=False)) as server,
        pytest.raises(CannotTell, match="no samples from the beginning"),
    ):
        read_window(Prometheus(server.url), MLSERVER_REST, **ARMS, start=900, end=960)


@pytest.mark.parametrize(("start", "end"), [(960, 900), (900, 900), (-1, 5), (True, 5), ("900", 960)])
def test_a_window_that_is_none_is_refused(start: Any, end: Any) -> None:
    with pytest.raises(UsageError, match="does not end after it begins"):
        read_window(Prometheus("http://127.0.0.1:9"), MLSERVER_REST, **ARMS, start=start, end=end)


def test_a_canary_is_not_compared_with_itself() -> None:
    with pytest.raises(UsageError, match="canary and stable are one revision"):
        read_window(Prometheus("http://127.0.0.1:9"), MLSERVER_REST, **ARMS | {"stable": "iris-2"}, start=1, end=2)


# which source


def detected(*names: str) -> RequestSource:
    with fake_prometheus(stored({name: [one(labels(), (990, 1))] for name in names})) as server:
        return detect_source(Prometheus(server.url), namespace="ml", revisions=["iris-1", "iris-2"])


@pytest.mark.parametrize(
    "source", [MLSERVER_REST, KNATIVE, KNATIVE_OPENCENSUS, ISTIO, CONTOUR, MLSERVER_GRPC, KSERVE_PYTHON]
)
def test_the_source_is_the_one_whose_series_prometheus_has(source: RequestSource) -> None:
    assert detected(source.requests[0].name) is source


def test_of_several_sources_the_one_that_sees_most_is_taken() -> None:
    assert detected(KSERVE_PYTHON.requests[0].name, KNATIVE.requests[0].name) is KNATIVE


def test_a_source_that_counted_requests_goes_before_one_that_only_could() -> None:
    """Probes come by REST, requests by gRPC."""
    probes = f'{TOTAL}{{namespace="ml",revision="iris-1"'
    assert detected(probes) is MLSERVER_REST
    assert detected(probes, MLSERVER_GRPC.requests[0].name) is MLSERVER_GRPC


def test_without_a_source_the_error_lists_what_to_scrape() -> None:
    with pytest.raises(CannotTell) as failed:
        detected()
    assert "no series that counts requests, of any service" in failed.value.message
    assert "port 8082" in failed.value.remedy


def test_without_a_source_for_the_revision_the_error_lists_what_there_is() -> None:
    def reply(asked: Asked) -> Reply:
        query = asked.parameters["query"]
        if query.startswith("group by"):
            return success([{"metric": {"__name__": TOTAL}, "value": [1, "1"]}])
        if query.startswith("topk"):
            return success(
                [
                    {"metric": {"namespace": "ml", "revision": "iris-7"}, "value": [1, "1"]},
                    {"metric": {}, "value": [1, "1"]},
                ]
            )
        return vector()

    with fake_prometheus(reply) as server, pytest.raises(CannotTell) as failed:
        detect_source(Prometheus(server.url), namespace="ml", revisions=["iris-1", "iris-2"])
    assert "revision iris-1 or iris-2 in namespace ml" in failed.value.message
    assert 'namespace="ml", revision="iris-7" · none of these labels' in failed.value.message
    assert "serving.knative.dev/revision" in failed.value.remedy


def test_a_search_for_no_revision_is_refused() -> None:
    with pytest.raises(UsageError, match="no revision is named"):
        detect_source(Prometheus("http://127.0.0.1:9"), namespace="ml", revisions=[])
