"""Every alert of ``trivet monitor render``, evaluated by promtool over series: it fires, it stays silent, and what fires without data."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from trivet.operations.monitor.files import monitoring_files, rule_groups
from trivet.operations.monitor.platform import MonitoredPlatform, source_of
from trivet.operations.monitor.rules import alerts
from trivet.provision.images.build import build_program
from trivet.provision.images.recipes import GoLayer

pytestmark = pytest.mark.processes

PLATFORM = MonitoredPlatform(stack="s", metrics_port=8082, metrics_path="/metrics", gpu="dcgm-exporter.gpu.svc:9400")

Series = tuple[str, str]
"""A series and its values in promtool's notation, at an interval of ``Case.step``."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Whether ``alert`` fires at ``minute`` over ``series``: with which labels, as PromQL writes them. Empty: it is silent."""

    name: str
    alert: str
    series: Sequence[Series]
    minute: int
    firing: Sequence[str] = ()
    step: str = "30s"


def traffic(
    revision: str,
    *,
    each: int,
    failed: int = 0,
    slow: int = 0,
    steps: int = 60,
    first_steps_absent: int = 0,
    pod: str = "",
    scraped: bool = True,
) -> Iterator[Series]:
    """What a pod of MLServer's exports: ``each`` requests in a step, of which ``failed`` are answered 500 and ``slow`` take over 0.5 s."""
    where = f'namespace="m",inferenceservice="c",revision="{revision}",pod="{pod or revision}-p"'
    infer = f'{where},path="/v2/models/{{model_name}}/infer",method="POST"'
    gap = f"_x{first_steps_absent} " if first_steps_absent else ""

    def grows(by: int) -> str:
        return f"{gap}{by}+{by}x{steps}"

    if scraped:
        yield f'up{{job="trivet-predictor",{where}}}', f"1x{steps + first_steps_absent}"
    yield f'rest_server_requests_total{{{where},path="/v2/health/ready",status_code="200"}}', grows(6)
    if each - failed:
        yield f'rest_server_requests_total{{{infer},status_code="200"}}', grows(each - failed)
    if failed:
        yield f'rest_server_requests_total{{{infer},status_code="500"}}', grows(failed)
    if each:
        name = "rest_server_request_duration_seconds"
        yield f'{name}_bucket{{{infer},status_code="200",le="0.5"}}', grows(each - slow)
        yield f'{name}_bucket{{{infer},status_code="200",le="+Inf"}}', grows(each)
        yield f'{name}_count{{{infer},status_code="200"}}', grows(each)


def exporter(source: str, values: str = "1x60") -> Series:
    return f'trivet_exporter_up{{source="{source}"}}', values


def runs(**counts: int) -> list[Series]:
    return [(f'trivet_pipeline_runs{{namespace="",state="{state}"}}', f"{count}x60") for state, count in counts.items()]


def metric(which: str, value: str) -> Series:
    return f'trivet_model_{which}_metric{{model="rec",metric="f1"}}', f"{value}x60"


def container(name: str, values: str, reason: str = "") -> Series:
    of_reason = f',reason="{reason}"' if reason else ""
    return f'kube_pod_container_status_{name}{{namespace="m",pod="p",container="c"{of_reason}}}', values


def _long_served(up: str, first_steps_absent: int = 0) -> list[Series]:
    """A pod that has answered 1,000 requests, half of them 500, before its first scrape, and then answers 90 in a step."""
    gap = f"_x{first_steps_absent} " if first_steps_absent else ""
    where = 'namespace="m",inferenceservice="c",revision="r2",pod="r2-p"'
    infer = f'{where},path="/v2/models/{{model_name}}/infer",method="POST"'
    return [
        (f'up{{job="trivet-predictor",{where}}}', up),
        (f'rest_server_requests_total{{{infer},status_code="200"}}', f"{gap}500+90x60"),
        (f'rest_server_requests_total{{{infer},status_code="500"}}', f"{gap}500x60"),
    ]


SERVICE = '{namespace="m", inferenceservice="c"}'
SERVED = ('trivet_model_production_service{model="rec",namespace="m",inferenceservice="c"}', "1x60")
STABLE = [*traffic("r1", each=80, steps=240)]
POD = '{namespace="m", inferenceservice="c", pod="r1-p"}'
READY = ('kube_pod_status_ready{namespace="m",pod="r1-p",condition="true"}', "1x60")
OOM = '{namespace="m", pod="p", container="c"}'

