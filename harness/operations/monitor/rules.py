"""Recording and alert rules, as data. PromQL is written here and in the dashboard only.

Counts are increases over a window of which a series that was born in the window counts from 0: ``increase()`` alone needs two samples, so
that the first errors of every pod, and of every status, would be invisible. Where Prometheus itself is new, a series that the first scrape
of its pod found is as old as the pod, and only its increase is counted. Ratios are judged only where a window holds enough requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trivet.integration.gate import TOLERANCE
from trivet.integration.request_metrics import MLSERVER_REST, RequestSource
from trivet.operations.monitor.platform import MonitoredPlatform
from trivet.operations.monitor.series import (
    CONTAINER_LAST_TERMINATED,
    CONTAINER_RESTARTS,
    CONTAINER_TERMINATED,
    EXPORTER_UP,
    GPU_ERROR,
    GPU_UTILISATION,
    OLDEST_PENDING,
    PIPELINE_RUNS,
    POD_READY,
    PREVIOUS_METRIC,
    PRODUCTION_METRIC,
    PRODUCTION_SERVICE,
    PRODUCTION_VERSION,
    SECONDS_IN_A_DAY,
)

PREDICTOR_JOB = "trivet-predictor"
"""The label ``job`` of a predictor's pods."""

LEAST_REQUESTS = 100
"""Inference requests in a window, below which no ratio is judged."""
ERROR_RATIO = 0.01
SLOW_SECONDS = 0.5
SLOW_RATIO = 0.01
"""More than 1 % slower than 0.5 s: the 99th percentile is above 0.5 s. Unlike a quantile this interpolates in no bucket."""
CANARY_FACTOR = 2
CANARY_ERRORS = 5
"""Errors of a revision, below which it is not compared with others: where those have none, any number is more than twice theirs."""
CANARY_DEVIATIONS = 3
"""Standard deviations by which the errors of a revision exceed its part of the service's errors: fewer are chance."""
PIPELINE_SUCCESS = 0.95

ARM = "namespace, inferenceservice, revision"
SERVICE = "namespace, inferenceservice"
WINDOWS = ("5m", "1h")
"""A short one to be fast, a long one for services with little traffic."""

RUNBOOK = "https://github.com/trivet-dev/trivet/blob/main/docs/monitoring.md#"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording rule."""

    name: str
    expression: str


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert rule. ``pending`` is how long the expression must hold. ``no_data`` is the alert that fires when this one cannot, since its
    series are missing; empty for those that are such alerts themselves. ``scenarios`` are the incidents that it is for. ``needs_errors``:
    only where the source counts them."""

    name: str
    expression: str
    pending: str
    severity: str
    summary: str
    description: str
    no_data: str = ""
    scenarios: tuple[str, ...] = ()
    needs_errors: bool = False

    @property
    def annotations(self) -> Mapping[str, str]:
        """What Alertmanager shows."""
        return {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": RUNBOOK + self.name.lower(),
        }


def requests(window: str) -> str:
    """The recorded number of inference requests in a window, by revision."""
    return f"trivet:inference_requests:increase{window}"


def errors(window: str) -> str:
    """The recorded number of them that were answered 5xx, by revision; 0 where there were requests."""
    return f"trivet:inference_errors:increase{window}"


def slow(window: str) -> str:
    """The recorded number of answers slower than SLOW_SECONDS, by revision."""
    return f"trivet:inference_slow:increase{window}"


def recordings(platform: MonitoredPlatform) -> Sequence[Recording]:
    """The recording rules, each after those that it needs."""
    source, up = platform.source, _up(platform)
    of_predictors = (predictors(platform), _namespaces(platform))
    found = []
    for window in WINDOWS:
        every = _increase(_series(f"{source.duration}_count", source.duration_where, *of_predictors), window, up)
        bucket = _series(f"{source.duration}_bucket", source.duration_where, *of_predictors, _le(source))
        fast = _increase(bucket, window, up)
        found.append(Recording(name=requests(window), expression=_increase(inferences(platform), window, up)))
        for one in source.errors:
            failed = _increase(_series(one.name, one.where, *of_predictors), window, up)
            found.append(Recording(name=errors(window), expression=f"{failed}\nor\n0 * {requests(window)}"))
        found.append(Recording(name=slow(window), expression=f"clamp_min(\n{every}\n-\n{fast}\n, 0)"))
    return found


