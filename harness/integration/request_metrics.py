"""Which series count the inference requests of a revision, and how many there were between two times.

SOURCES is the only place with the names of these series: one entry for each program that counts requests. :func:`detect_source` asks
Prometheus which of them it has, :func:`read_window` reads the counts of canary and stable revision. Rates for alerts and dashboards are in
:mod:`trivet.integration.monitoring`, what follows from counts in :mod:`trivet.integration.canary`.

Counts are differences of raw counters for each pod and series, without ``rate()``, which extrapolates and never sees the first increase of
a series. A series that did not exist before began at 0, a value that falls is a restarted process, and what a pod counted before it went
counts. All times are those of Prometheus' clock.

A *revision* is what Knative calls so, in Serverless mode; in Standard mode it is the name of the Deployment, ``NAME-predictor``, or
``NAME-CANARY-predictor`` for an entry of ``spec.canary``. POD_LABELS says which labels a scrape configuration must copy from the pods.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from trivet.errors import CannotTell, UsageError, choices

if TYPE_CHECKING:
    from trivet.integration.canary_counts import ArmCounts, CanaryWindow
    from trivet.integration.prometheus import Prometheus, Series

SETTLED = 15.0
"""Seconds after which what was scraped at a time can be queried: a scrape has the time at which it began, and may take 10 s (Prometheus'
default scrape_timeout)."""

MEMORY = 3600.0
"""Seconds before a window in which the last value of a counter is looked for."""

_LISTED = 20
"""Label values of a series in a message."""
_ANY_PORT = "_[0-9]+"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class PodLabel:
    """A label of a series that a scrape configuration takes from the pod: ``label`` from the pod's label ``pod_label``, where it matches
    ``regex``, the first group of it. Of two rules for one label the first that matches counts."""

    label: str
    pod_label: str
    regex: str = "(.+)"


POD_LABELS = (
    PodLabel(label="inferenceservice", pod_label="serving.kserve.io/inferenceservice"),
    PodLabel(label="revision", pod_label="serving.knative.dev/revision"),
    PodLabel(label="revision", pod_label="app", regex=r"isvc\.(.+)"),
)
"""Beside ``namespace`` and ``pod``. Sources: knative serving 0.42.2 and 0.48.1 pkg/reconciler/revision/resources/meta.go, makeLabels;
kserve 0.14.1 and 0.20.0 pkg/constants/constants.go, GetRawServiceLabel; reconcilers/deployment/deployment_reconciler.go, the label
``app``."""


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A counter: series ``name`` with the label matchers ``where`` (PromQL, without braces). ``subtracted``: it is taken off the sum."""

    name: str
    where: str = ""
    subtracted: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class RequestSource:
    """A program that counts requests, and the series in which it does.

    ``requests`` and ``errors`` are sums of counters; errors are answers by a server error, and empty if the source counts none.
    ``duration`` is the name of the latency histogram, without ``_bucket``, and ``unit`` one unit of its bounds in seconds; an empty name
    means that the source has none. ``duration_where`` and the ``where`` of counters leave out what is no inference request.

    ``namespace_label``, ``service_label``, ``revision_label`` and ``pod_label`` name the labels that hold these names, in the form of the
    patterns, which are regular expressions once ``{namespace}``, ``{service}`` and ``{revision}`` are filled in; an empty label is
    part of another one's pattern. ``status_label`` holds the HTTP status or its class. ``own_labels`` are those that the program itself
    writes: series of one pod that differ in other labels only are one counter, scraped twice (``le`` goes without saying).

    ``unseen`` says which requests and errors the source does not see or does not tell apart, ``read_from`` where Prometheus scrapes it,
    ``facts`` where upstream says so, with the versions that were read.
    """

    name: str
    title: str
    requests: tuple[Counter, ...]
    errors: tuple[Counter, ...] = ()
    duration: str = ""
    duration_where: str = ""
    unit: float = 1.0
    namespace_label: str = "namespace"
    service_label: str = "inferenceservice"
    service_pattern: str = "{service}"
    revision_label: str = "revision"
    revision_pattern: str = "{revision}"
    pod_label: str = "pod"
    status_label: str = ""
    own_labels: tuple[str, ...] = ()
    read_from: str
    unseen: str
    facts: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<RequestSource {self.name}>"

    @property
    def series(self) -> tuple[str, ...]:
        """The names of all its series."""
        names = [one.name for one in (*self.requests, *self.errors)]
        return tuple(dict.fromkeys([*names, *([f"{self.duration}_bucket"] if self.duration else [])]))

    def selector(self, namespace: str, *, service: str = "", revision: str | None = None, where: str = "") -> str:
        """The label matchers, in braces, for the requests to a service or to one of its revisions.

        Raises UsageError for an empty revision, which would select the whole service, and for names that Kubernetes does not have.
        """
        if not service and revision is None:
            raise UsageError("neither a service nor a revision is named", remedy="pass service, revision or both")
        names = {"namespace": _checked("namespace", namespace)}
        labels: list[tuple[str, str]] = [(self.namespace_label, "{namespace}")] if self.namespace_label else []
        if service:
            names["service"] = _checked("service", service)
            labels.append((self.service_label, self.service_pattern))
        if revision is not None:
            names["revision"] = _checked("revision", revision)
        matchers = [_matcher(label, pattern, names) for label, pattern in labels]
        matchers += [where] if where else []
        if revision is not None:
            matchers.append(_matcher(self.revision_label, self.revision_pattern, names))
        return "{" + ",".join(matchers) + "}"