CASES = [
    Case(
        name="fires at 90 %",
        alert="PipelineSuccessLow",
        series=runs(SUCCEEDED=9, FAILED=1, CANCELED=0),
        minute=10,
        firing=["{}"],
    ),
    Case(
        name="silent at 95 %, and cancelled runs do not count",
        alert="PipelineSuccessLow",
        series=runs(SUCCEEDED=19, FAILED=1, CANCELED=9),
        minute=10,
    ),
    Case(
        name="silent without a run",
        alert="PipelineSuccessLow",
        series=runs(SUCCEEDED=0, FAILED=0),
        minute=10,
    ),
    Case(name="fires without an exporter", alert="PipelineRunsNoData", series=[], minute=20, firing=["{}"]),
    Case(
        name="fires while KFP cannot be read",
        alert="PipelineRunsNoData",
        series=[exporter("kfp", "0x60")],
        minute=20,
        firing=["{}"],
    ),
    Case(name="silent while KFP is read", alert="PipelineRunsNoData", series=[exporter("kfp")], minute=20),
    Case(
        name="fires at 0.03 below",
        alert="ModelMetricBelowPrevious",
        series=[metric("production", "0.87"), metric("previous", "0.90")],
        minute=10,
        firing=['{model="rec", metric="f1"}'],
    ),
    Case(
        name="silent at 0.02 below",
        alert="ModelMetricBelowPrevious",
        series=[metric("production", "0.88"), metric("previous", "0.90")],
        minute=10,
    ),
    Case(
        name="silent without a previous version",
        alert="ModelMetricBelowPrevious",
        series=[metric("production", "0.5")],
        minute=10,
    ),
    Case(
        name="fires for a version without the metric",
        alert="ModelMetricNoData",
        series=[('trivet_model_production_version{model="rec"}', "7x60")],
        minute=20,
        firing=['{model="rec"}'],
    ),
    Case(
        name="silent for a version with the metric",
        alert="ModelMetricNoData",
        series=[('trivet_model_production_version{model="rec"}', "7x60"), metric("production", "0.9")],
        minute=20,
    ),
    Case(
        name="fires after a day",
        alert="ModelVersionPending",
        series=[('trivet_model_oldest_pending_timestamp_seconds{model="rec"}', "0x300")],
        step="5m",
        minute=24 * 60 + 15,
        firing=['{model="rec"}'],
    ),
    Case(
        name="silent before a day is over",
        alert="ModelVersionPending",
        series=[('trivet_model_oldest_pending_timestamp_seconds{model="rec"}', "0x300")],
        step="5m",
        minute=24 * 60 - 5,
    ),
    Case(
        name="silent when nothing is pending",
        alert="ModelVersionPending",
        series=[('trivet_model_versions_pending{model="rec"}', "0x300")],
        step="5m",
        minute=24 * 60 + 15,
    ),
    Case(
        name="fires without an exporter",
        alert="ModelRegistryNoData",
        series=[exporter("kfp")],
        minute=20,
        firing=["{}"],
    ),
    Case(name="silent while MLflow is read", alert="ModelRegistryNoData", series=[exporter("mlflow")], minute=20),
    Case(
        name="fires at 2.5 %",
        alert="InferenceErrors",
        series=[*traffic("r1", each=80, failed=2)],
        minute=10,
        firing=[SERVICE],
    ),
    Case(name="silent at 0.5 %", alert="InferenceErrors", series=[*traffic("r1", each=200, failed=1)], minute=20),
    Case(
        name="silent with too few requests to judge",
        alert="InferenceErrors",
        series=[*traffic("r1", each=1, failed=1, steps=20)],
        minute=9,
    ),
    Case(
        name="fires by the hour with few requests",
        alert="InferenceErrors",
        series=[*traffic("r1", each=1, failed=1, steps=120)],
        minute=58,
        firing=[SERVICE],
    ),
    Case(
        name="fires on errors that a single scrape saw first",
        alert="InferenceErrors",
        series=[
            *traffic("r1", each=80, steps=40),
            (
                'rest_server_requests_total{namespace="m",inferenceservice="c",revision="r1",pod="r1-p",'
                'path="/v2/models/{model_name}/infer",method="POST",status_code="503"}',
                "_x20 40x20",
            ),
        ],
        minute=13,
        firing=[SERVICE],
    ),
    Case(
        name="silent on old errors that are scraped again after a gap of 20 minutes",
        alert="InferenceErrors",
        series=[
            *traffic("r1", each=80, steps=240),
            (
                'rest_server_requests_total{namespace="m",inferenceservice="c",revision="r1",pod="r1-p",'
                'path="/v2/models/{model_name}/infer",method="POST",status_code="500"}',
                "5000x150 stale _x20 5000x60",
            ),
        ],
        step="1m",
        minute=175,
    ),
    Case(
        name="silent on the errors of a pod's whole life, which a new Prometheus scrapes for the first time",
        alert="InferenceErrors",
        series=_long_served(up="1x60"),
        minute=6,
    ),
    Case(
        name="fires on the first errors of a new pod, which Prometheus sees at once with its answers",
        alert="InferenceErrors",
        series=[*traffic("r1", each=1, steps=240), *_long_served(up="_x40 1x60", first_steps_absent=40)],
        minute=23,
        firing=[SERVICE],
    ),
    Case(name="silent without series", alert="InferenceErrors", series=[], minute=20),
    Case(
        name="fires when 2.5 % are slower than 0.5 s",
        alert="InferenceSlow",
        series=[*traffic("r1", each=80, slow=2)],
        minute=10,
        firing=[SERVICE],
    ),
    Case(
        name="silent when 0.5 % are",
        alert="InferenceSlow",
        series=[*traffic("r1", each=200, slow=1)],
        minute=20,
    ),
    Case(name="silent without series", alert="InferenceSlow", series=[], minute=20),
    Case(
        name="fires when no predictor is scraped",
        alert="InferenceNoData",
        series=[],
        minute=20,
        firing=['{job="trivet-predictor"}'],
    ),
    Case(
        name="fires for a service in production without metrics",
        alert="InferenceNoData",
        series=[
            *traffic("r1", each=0),
            ('trivet_model_production_service{model="rec",namespace="m",inferenceservice="other"}', "1x60"),
            SERVED,
        ],
        minute=20,
        firing=['{model="rec", namespace="m", inferenceservice="other"}'],
    ),
    Case(
        name="silent for a service that nobody asks",
        alert="InferenceNoData",
        series=[
            *traffic("r1", each=0),
            SERVED,
        ],
        minute=20,
    ),
    Case(
        name="fires for a ready pod whose port does not answer",
        alert="MetricsPortWrong",
        series=[('up{job="trivet-predictor",namespace="m",inferenceservice="c",pod="r1-p"}', "0x60"), READY],
        minute=20,
        firing=[POD],
    ),
    Case(
        name="fires for a port with other metrics",
        alert="MetricsPortWrong",
        series=[('up{job="trivet-predictor",namespace="m",inferenceservice="c",pod="r1-p"}', "1x60"), READY],
        minute=20,
        firing=[POD],
    ),
    Case(
        name="silent for a pod that is not ready",
        alert="MetricsPortWrong",
        series=[
            ('up{job="trivet-predictor",namespace="m",inferenceservice="c",pod="r1-p"}', "0x60"),
            ('kube_pod_status_ready{namespace="m",pod="r1-p",condition="true"}', "0x60"),
        ],
        minute=20,
    ),
    Case(
        name="silent for the right port",
        alert="MetricsPortWrong",
        series=[*traffic("r1", each=0), READY],
        minute=20,
    ),
    Case(name="silent without series", alert="MetricsPortWrong", series=[], minute=20),
    Case(
        name="fires on a canary with 10 % against 1.25 %",
        alert="CanaryErrors",
        series=[*traffic("r1", each=80, failed=1), *traffic("r2", each=20, failed=2)],
        minute=10,
        firing=['{namespace="m", inferenceservice="c", revision="r2"}'],
    ),
    Case(
        name="fires on a canary with errors against none",
        alert="CanaryErrors",
        series=[*traffic("r1", each=80), *traffic("r2", each=20, failed=1)],
        minute=10,
        firing=['{namespace="m", inferenceservice="c", revision="r2"}'],
    ),
    Case(
        name="silent in an outage that both share",
        alert="CanaryErrors",
        series=[*traffic("r1", each=80, failed=40), *traffic("r2", each=20, failed=12)],
        minute=15,
    ),
    Case(name="silent without a canary", alert="CanaryErrors", series=[*traffic("r1", each=80, failed=8)], minute=15),
    Case(
        name="silent when the canary has too few requests",
        alert="CanaryErrors",
        series=[*traffic("r1", each=80), *traffic("r2", each=1, failed=1)],
        minute=15,
    ),
    Case(name="silent without series", alert="CanaryErrors", series=[], minute=15),
    Case(
        name="fires for a canary that gets nothing",
        alert="CanaryNoTraffic",
        series=[*STABLE, *traffic("r2", each=0)],
        minute=20,
        firing=['{namespace="m", inferenceservice="c", revision="r2"}'],
    ),
    Case(
        name="silent for a canary with little traffic",
        alert="CanaryNoTraffic",
        series=[*STABLE, *traffic("r2", each=1)],
        minute=20,
    ),
    Case(
        name="silent for a revision that is kept after it served",
        alert="CanaryNoTraffic",
        series=[
            *traffic("r1", each=80),
            *((one, values if one.startswith("up") else "500x60") for one, values in traffic("r0", each=80)),
        ],
        minute=20,
    ),
    Case(name="silent without series", alert="CanaryNoTraffic", series=[], minute=20),
    Case(
        name="fires when two revisions serve for two hours",
        alert="CanaryUndecided",
        series=[*STABLE, *traffic("r2", each=20, steps=240)],
        minute=100,
        firing=[SERVICE],
    ),
    Case(
        name="silent when the canary was decided after an hour",
        alert="CanaryUndecided",
        series=[*STABLE, *traffic("r2", each=20, steps=120)],
        minute=115,
    ),
    Case(name="silent without series", alert="CanaryUndecided", series=[], minute=100),
    Case(
        name="fires on a container that was restarted",
        alert="ContainerOutOfMemory",
        series=[
            container("restarts_total", "0x20 1x100"),
            container("last_terminated_reason", "_x20 1x100", "OOMKilled"),
        ],
        minute=30,
        firing=[OOM],
    ),
    Case(
        name="fires on a container that is not restarted",
        alert="ContainerOutOfMemory",
        series=[
            container("restarts_total", "0x100"),
            container("terminated_reason", "_x20 1x100", "OOMKilled"),
        ],
        minute=30,
        firing=[OOM],
    ),
    Case(
        name="silent on another restart of a container that ran out of memory never",
        alert="ContainerOutOfMemory",
        series=[
            container("restarts_total", "0x20 1x100"),
            container("last_terminated_reason", "_x20 1x100", "Error"),
        ],
        minute=30,
    ),
    Case(
        name="silent a day after",
        alert="ContainerOutOfMemory",
        series=[
            container("restarts_total", "0x12 1x400"),
            container("last_terminated_reason", "_x12 1x400", "OOMKilled"),
            container("terminated_reason", "_x12 1x400", "OOMKilled"),
        ],
        step="5m",
        minute=26 * 60,
    ),
    Case(name="silent without series", alert="ContainerOutOfMemory", series=[], minute=30),
    Case(name="fires without kube-state-metrics", alert="ContainerStateNoData", series=[], minute=20, firing=["{}"]),
    Case(name="silent with kube-state-metrics", alert="ContainerStateNoData", series=[READY], minute=20),
    Case(
        name="fires on an XID error",
        alert="GpuError",
        series=[('DCGM_FI_DEV_XID_ERRORS{Hostname="n",gpu="0"}', "0x5 79x20")],
        minute=10,
        firing=['{Hostname="n", gpu="0"}'],
    ),
    Case(
        name="silent without one",
        alert="GpuError",
        series=[('DCGM_FI_DEV_XID_ERRORS{Hostname="n",gpu="0"}', "0x25")],
        minute=10,
    ),
    Case(name="silent without series", alert="GpuError", series=[], minute=10),
    Case(name="fires without dcgm-exporter", alert="GpuNoData", series=[], minute=20, firing=["{}"]),
    Case(
        name="silent with it",
        alert="GpuNoData",
        series=[('DCGM_FI_DEV_GPU_UTIL{Hostname="n",gpu="0"}', "0x60")],
        minute=20,
    ),
]