def alerts_by_scenario(platform: MonitoredPlatform) -> Mapping[str, Mapping[str, float]]:
    """Scenario → the alerts that its incident is for, and how many seconds each must hold."""
    found: dict[str, dict[str, float]] = {}
    for alert in alerts(platform):
        for scenario in alert.scenarios:
            found.setdefault(scenario, {})[alert.name] = _seconds(alert.pending)
    return found


def _seconds(duration: str) -> float:
    """The seconds of a duration in one unit of Prometheus', such as 2m."""
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def inferences(platform: MonitoredPlatform) -> str:
    """The counter of inference requests."""
    (one,) = platform.source.requests
    return _series(one.name, one.where, predictors(platform), _namespaces(platform))


def predictors(platform: MonitoredPlatform) -> str:
    """A matcher of what was scraped from predictors, for series that other programs have too, such as Knative's activator and whatever is
    instrumented by OpenTelemetry; empty for MLServer's, which only MLServer has."""
    return "" if platform.source is MLSERVER_REST else f'job="{PREDICTOR_JOB}"'


def alerts(platform: MonitoredPlatform) -> Sequence[Alert]:
    """The alert rules of a platform. Where the source counts no errors, there are none on errors."""
    found = [*_of_pipelines(), *_of_models(), *_of_services(platform), *_of_canaries(platform), *_of_machines(platform)]
    return [one for one in found if platform.source.errors or not one.needs_errors]


def _of_pipelines() -> list[Alert]:
    def finished(states: str) -> str:
        return f"sum by (namespace) (max by (namespace, state) ({PIPELINE_RUNS.name}{{{states}}}))"

    succeeded, judged = finished('state="SUCCEEDED"'), finished('state=~"SUCCEEDED|FAILED"')
    return [
        Alert(
            name="PipelineSuccessLow",
            expression=f"{succeeded} / {judged} < {PIPELINE_SUCCESS:g}",
            pending="5m",
            severity="warning",
            summary="Only {{ $value | humanizePercentage }} of the pipeline runs of a day succeeded"
            "{{ with $labels.namespace }} in {{ . }}{{ end }}",
            description=f"Of the runs that finished in the last 24 hours less than {PIPELINE_SUCCESS:.0%} succeeded; "
            "cancelled runs are not counted.",
            no_data="PipelineRunsNoData",
        ),
        Alert(
            name="PipelineRunsNoData",
            expression=f'absent({EXPORTER_UP.name}{{source="kfp"}} == 1)',
            pending="15m",
            severity="warning",
            summary="Nothing is known of pipeline runs",
            description="trivet's exporter is not scraped, or it cannot read KFP's API: PipelineSuccessLow cannot fire.",
        ),
    ]


def _of_models() -> list[Alert]:
    production = f"max by (model, metric) ({PRODUCTION_METRIC.name})"
    previous = f"max by (model, metric) ({PREVIOUS_METRIC.name})"
    return [
        Alert(
            name="ModelMetricBelowPrevious",
            # The same rounding as in trivet.integration.quality_gate.
            expression=f"{production} < {previous} - {TOLERANCE + 1e-9:.10g}",
            pending="5m",
            severity="warning",
            summary="{{ $labels.metric }} of {{ $labels.model }} in production is {{ $value }}, less than of the version before",
            description=f"The version in production has a metric more than {TOLERANCE:g} below that of the newest "
            "earlier version that was not rejected.",
            no_data="ModelMetricNoData",
        ),
        Alert(
            name="ModelMetricNoData",
            expression=f"(max by (model) ({PRODUCTION_VERSION.name}) unless on (model) {production})\n"
            f"or\n({previous} unless on (model, metric) {production})",
            pending="15m",
            severity="warning",
            summary="The version of {{ $labels.model }} in production has no metric",
            description="The run of the version in production lacks the metric, or it is not a number: "
            "ModelMetricBelowPrevious cannot fire.",
        ),
        Alert(
            name="ModelVersionPending",
            expression=f"time() - max by (model) ({OLDEST_PENDING.name}) > {SECONDS_IN_A_DAY}",
            pending="5m",
            severity="warning",
            summary="A version of {{ $labels.model }} has waited {{ $value | humanizeDuration }} for a decision",
            description="It is registered, newer than the version in production, and neither promoted nor rejected for more than 24 hours.",
            no_data="ModelRegistryNoData",
            scenarios=("alias_moved.alias_moved_while_deploying",),
        ),
        Alert(
            name="ModelRegistryNoData",
            expression=f'absent({EXPORTER_UP.name}{{source="mlflow"}} == 1)',
            pending="15m",
            severity="critical",
            summary="Nothing is known of MLflow's registry",
            description="trivet's exporter is not scraped, or it cannot read MLflow: no alert on models and their versions can fire.",
            scenarios=("tracking_failure.tracking_fails_during_training",),
        ),
    ]