_MLSERVER_ROUTES = (
    r'path=~"/v2/models/[^/]+(/versions/[^/]+)?/(infer|infer_stream|generate|generate_stream)|/invocations"'
)
_MODEL_INFER = 'grpc_method="ModelInfer"'

MLSERVER_REST = RequestSource(
    name="mlserver-rest",
    title="MLServer's REST server",
    requests=(Counter(name="rest_server_requests_total", where=_MLSERVER_ROUTES),),
    errors=(Counter(name="rest_server_requests_total", where=f'{_MLSERVER_ROUTES},status_code=~"5.."'),),
    duration="rest_server_request_duration_seconds",
    duration_where=_MLSERVER_ROUTES,
    status_label="status_code",
    own_labels=("method", "path", "status_code", "app_name"),
    read_from="predictor pods, port 8082 (MLServer's metrics_port), path /metrics; KServe's annotation names 8080, which answers 404",
    unseen="gRPC; routes of custom handlers but /invocations; errors after a stream has begun; requests that found no pod. Answers 500 "
    "to a client's wrong input are errors.",
    facts=(
        "MLServer 1.5.0 and 1.7.1 mlserver/rest/app.py: PrometheusMiddleware, prefix rest_server; its routes (from 1.6 on generate and "
        "streams)",
        "starlette-exporter 0.23.0 middleware.py: the label path holds the route, unhandled paths are not counted",
        "MLServer 1.7.1 runtimes/mlflow/mlserver_mlflow/runtime.py: custom handler /invocations",
    ),
)

MLSERVER_DATA_PLANE = RequestSource(
    name="mlserver-data-plane",
    title="MLServer's data plane, which REST and gRPC share",
    requests=(Counter(name="model_infer_request_success_total"), Counter(name="model_infer_request_failure_total")),
    errors=(Counter(name="model_infer_request_failure_total"),),
    own_labels=("model", "version"),
    read_from=MLSERVER_REST.read_from,
    unseen="latency, since its summary has no quantiles; /invocations; what REST rejects before the model (422). Unknown models and other "
    "mistakes of clients are errors.",
    facts=("MLServer 1.3.2, 1.5.0 and 1.7.1 mlserver/handlers/dataplane.py, DataPlane.infer",),
)

MLSERVER_GRPC = RequestSource(
    name="mlserver-grpc",
    title="MLServer's gRPC server",
    requests=(Counter(name="grpc_server_handling_seconds_count", where=_MODEL_INFER),),
    # A failing call is measured, but not counted as handled: MLServer's abort is not grpc's RpcError.
    errors=(
        Counter(name="grpc_server_handling_seconds_count", where=_MODEL_INFER),
        Counter(name="grpc_server_handled_total", where=_MODEL_INFER, subtracted=True),
    ),
    duration="grpc_server_handling_seconds",
    duration_where=_MODEL_INFER,
    own_labels=("grpc_type", "grpc_service", "grpc_method", "grpc_code", "code"),
    read_from=MLSERVER_REST.read_from,
    unseen="REST; ModelStreamInfer, which it does not measure. Mistakes of clients are errors.",
    facts=(
        "MLServer 1.5.0 and 1.7.1 mlserver/grpc/server.py, PromServerInterceptor with a histogram, and mlserver/grpc/interceptors.py",
        "py-grpc-prometheus 0.8.0 server_metrics.py",
    ),
)