REPLIES: Mapping[str, tuple[str, str, str, Mapping[int, str]]] = {
    "knative": (
        *("http_server_request_duration_seconds_count", "http_server_request_duration_seconds", "0.5"),
        {200: ',http_response_status_code="200"', 500: ',http_response_status_code="503"'},
    ),
    "knative-opencensus": (
        *("revision_request_count", "revision_request_latencies", "500"),
        {
            200: ',response_code="200",response_code_class="2xx"',
            500: ',response_code="500",response_code_class="5xx"',
        },
    ),
    "kserve-python": (
        *("request_predict_seconds_count", "request_predict_seconds", "0.5"),
        {200: ',model_name="c"', 500: ',model_name="c"'},
    ),
}
"""Source → its counter, its histogram, the bound of half a second, and the labels of answers that succeed and fail."""


def counted_by(source: str, revision: str, *, each: int, failed: int = 0, slow: int = 0) -> Iterator[Series]:
    """What a pod exports of ``each`` requests in a step; without requests nothing but that it was scraped."""
    counter, histogram, bound, labels = REPLIES[source]
    where = f'job="trivet-predictor",namespace="m",inferenceservice="c",revision="{revision}",pod="{revision}-p"'
    yield f"up{{{where}}}", "1x60"
    for status, count, late in ((200, each - failed, slow), (500, failed, 0)):
        if count:
            ended = f"{where}{labels[status]}"
            if counter != f"{histogram}_count":
                yield f"{counter}{{{ended}}}", f"{count}+{count}x60"
            yield f"{histogram}_count{{{ended}}}", f"{count}+{count}x60"
            yield f'{histogram}_bucket{{{ended},le="{bound}"}}', f"{count - late}+{count - late}x60"
            yield f'{histogram}_bucket{{{ended},le="+Inf"}}', f"{count}+{count}x60"