def _of_services(platform: MonitoredPlatform) -> list[Alert]:
    up = _up(platform)
    ready = f'max by (namespace, pod) ({POD_READY}{{condition="true"}}) == 1'
    name, within = platform.source.requests[0].name, _namespaces(platform)
    # The routes of probes are counted by MLServer, so that a pod that serves has its series; other sources begin with the first request.
    from_the_start = platform.source is MLSERVER_REST
    there = _series(name, within) if from_the_start else f"{up} == 1"
    unread = f"max by ({SERVICE}, pod) ({up}) == 0 and on (namespace, pod) {ready}"
    uncounted = f"max by ({SERVICE}, pod) ({up}) == 1 unless on (namespace, pod) group by (namespace, pod) ({there})"
    services = f"max by (model, {SERVICE}) ({_series(PRODUCTION_SERVICE.name, within)})"
    return [
        Alert(
            name="InferenceErrors",
            expression=_in_any_window(lambda window: _above(errors(window), ERROR_RATIO, window)),
            pending="2m",
            severity="critical",
            summary="{{ $labels.namespace }}/{{ $labels.inferenceservice }} answers {{ $value | humanizePercentage }} of its requests 5xx",
            description=f"More than {ERROR_RATIO:.0%} of at least {LEAST_REQUESTS} inference requests failed in the last "
            "5 minutes, or in the last hour.",
            no_data="InferenceNoData",
            scenarios=(
                "environment_skew.newer_training_packages",
                "ready_not_loaded.answers_not_ready",
                "signature_changed.promoted_under_clients",
            ),
            needs_errors=True,
        ),
        Alert(
            name="InferenceSlow",
            expression=_in_any_window(lambda window: _above(slow(window), SLOW_RATIO, window)),
            pending="2m",
            severity="critical",
            summary="{{ $labels.namespace }}/{{ $labels.inferenceservice }}: the 99th percentile of the latency is above "
            f"{SLOW_SECONDS * 1000:.0f} ms",
            description="{{ $value | humanizePercentage }} of at least "
            f"{LEAST_REQUESTS} answers were slower than {SLOW_SECONDS:g} s in the last 5 minutes, or in the last hour.",
            no_data="InferenceNoData",
        ),
        Alert(
            name="InferenceNoData",
            expression=f"absent({up})\nor\n({services} unless on ({SERVICE}) group by ({SERVICE}) ({there}))",
            pending="10m",
            severity="critical",
            summary="No metrics of inference requests"
            "{{ with $labels.inferenceservice }} of {{ $labels.namespace }}/{{ . }}, which serves {{ $labels.model }}{{ end }}",
            description="No predictor is scraped, or none of a service that serves a version in production: no alert on errors, latency or "
            "canaries can fire. A service at zero replicas has no metrics either.",
            scenarios=("rollback.revision_at_zero", "store_outage.no_new_pod"),
        ),
        Alert(
            name="MetricsPortWrong",
            expression=f"({unread})\nor\n({uncounted})" if from_the_start else unread,
            pending="10m",
            severity="warning",
            summary="Pod {{ $labels.namespace }}/{{ $labels.pod }} serves, but its metrics are not found",
            description=f"Prometheus scrapes port {platform.metrics_port}, path {platform.metrics_path}, where nothing answers"
            + (f" or what answers does not count requests ({name})." if from_the_start else "."),
            no_data="InferenceNoData",
        ),
    ]