KSERVE_PYTHON = RequestSource(
    name="kserve-python",
    title="KServe's Python servers (sklearn, xgboost, lightgbm, Hugging Face, custom models)",
    requests=(Counter(name="request_predict_seconds_count"),),
    duration="request_predict_seconds",
    own_labels=("model_name",),
    read_from="predictor pods, port 8080, path /metrics",
    unseen="errors: it has no counter of them, so judge errors by the queue-proxy or the mesh; with several workers, all but the one that "
    "answers a scrape, which looks like restarts; what fails before prediction; time before "
    "and after prediction; the OpenAI endpoints of Hugging Face servers.",
    facts=("kserve 0.11.0, 0.14.1 and 0.20.0 python/kserve/kserve/metrics.py and model.py, Model.__call__",),
)

KNATIVE = RequestSource(
    name="knative",
    title="Knative's queue-proxy, from Knative 1.19 on",
    requests=(Counter(name="http_server_request_duration_seconds_count"),),
    errors=(Counter(name="http_server_request_duration_seconds_count", where='http_response_status_code=~"5.."'),),
    duration="http_server_request_duration_seconds",
    status_label="http_response_status_code",
    own_labels=(
        *(
            "http_request_method",
            "http_request_method_original",
            "http_response_status_code",
            "http_route",
            "error_type",
            "url_scheme",
            "kn_route_tag",
        ),
        *("network_protocol_name", "network_protocol_version", "server_address", "server_port"),
        *("otel_scope_name", "otel_scope_version", "otel_scope_schema_url"),
    ),
    read_from="predictor pods, port 9091 (http-usermetric), once request-metrics-protocol in ConfigMap config-observability is prometheus; "
    "the default exports nothing",
    unseen="requests that found no pod or never left the activator; it counts every path but probes, so metadata requests too. With "
    "Prometheus 3, Knative 1.19 and 1.20 need metric_name_escaping_scheme: underscores, since their names have dots otherwise.",
    facts=(
        "knative serving 0.46.0 and 0.48.1 pkg/queue/sharedmain/handlers.go, otelhttp.NewHandler with a filter of probes",
        "otelhttp 0.65.0 internal/semconv/server.go: http.server.request.duration in seconds",
        "knative pkg of serving 0.48.1 observability/metrics/prometheus_enabled.go: names with underscores and units; the resource's "
        "attributes, such as the revision, are in target_info only",
        "knative serving 0.46.0 and 0.48.1 pkg/queue/routetag_handler.go: kn_route_tag, where routes are tagged by header",
        "knative serving 0.48.1 config/core/configmaps/observability.yaml: request-metrics-protocol",
    ),
)

KNATIVE_OPENCENSUS = RequestSource(
    name="knative-opencensus",
    title="Knative's queue-proxy, up to Knative 1.18",
    requests=(Counter(name="revision_request_count"),),
    errors=(Counter(name="revision_request_count", where='response_code_class="5xx"'),),
    duration="revision_request_latencies",
    unit=0.001,
    namespace_label="namespace_name",
    service_label="configuration_name",
    service_pattern="{service}-predictor",
    revision_label="revision_name",
    pod_label="pod_name",
    status_label="response_code",
    own_labels=(
        *("namespace_name", "service_name", "configuration_name", "revision_name", "pod_name", "container_name"),
        *("response_code", "response_code_class", "route_tag"),
    ),
    read_from="predictor pods, port 9091 (http-usermetric), path /metrics",
    unseen="requests that found no pod or never left the activator; it counts every path but probes, so metadata requests too.",
    facts=(
        "knative serving 0.42.2 pkg/queue/request_metric.go (latencies in milliseconds, probes left out), pkg/queue/sharedmain/main.go "
        "(component revision), pkg/metrics/key.go; 0.45.0 (Knative 1.18) is the last with these names",
    ),
)

