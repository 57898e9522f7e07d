"""The rendered rules and the dashboard's queries in a real Prometheus, over the metrics of real MLServers and of the exporter."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from mlserver_processes import answers, mlserver, process, wait_until

from trivet.host.processes import free_ports
from trivet.operations.exporter import Exporter, Sample, serve
from trivet.operations.monitor import series
from trivet.operations.monitor.files import monitoring_files
from trivet.operations.monitor.platform import MonitoredPlatform
from trivet.provision.images.build import build_program
from trivet.provision.images.recipes import GoLayer
from trivet.stacks.platform import load_platform
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

PLATFORM = MonitoredPlatform(stack="s", metrics_port=8082, metrics_path="/metrics", gpu="dcgm-exporter.gpu.svc:9400")
MODEL = """
import mlserver


class Model(mlserver.MLModel):
    async def predict(self, request):
        if request.inputs[0].data[0] < 0:
            raise RuntimeError("negative")
        return mlserver.types.InferenceResponse(model_name=self.name, outputs=[])
"""
NO_SERIES = {"GPU memory in use", "GPU utilisation", "Restarts after running out of memory"}
"""Panels of exporters that this test has none of: their queries are evaluated only."""

EVALUATED_LATER = {"InferenceNoData", "PipelineRunsNoData", "ModelRegistryNoData"}
"""Alerts that rightly fire before the first scrapes. Each group of rules is evaluated at its own offset in the interval."""


@dataclass(frozen=True)
class Fixed:
    """A source with a sample of every series of a model and of pipelines."""

    name: str

    def read(self, now: float) -> Sequence[Sample]:
        if self.name == "kfp":
            return [
                Sample(series=series.PIPELINE_RUNS, labels=("", state), value=9) for state in ("SUCCEEDED", "FAILED")
            ]
        of_model = {
            series.ALIAS_VERSION: ("rec", "production"),
            series.PRODUCTION_METRIC: ("rec", "f1_weighted"),
            series.PREVIOUS_METRIC: ("rec", "f1_weighted"),
            series.VERSIONS_PENDING: ("rec",),
            series.OLDEST_PENDING: ("rec",),
            series.TRACKING_RUNS: ("training", "FINISHED"),
        }
        return [Sample(series=one, labels=labels, value=1) for one, labels in of_model.items()]


def send(url: str, value: float, times: int) -> None:
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [value]}]}
    for _ in range(times):
        # A connection each: the server closes idle ones while a loaded machine makes this process wait.
        status = requests.post(f"{url}/v2/models/rec/infer", json=body, timeout=30).status_code
        assert status == (500 if value < 0 else 200)


def prometheus_folder(folder: Path, targets: Sequence[tuple[str, int]], exporter: int) -> Path:
    """The rendered configuration, with targets of this machine and intervals of a second; alerts fire at once."""
    folder.mkdir()
    rules = yaml.safe_load(monitoring_files(PLATFORM)["prometheus/rules.yml"])
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule.pop("for", None)
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    of_pods = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {"namespace": "m", "inferenceservice": "c", "revision": revision, "pod": f"{revision}-p"},
        }
        for revision, port in targets
    ]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": "trivet-predictor", "static_configs": of_pods},
            {"job_name": "trivet-exporter", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]},
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return folder


def test_alerts_fire_on_real_metrics_and_every_panel_shows_them(tmp_path: Path) -> None:
    stack = load_stack("current")
    table = load_platform(stack).table["go"]["prometheus"]
    prometheus = build_program(
        GoLayer(
            name="prometheus",
            folder=Path(table["folder"]),
            programs={"github.com/prometheus/prometheus/cmd/prometheus": "/usr/local/bin/prometheus"},
            tags=table["tags"],
        )
    )
    with ExitStack() as running:
        stable, stable_metrics = running.enter_context(mlserver(stack, tmp_path / "stable", MODEL))
        canary, canary_metrics = running.enter_context(mlserver(stack, tmp_path / "canary", MODEL))
        port, listen = free_ports(2)
        stop = threading.Event()
        running.callback(stop.set)
        exporter = Exporter(sources=[Fixed("mlflow"), Fixed("kfp")])
        threading.Thread(target=serve, args=(exporter, "127.0.0.1", port), kwargs={"stop": stop}, daemon=True).start()
        targets = [("r1", stable_metrics), ("r2", canary_metrics)]
        folder = prometheus_folder(tmp_path / "prometheus", targets, port)
        address = f"127.0.0.1:{listen}"
        options = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
        running.enter_context(process([prometheus, *options], folder))
        wait_until(lambda: answers(f"http://{address}/-/ready"), "Prometheus to be ready")

        def query(expression: str) -> list[dict[str, Any]]:
            found = requests.get(f"http://{address}/api/v1/query", params={"query": expression}, timeout=10).json()
            assert found["status"] == "success", f"{expression}: {found}"
            result: list[dict[str, Any]] = found["data"]["result"]
            return result

        def firing() -> dict[str, str]:
            found = query('ALERTS{alertstate="firing"}')
            return {one["metric"]["alertname"]: one["metric"].get("revision", "") for one in found}

        wait_until(lambda: len(query('up{job="trivet-predictor"} == 1')) == len(targets), "both servers to be scraped")
        send(stable, 1, 300)
        send(canary, 1, 120)
        wait_until(lambda: bool(query("trivet:inference_requests:increase5m > 100")), "the requests to be counted")
        wait_until(lambda: not EVALUATED_LATER & set(firing()), "all targets to be scraped")
        silent = firing()
        assert not {"InferenceErrors", "CanaryErrors", "MetricsPortWrong"} & set(silent), silent

        send(canary, -1, 12)
        wait_until(lambda: {"InferenceErrors", "CanaryErrors"} <= set(firing()), "the alerts")
        assert firing()["CanaryErrors"] == "r2"

        # A scrape may lie between the requests; an error before the second scrape of its series must not be lost.
        def counted() -> list[str]:
            return [one["value"][1] for one in query('trivet:inference_errors:increase5m{revision="r2"}')]

        wait_until(lambda: counted() == ["12"], "all errors to be counted")

        for panel in json.loads(monitoring_files(PLATFORM)["grafana/dashboard.json"])["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$namespace", ".*").replace("$inferenceservice", ".*")
                shown = query(expression)
                assert bool(shown) == (panel["title"] not in NO_SERIES), f"{panel['title']}: {shown}"