def of_another_program(series: str) -> str:
    return series.replace('job="trivet-predictor"', 'job="activator"').replace('namespace="m"', 'namespace="shop"')


def cases_of(source: str) -> Sequence[Case]:
    """Each alert over requests, by what this source counts."""
    stable, served = list(counted_by(source, "r1", each=80)), [SERVED]
    on_errors = [
        Case(
            name="fires",
            alert="InferenceErrors",
            series=[*counted_by(source, "r1", each=80, failed=2)],
            minute=10,
            firing=[SERVICE],
        ),
        Case(name="silent", alert="InferenceErrors", series=stable, minute=10),
        Case(
            name="silent on another program with such series",
            alert="InferenceErrors",
            series=[
                *stable,
                *((of_another_program(one), values) for one, values in counted_by(source, "r1", each=80, failed=40)),
            ],
            minute=10,
        ),
        Case(
            name="fires",
            alert="CanaryErrors",
            series=[*stable, *counted_by(source, "r2", each=20, failed=5)],
            minute=10,
            firing=['{namespace="m", inferenceservice="c", revision="r2"}'],
        ),
        Case(name="silent", alert="CanaryErrors", series=[*stable, *counted_by(source, "r2", each=20)], minute=10),
    ]
    return [
        *(on_errors if source != "kserve-python" else ()),
        Case(
            name="fires",
            alert="InferenceSlow",
            series=[*counted_by(source, "r1", each=80, slow=2)],
            minute=10,
            firing=[SERVICE],
        ),
        Case(name="silent", alert="InferenceSlow", series=stable, minute=10),
        Case(
            name="fires",
            alert="CanaryNoTraffic",
            series=[*stable, *counted_by(source, "r2", each=0)],
            minute=20,
            firing=['{namespace="m", inferenceservice="c", revision="r2"}'],
        ),
        Case(name="silent", alert="CanaryNoTraffic", series=[*stable, *counted_by(source, "r2", each=1)], minute=20),
        Case(
            name="fires for a service in production that is not scraped",
            alert="InferenceNoData",
            series=[*served, *((one.replace('="c"', '="d"'), values) for one, values in stable)],
            minute=20,
            firing=['{model="rec", namespace="m", inferenceservice="c"}'],
        ),
        Case(
            name="silent for one that nobody asks",
            alert="InferenceNoData",
            series=[*served, *counted_by(source, "r1", each=0)],
            minute=20,
        ),
        Case(
            name="fires on a port where nothing answers",
            alert="MetricsPortWrong",
            series=[READY, *((one, "0x60") for one, _ in counted_by(source, "r1", each=0))],
            minute=20,
            firing=[POD],
        ),
        Case(
            name="silent for a pod that nobody asks",
            alert="MetricsPortWrong",
            series=[READY, *counted_by(source, "r1", each=0)],
            minute=20,
        ),
    ]