ISTIO = RequestSource(
    name="istio",
    title="Istio, as the gateway or the client's sidecar reports",
    requests=(Counter(name="istio_requests_total", where='reporter="source"'),),
    errors=(Counter(name="istio_requests_total", where='reporter="source",response_code=~"5.."'),),
    duration="istio_request_duration_milliseconds",
    duration_where='reporter="source"',
    unit=0.001,
    namespace_label="destination_service_namespace",
    service_label="destination_service_name",
    service_pattern="{service}-predictor(-[0-9]+)?",
    revision_label="destination_service_name",
    status_label="response_code",
    own_labels=(
        *(
            "reporter",
            "request_protocol",
            "response_code",
            "response_flags",
            "grpc_response_status",
            "connection_security_policy",
        ),
        *(
            "source_workload",
            "source_workload_namespace",
            "source_principal",
            "source_app",
            "source_version",
            "source_cluster",
        ),
        *("source_canonical_service", "source_canonical_revision"),
        *(
            "destination_workload",
            "destination_workload_namespace",
            "destination_principal",
            "destination_app",
            "destination_version",
        ),
        *("destination_service", "destination_service_name", "destination_service_namespace", "destination_cluster"),
        *("destination_canonical_service", "destination_canonical_revision"),
    ),
    read_from="pods of the gateway and of clients with a sidecar, port 15090, path /stats/prometheus",
    unseen="clients outside the mesh that do not pass the gateway; it counts every path. It sees requests that found no pod.",
    facts=(
        "Istio's documentation, Istio Standard Metrics (istio.io content/en/docs/reference/config/metrics); read, not run",
        "kserve 0.20.0 pkg/constants/constants.go, PredictorServiceName: the Service of a Deployment in Standard mode has its name, and "
        "that of a Knative revision the revision's",
    ),
)

CONTOUR = RequestSource(
    name="contour",
    title="Envoy as Contour configures it (Knative's net-contour, or Contour as ingress)",
    requests=(Counter(name="envoy_cluster_upstream_rq_xx"),),
    errors=(Counter(name="envoy_cluster_upstream_rq_xx", where='envoy_response_code_class="5"'),),
    duration="envoy_cluster_upstream_rq_time",
    unit=0.001,
    namespace_label="",
    service_label="envoy_cluster_name",
    service_pattern="{namespace}_{service}-predictor(-[0-9]+)?" + _ANY_PORT,
    revision_label="envoy_cluster_name",
    revision_pattern="{namespace}_{revision}" + _ANY_PORT,
    own_labels=("envoy_cluster_name", "envoy_response_code_class"),
    read_from="pods of Envoy, port 8002 (metrics), path /stats/prometheus",
    unseen="traffic inside the cluster that does not pass Envoy; it counts every path, and the probes by which Knative waits for a route. "
    "It sees requests that found no pod, as 5xx.",
    facts=(
        "contour 1.29.1 internal/envoy/cluster.go, AltStatName: the cluster is NAMESPACE_SERVICE_PORT in statistics",
        "envoy documentation, configuration/upstream/cluster_manager/cluster_stats.rst: upstream_rq_<*xx>, upstream_rq_time in ms",
    ),
)


def aggregated(source: RequestSource) -> RequestSource:
    """A runtime's source as KServe's qpext aggregates it with the queue-proxy's metrics (annotation
    ``serving.kserve.io/enable-metric-aggregation``): the revision is in labels of qpext's own."""
    return replace(
        source,
        name=f"{source.name}-aggregated",
        title=f"{source.title}, aggregated by KServe's qpext",
        service_label="configuration_name",
        service_pattern="{service}-predictor",
        revision_label="revision_name",
        own_labels=("service_name", "configuration_name", "revision_name", *source.own_labels),
        read_from="predictor pods, port 9088 (aggr-metric), path /metrics",
        facts=(*source.facts, "kserve 0.14.1 and 0.20.0 qpext/cmd/qpext/main.go, addServerlessLabels"),
    )


MLSERVER_REST_AGGREGATED = aggregated(MLSERVER_REST)
MLSERVER_GRPC_AGGREGATED = aggregated(MLSERVER_GRPC)
MLSERVER_DATA_PLANE_AGGREGATED = aggregated(MLSERVER_DATA_PLANE)
KSERVE_PYTHON_AGGREGATED = aggregated(KSERVE_PYTHON)