def _of_canaries(platform: MonitoredPlatform) -> list[Alert]:
    pods = _series("up", f'job="{PREDICTOR_JOB}"', 'revision!=""', _namespaces(platform))
    up = f"max by ({ARM}) ({pods}) == 1"
    received = f"group by ({ARM}) ({inferences(platform)})"
    served = f"sum by ({SERVICE}) ({requests('1h')}) >= {LEAST_REQUESTS}"
    return [
        Alert(
            name="CanaryErrors",
            expression=_in_any_window(_worse_than_others),
            pending="1m",
            severity="critical",
            summary="Revision {{ $labels.revision }} of {{ $labels.namespace }}/{{ $labels.inferenceservice }} fails "
            "{{ $value | humanizePercentage }} of its requests, more than twice as many as the others",
            description=f"It has at least {CANARY_ERRORS} errors, and more than {CANARY_FACTOR} times the error ratio of the other "
            f"revisions, and more than chance gives it of the service's errors; "
            f"both have at least {LEAST_REQUESTS} requests in the last 5 minutes, or in the last hour.",
            no_data="CanaryNoTraffic",
            scenarios=("bad_canary.bad_model_promoted",),
            needs_errors=True,
        ),
        Alert(
            name="CanaryNoTraffic",
            expression=f"({up})\nunless on ({ARM}) {received}\n"
            f"and on ({SERVICE}) count by ({SERVICE}) ({up}) > 1\nand on ({SERVICE}) {served}",
            pending="10m",
            severity="warning",
            summary="Revision {{ $labels.revision }} of {{ $labels.namespace }}/{{ $labels.inferenceservice }} "
            "has never received a request",
            description="Other revisions of the service receive requests: the traffic is not split, and a canary cannot be judged.",
            no_data="InferenceNoData",
        ),
        Alert(
            name="CanaryUndecided",
            expression=f"count by ({SERVICE}) (max_over_time({requests('5m')}[15m]) > 0) > 1",
            pending="90m",
            severity="warning",
            summary="{{ $value }} revisions of {{ $labels.namespace }}/{{ $labels.inferenceservice }} have served for more than 90 minutes",
            description="A canary is neither promoted nor rolled back: nothing judges it, or its judge came to no decision.",
            no_data="InferenceNoData",
        ),
    ]


def _of_machines(platform: MonitoredPlatform) -> list[Alert]:
    within = _namespaces(platform)
    by = "namespace, pod, container"
    oom = 'reason="OOMKilled"'
    ended = _series(CONTAINER_TERMINATED, oom, within)
    found = [
        Alert(
            name="ContainerOutOfMemory",
            expression=f"(max by ({by}) (increase({_series(CONTAINER_RESTARTS, within)}[1d])) > 0\n"
            f"and on ({by}) max by ({by}) (max_over_time({_series(CONTAINER_LAST_TERMINATED, oom, within)}[1d])) == 1)\nor\n"
            f"(max by ({by}) (max_over_time({ended}[1d])) == 1\n"
            f"unless on ({by}) max by ({by}) (last_over_time({ended}[1h] offset 1d)) == 1)",
            pending="0s",
            severity="warning",
            summary="Container {{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} ran out of memory",
            description="The kernel killed it at its memory limit in the last 24 hours.",
            no_data="ContainerStateNoData",
            scenarios=("out_of_memory.under_traffic", "out_of_memory.while_loading"),
        ),
        Alert(
            name="ContainerStateNoData",
            expression=f"absent({POD_READY})",
            pending="15m",
            severity="warning",
            summary="Nothing is known of the states of containers",
            description="kube-state-metrics is not scraped: ContainerOutOfMemory and a part of MetricsPortWrong cannot fire.",
        ),
    ]
    if platform.gpu:
        found += [
            Alert(
                name="GpuError",
                expression=f"max by (Hostname, gpu) ({GPU_ERROR}) > 0",
                pending="0s",
                severity="critical",
                summary="GPU {{ $labels.gpu }} of {{ $labels.Hostname }} reported XID error {{ $value }}",
                description="The driver reported an error of the GPU or of the program on it; the code says which.",
                no_data="GpuNoData",
            ),
            Alert(
                name="GpuNoData",
                expression=f"absent({GPU_UTILISATION})",
                pending="15m",
                severity="warning",
                summary="Nothing is known of the GPUs",
                description="NVIDIA's dcgm-exporter is not scraped: GpuError cannot fire.",
            ),
        ]
    return found