@pytest.fixture(scope="module")
def promtool() -> Path:
    """promtool of the Prometheus in the platforms' images; built once, the first time in minutes."""
    layer = GoLayer(
        name="promtool",
        folder=Path(__file__).parent / "promtool",
        programs={"github.com/prometheus/prometheus/cmd/promtool": "/usr/local/bin/promtool"},
        tags="remove_all_sd,enable_kubernetes_sd",
    )
    return build_program(layer)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Prometheus' configuration."""
    folder = tmp_path_factory.mktemp("rendered")
    for name, text in monitoring_files(PLATFORM).items():
        if name.startswith("prometheus/"):
            (folder / Path(name).name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("source", REPLIES)
def test_the_alerts_over_requests_fire_by_what_each_source_counts(promtool: Path, tmp_path: Path, source: str) -> None:
    platform = replace(PLATFORM, source=source_of(source))
    (tmp_path / "rules.yml").write_text(monitoring_files(platform)["prometheus/rules.yml"], encoding="utf-8")
    done = run(promtool, tmp_path, "check", "rules", "--lint=all", "--lint-fatal", "rules.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    cases = cases_of(source)
    outcomes = "\n".join(failures(promtool, tmp_path, case, platform) for case in cases)
    assert not outcomes.strip(), outcomes


def test_promtool_accepts_the_configuration_and_finds_nothing_in_the_rules(promtool: Path, rendered: Path) -> None:
    for command in (["config", "prometheus.yml"], ["rules", "--lint=all", "--lint-fatal", "rules.yml"]):
        done = run(promtool, rendered, "check", *command)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", dict.fromkeys(case.alert for case in CASES))
def test_an_alert_fires_when_it_should_and_at_no_other_time(promtool: Path, rendered: Path, alert: str) -> None:
    cases = [case for case in CASES if case.alert == alert]
    outcomes = "\n".join(failures(promtool, rendered, case) for case in cases)
    assert not outcomes.strip(), outcomes


def test_every_alert_has_cases_that_fire_and_that_do_not_and_one_that_fires_in_its_place_without_data() -> None:
    known = {one.name: one for one in alerts(PLATFORM)}
    assert {case.alert for case in CASES} == set(known)
    for name, alert in known.items():
        assert {bool(case.firing) for case in CASES if case.alert == name} == {True, False}, name
        assert not alert.no_data or alert.no_data in known, name
        assert alert.no_data or name.endswith("NoData"), name
    in_place = {alert.no_data for alert in known.values() if alert.no_data}
    for name in in_place:
        assert any(not case.series or case.firing for case in CASES if case.alert == name), name


def failures(promtool: Path, rendered: Path, case: Case, platform: MonitoredPlatform = PLATFORM) -> str:
    """What promtool says about a case that is not as expected; empty when it is."""
    rules = rules_of(case.alert, platform)
    (rendered / f"{case.alert}.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    query = f'group without (__name__, alertname, alertstate, severity) (ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    test = {
        "rule_files": [f"{case.alert}.yml"],
        "evaluation_interval": case.step,
        "tests": [
            {
                "name": case.name,
                "interval": case.step,
                "input_series": [{"series": series, "values": values} for series, values in case.series],
                "promql_expr_test": [
                    {
                        "expr": query,
                        "eval_time": f"{case.minute}m",
                        "exp_samples": [{"labels": labels, "value": 1} for labels in case.firing],
                    }
                ],
            }
        ],
    }
    (rendered / "test.yml").write_text(yaml.safe_dump(test), encoding="utf-8")
    done = run(promtool, rendered, "test", "rules", "test.yml")
    return f"{case.alert}, {case.name}: {done.stdout}{done.stderr}" if done.returncode else ""


def rules_of(alert: str, platform: MonitoredPlatform) -> list[dict[str, Any]]:
    """The rule of an alert, after those that record what it needs: all rules take promtool ten times as long."""
    recording, alerting = (group["rules"] for group in rule_groups(platform))
    needed = [next(rule for rule in alerting if rule["alert"] == alert)]
    for rule in reversed(recording):
        if any(rule["record"] in one["expr"] for one in needed):
            needed.insert(0, rule)
    return needed


def run(promtool: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