SOURCES: Mapping[str, RequestSource] = {
    source.name: source
    for source in (
        MLSERVER_REST,
        KNATIVE,
        KNATIVE_OPENCENSUS,
        MLSERVER_REST_AGGREGATED,
        ISTIO,
        CONTOUR,
        MLSERVER_GRPC,
        MLSERVER_GRPC_AGGREGATED,
        MLSERVER_DATA_PLANE,
        MLSERVER_DATA_PLANE_AGGREGATED,
        KSERVE_PYTHON,
        KSERVE_PYTHON_AGGREGATED,
    )
}
"""By name, the preferred ones first: what counts inference requests alone, with errors and latency, is before what counts every path, and
that before what lacks one of the two."""


def source_named(name: str) -> RequestSource:
    """The source with this name. Raises UsageError, with the nearest name and all names."""
    try:
        return SOURCES[name]
    except (KeyError, TypeError):
        raise UsageError(f"unknown source of request metrics {name!r}", remedy=choices(name, SOURCES)) from None


@dataclass(frozen=True, kw_only=True)
class CounterSeries:
    """One counter of one pod. ``before`` is its last value before the window, None if it did not exist; ``samples`` are the (time, value)
    pairs in the window. ``bound`` is the upper bound of a latency bucket in seconds; ``subtracted`` as in :class:`Counter`."""

    pod: str
    samples: tuple[tuple[float, float], ...]
    before: float | None = None
    bound: float | None = None
    subtracted: bool = False


@dataclass(frozen=True, kw_only=True)
class Counters:
    """The raw counters of one revision around a window. ``errors`` is None if the source counts none."""

    requests: tuple[CounterSeries, ...] = ()
    errors: tuple[CounterSeries, ...] | None = ()
    buckets: tuple[CounterSeries, ...] = ()


def counts_of(counters: Counters) -> ArmCounts:
    """The requests, errors and slow answers that raw counters show.

    A counter that did not exist before began at 0. A pod whose counters fall has restarted, and all of its counters are at 0 then: those
    too that have come further since.
    """
    from trivet.integration.canary_counts import ArmCounts

    restarts = _restarts([*counters.requests, *(counters.errors or ()), *counters.buckets])

    def total(series: Iterable[CounterSeries]) -> int:
        grown = ((-1 if one.subtracted else 1) * _increase(one, restarts[one.pod]) for one in series)
        return max(round(sum(grown)), 0)

    by_bound: dict[float, list[CounterSeries]] = defaultdict(list)
    for one in counters.buckets:
        if one.bound is not None:
            by_bound[one.bound].append(one)
    every = by_bound.pop(math.inf, [])
    requests, measured = total(counters.requests), total(every)
    slower: dict[float, int] = {}
    for bound, found in sorted(by_bound.items()):
        # Only bounds that all pods have: a pod without one would count as slow as a whole.
        if len(found) == len(every):
            slower[bound] = min([requests, max(measured - total(found), 0), *slower.values()])
    errors = None if counters.errors is None else min(total(counters.errors), requests)
    return ArmCounts(requests=requests, errors=errors, slower=slower)


def _restarts(series: Iterable[CounterSeries]) -> Mapping[str, set[float]]:
    """When the processes of pods were first scraped after a restart, by the counters that fell."""
    found: dict[str, set[float]] = defaultdict(set)
    for one in series:
        last = one.before or 0.0
        for time, value in one.samples:
            if value < last:
                found[one.pod].add(time)
            last = value
    return found


def _increase(series: CounterSeries, restarts: Collection[float]) -> float:
    """By how much a counter grew in its window."""
    grown, last, seen = 0.0, series.before or 0.0, -math.inf
    for time, value in series.samples:
        restarted = any(seen < one <= time for one in restarts)
        grown += value if restarted else value - last
        last, seen = value, time
    return grown