def _increase(selector: str, window: str, up: str) -> str:
    """By how much counters grew in a window, by revision. Those that were not there in the hour before it count from 0, if Prometheus would
    have seen them: it scraped (``up``) their pod before they were there, or any predictor before the window."""
    pod = "namespace, pod"
    new = f"{selector} unless last_over_time({selector}[1h] offset {window})"
    later = (
        f"count_over_time({selector}[{window}])\n"
        f"< on ({pod}) group_left () max by ({pod}) (count_over_time({up}[{window}]))"
    )
    watched = f"{selector} and on () group(last_over_time({up}[1h] offset {window}))"
    return f"sum by ({ARM}) (\n({new} and (({later}) or ({watched})))\nor\nincrease({selector}[{window}])\n)"


def _above(part: str, limit: float, window: str) -> str:
    """A recorded count's share of the requests of a service, where it is above ``limit`` and there are enough requests."""
    every = f"sum by ({SERVICE}) ({requests(window)})"
    return f"sum by ({SERVICE}) ({part}) / {every} > {limit:g}\nand {every} >= {LEAST_REQUESTS}"


def _worse_than_others(window: str) -> str:
    """The error ratio of a revision, where it is worse than that of the service's other revisions."""
    failed, every = errors(window), requests(window)
    service = f"on ({SERVICE}) group_left () "
    expected = f"{every} * {service}(sum by ({SERVICE}) ({failed}) / sum by ({SERVICE}) ({every}))"
    variance = f"{expected} * ({_others(every)} / {service}sum by ({SERVICE}) ({every}))"
    return (
        f"{failed} / {every} > {CANARY_FACTOR} * {_others(failed)} / {_others(every)}\n"
        f"and {failed} >= {CANARY_ERRORS}\n"
        f"and {failed} - {expected} > {CANARY_DEVIATIONS} * sqrt({variance})\n"
        f"and {every} >= {LEAST_REQUESTS}\n"
        f"and {_others(every)} >= {LEAST_REQUESTS}"
    )


def _others(count: str) -> str:
    """What the other revisions of each revision's service counted."""
    return f"(-1 * ({count} - on ({SERVICE}) group_left () sum by ({SERVICE}) ({count})))"


def _in_any_window(expression: Callable[[str], str]) -> str:
    return "\nor\n".join(f"({expression(window)})" for window in WINDOWS)


def _up(platform: MonitoredPlatform) -> str:
    """Whether the predictors' pods were scraped."""
    return _series("up", f'job="{PREDICTOR_JOB}"', _namespaces(platform))


def _namespaces(platform: MonitoredPlatform) -> str:
    """A matcher; empty for all namespaces."""
    return f'namespace=~"{"|".join(platform.namespaces)}"' if platform.namespaces else ""


def _le(source: RequestSource) -> str:
    """A matcher of the bucket of SLOW_SECONDS. Prometheus 3 writes a whole bound with a decimal, and earlier ones as they find it."""
    bound = SLOW_SECONDS / source.unit
    return f'le=~"{bound:g}([.]0)?"' if bound.is_integer() else f'le="{bound:g}"'


def _series(name: str, *matchers: str) -> str:
    """A series with those matchers that are not empty."""
    chosen = ",".join(filter(None, matchers))
    return f"{name}{{{chosen}}}" if chosen else name