def read_counters(
    prometheus: Prometheus, source: RequestSource, *, namespace: str, revision: str, start: float, end: float
) -> Counters:
    """The raw counters of a revision from ``start`` to ``end`` (Unix seconds by Prometheus' clock), all read at the time ``end``.

    Raises CannotTell where counts would be wrong or made of nothing: no pod of the revision was scraped, or one counter was scraped twice.
    Raises PrometheusError, also for a latency that Prometheus keeps as native histogram.
    """
    _check_window(start, end)

    def read(name: str, where: str = "", *, subtracted: bool = False) -> list[_Found]:
        selector = name + source.selector(namespace, revision=revision, where=where)
        return _read(prometheus, source, selector, start, end, subtracted=subtracted)

    requests = [
        one for counter in source.requests for one in read(counter.name, counter.where, subtracted=counter.subtracted)
    ]
    if not any(one.samples for one in requests):
        _require_scraped(prometheus, source, namespace, revision, start, end)
    errors = [
        one for counter in source.errors for one in read(counter.name, counter.where, subtracted=counter.subtracted)
    ]
    buckets: list[_Found] = []
    if source.duration:
        buckets = read(f"{source.duration}_bucket", source.duration_where)
        if requests and not buckets:
            # Refused by the client if it is a native histogram; without either, latency is not measured.
            prometheus.query(source.duration + source.selector(namespace, revision=revision), time=end)
    scraped_at_start = {one.pod for one in (*requests, *errors, *buckets) if one.at_start is not None}

    def series(found: Iterable[_Found]) -> tuple[CounterSeries, ...]:
        return tuple(
            CounterSeries(
                pod=one.pod,
                samples=one.samples,
                # What a scraped pod did not have any more had gone with a restart; what was not scraped had not gone.
                before=one.at_start if one.pod in scraped_at_start else one.remembered,
                bound=one.bound,
                subtracted=one.subtracted,
            )
            for one in found
        )

    return Counters(
        requests=series(requests), errors=series(errors) if source.errors else None, buckets=series(buckets)
    )


def read_window(
    prometheus: Prometheus,
    source: RequestSource,
    *,
    namespace: str,
    canary: str,
    stable: str,
    start: float,
    end: float,
) -> CanaryWindow:
    """The counts of two revisions from ``start`` to ``end``, in Unix seconds by Prometheus' clock: by :func:`latest_end` at the latest.

    Windows that follow each other, each with the ``end`` of the last one as ``start``, count every request once. A process that is killed
    needs to remember ``start`` only.

    Raises CannotTell where counts would be wrong or made of nothing, PrometheusError, and UsageError for an empty or repeated revision.
    """
    from trivet.integration.canary_counts import CanaryWindow

    if canary == stable:
        raise UsageError(f"canary and stable are one revision, {canary!r}", remedy="pass two revisions of the service")
    for revision in (canary, stable):
        source.selector(namespace, revision=revision)
    _check_window(start, end)
    latest = latest_end(prometheus)
    if end > latest + 0.001:
        raise UsageError(
            f"the window ends {end - latest:.1f} s too late: samples of the last {SETTLED:g} s may not be stored yet",
            remedy="use latest_end(prometheus) as end, since the time of Prometheus counts",
        )
    if not prometheus.query("count(up)", time=start):
        raise CannotTell(
            f"Prometheus has no samples from the beginning of the window ({start:.0f}): it did not run, or has lost its data",
            remedy="begin a new window now; counters that were not seen at its beginning cannot be compared",
        )
    arms = {
        revision: counts_of(
            read_counters(prometheus, source, namespace=namespace, revision=revision, start=start, end=end)
        )
        for revision in (canary, stable)
    }
    return CanaryWindow(
        start=start,
        end=end,
        canary=_with_bounds_of(arms[canary], arms[stable]),
        stable=_with_bounds_of(arms[stable], arms[canary]),
    )


def _with_bounds_of(arm: ArmCounts, other: ArmCounts) -> ArmCounts:
    """A revision without requests has no buckets yet: none of its answers was slow. A source has the same bounds for both."""
    return replace(arm, slower=dict.fromkeys(other.slower, 0)) if not arm.requests and not arm.slower else arm


def latest_end(prometheus: Prometheus) -> float:
    """The latest end of a window that can be read now: SETTLED seconds before the time by Prometheus' clock."""
    return prometheus.now() - SETTLED


def detect_source(
    prometheus: Prometheus,
    *,
    namespace: str,
    revisions: Sequence[str],
    sources: Iterable[RequestSource] | None = None,
) -> RequestSource:
    """The first of ``sources`` (None: of SOURCES) that counted requests to one of the ``revisions`` within the last hour, else the first
    whose series it has.

    Raises CannotTell when there is none: it lists what Prometheus has instead.
    """
    if not revisions:
        raise UsageError("no revision is named", remedy="pass the names of the canary and of the stable revision")
    sources = tuple(SOURCES.values() if sources is None else sources)
    # A pod that has answered probes alone shows which program it is, but not by which protocol requests will come.
    for with_requests in (True, False):
        for source in sources:
            if any(_has_series(prometheus, source, namespace, revision, with_requests) for revision in revisions):
                return source
    raise _nothing_fits(prometheus, namespace, revisions, sources)


def _has_series(
    prometheus: Prometheus, source: RequestSource, namespace: str, revision: str, with_requests: bool
) -> bool:
    return any(
        prometheus.query(
            f"count(last_over_time({one.name}"
            f"{source.selector(namespace, revision=revision, where=one.where if with_requests else '')}[{MEMORY:.0f}s]))"
        )
        for one in source.requests
    )


def _nothing_fits(
    prometheus: Prometheus, namespace: str, revisions: Sequence[str], sources: Sequence[RequestSource]
) -> CannotTell:
    wanted = f"revision {' or '.join(revisions)} in namespace {namespace}"
    names = "|".join(dict.fromkeys(one.name for source in sources for one in source.requests))
    present = {one.labels["__name__"] for one in prometheus.query(f'group by (__name__) ({{__name__=~"{names}"}})')}
    if not present:
        ports = "; ".join(dict.fromkeys(f"{source.name}: {source.read_from}" for source in sources))
        return CannotTell(
            f"Prometheus at {prometheus.url} has no series that counts requests, of any service; it was asked for "
            f"{names.replace('|', ', ')}",
            remedy=f"scrape one of these: {ports}",
        )
    found = []
    for name in sorted(present):
        labels = dict.fromkeys(
            label
            for source in sources
            if name in source.series
            for label in (source.namespace_label, source.revision_label)
            if label
        )
        values = prometheus.query(f"topk({_LISTED}, count by ({', '.join(labels)}) ({name}))")
        listed = (
            ", ".join(f'{label}="{one.labels[label]}"' for label in labels if label in one.labels)
            or "none of these labels"
            for one in values
        )
        found.append(f"{name} ({', '.join(labels)}): {' · '.join(sorted(set(listed)))}")
    return CannotTell(
        f"Prometheus at {prometheus.url} has no series that counts the requests of {wanted}; it has {'; '.join(found)}",
        remedy="check the names and that the revision's pods are scraped; a label that is missing has to be copied from the pods by the "
        f"scrape configuration ({', '.join(f'{one.label} from {one.pod_label}' for one in POD_LABELS)})",
    )


def _require_scraped(
    prometheus: Prometheus, source: RequestSource, namespace: str, revision: str, start: float, end: float
) -> None:
    """Tell no requests from no data: raise CannotTell unless the source was scraped in the window."""
    window = f"[{(end - start) * 1000:.0f}ms]"
    of_pods = source.pod_label not in source.own_labels and source.revision_label not in source.own_labels
    selector = source.selector(namespace, revision=revision) if of_pods else ""
    scraped = f"up{selector}" if of_pods else "|".join(dict.fromkeys(one.name for one in source.requests))
    asked = scraped if of_pods else f'{{__name__=~"{scraped}"}}'
    found = prometheus.query(f"max_over_time({asked}{window})", time=end)
    if not found:
        raise CannotTell(
            f"Prometheus scraped no pod of revision {revision} in namespace {namespace} within {end - start:.0f} s (asked for {asked})"
            if of_pods
            else f"Prometheus has no sample of {scraped} within {end - start:.0f} s, of any revision",
            remedy=f"check that the revision has pods, that Prometheus scrapes them ({source.read_from}) and more often than every "
            f"{end - start:.0f} s",
        )
    if of_pods and not any(one.value for one in found):
        pods = sorted(one.labels.get(source.pod_label, one.labels.get("instance", "?")) for one in found)
        raise CannotTell(
            f"Prometheus cannot scrape any pod of revision {revision} (up is 0): {', '.join(pods)}",
            remedy=f"look at the error under Status > Targets of Prometheus, and at the port ({source.read_from})",
        )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A counter as Prometheus has it: its value at the start of the window, None if it was not scraped then; its last value in the hour
    before, scraped or not; and its samples in the window."""

    pod: str
    at_start: float | None
    remembered: float | None
    samples: tuple[tuple[float, float], ...]
    bound: float | None
    subtracted: bool


def _read(
    prometheus: Prometheus, source: RequestSource, selector: str, start: float, end: float, *, subtracted: bool
) -> list[_Found]:
    def by_identity(found: Iterable[Series]) -> Mapping[tuple[str, ...], list[Series]]:
        grouped: dict[tuple[str, ...], list[Series]] = defaultdict(list)
        for one in found:
            grouped[_identity(source, one)].append(one)
        return grouped

    at_start = by_identity(prometheus.query(selector, time=start))
    remembered = by_identity(prometheus.query(f"last_over_time({selector}[{MEMORY:.0f}s])", time=start))
    in_window = by_identity(prometheus.query(f"{selector}[{(end - start) * 1000:.0f}ms]", time=end))
    return [
        _Found(
            pod=key[0],
            at_start=max((one.value for one in at_start.get(key, ())), default=None),
            remembered=max((one.value for one in remembered.get(key, ())), default=None),
            # Prometheus 2 counts the start of a range to it.
            samples=tuple(
                sample for sample in _one_after_the_other(selector, in_window.get(key, [])) if sample[0] > start
            ),
            bound=_bound(key[-1], source.unit) if key[-1] else None,
            subtracted=subtracted,
        )
        for key in dict.fromkeys([*remembered, *in_window])
    ]


def _identity(source: RequestSource, series: Series) -> tuple[str, ...]:
    """What makes a counter of one name the same one: its pod, the labels that the program writes, and its bucket."""
    labels = series.labels
    pod = labels.get(source.pod_label) or labels.get("instance", "")
    # Prometheus 3 writes the bound 1 as 1.0, and keeps series of before its upgrade.
    bucket = str(float(labels["le"])) if "le" in labels else ""
    return (pod, *(labels.get(key, "") for key in source.own_labels), bucket)


def _one_after_the_other(selector: str, parts: Sequence[Series]) -> list[tuple[float, float]]:
    """The samples of series that follow each other. Raises CannotTell for those that exist at the same time: two scrapes of one counter."""
    ordered = sorted(parts, key=lambda one: one.samples[0])
    for first, second in pairwise(ordered):
        if second.samples[0][0] <= first.samples[-1][0]:
            different = {
                label: sorted((first.labels.get(label, ""), second.labels.get(label, "")))
                for label in sorted({*first.labels, *second.labels})
                if first.labels.get(label) != second.labels.get(label)
            }
            differs = ", ".join(f'{label}="{one}" and "{other}"' for label, (one, other) in different.items())
            label, (kept, _) = next(iter(different.items()))
            raise CannotTell(
                f"Prometheus has two answers for one series of {selector}: {differs}; their sum counts each request twice",
                remedy=f'scrape each pod by one job only; of replicas behind Thanos or Mimir, query one (here: {label}="{kept}") or turn '
                "deduplication on",
            )
    return [sample for one in ordered for sample in one.samples]


def _bound(le: str, unit: float) -> float:
    """A bucket's bound in seconds, without the noise of the conversion."""
    return round(float(le) * unit, 9)


def _check_window(start: float, end: float) -> None:
    if (
        not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (start, end))
        or not 0 <= start < end
    ):
        raise UsageError(
            f"the window from {start!r} to {end!r} does not end after it begins",
            remedy="pass Unix seconds, start before end",
        )


def _checked(kind: str, name: str) -> str:
    if not name:
        raise UsageError(
            f"the {kind} is empty",
            remedy="pass its name"
            + (
                "; a service has a newest revision once its status names one (newest_revision)"
                if kind == "revision"
                else ""
            ),
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"{kind} {name!r} is no name in Kubernetes", remedy="use lower-case letters, digits and '-'")
    return name


def _matcher(label: str, pattern: str, names: Mapping[str, str]) -> str:
    value = pattern.format(**names)
    return f'{label}="{value}"' if re.fullmatch(r"[-{}a-z]*", pattern) else f'{label}=~"{value}"'
