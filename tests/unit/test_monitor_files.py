"""What `trivet monitor render` writes: for which platforms, with which labels; panels that fit, and pages that its alerts link to."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from trivet.engine.registry import Registry
from trivet.errors import CannotTell, UsageError
from trivet.model.partial import PartialMapping
from trivet.operations.monitor.dashboard import COLUMNS, dashboard
from trivet.operations.monitor.files import monitoring_files
from trivet.operations.monitor.platform import MonitoredPlatform, metrics_endpoint, source_of
from trivet.operations.monitor.rules import RUNBOOK, alerts
from trivet.operations.monitor.series import EXPORTED
from trivet.stacks.read import load_stack

ROOT = Path(__file__).parents[2]
PLATFORM = MonitoredPlatform(
    stack="s", metrics_port=9100, metrics_path="/m", namespaces=("a", "b"), gpu="dcgm.gpu.svc:9400"
)


def relabelled(rules: Sequence[dict[str, Any]], labels: dict[str, str]) -> dict[str, str] | None:
    """What Prometheus' relabelling makes of a target's labels; None when it drops it."""
    found = dict(labels)
    for rule in rules:
        text = ";".join(found.get(one, "") for one in rule.get("source_labels", ()))
        match = re.fullmatch(rule.get("regex", "(.*)"), text)
        if rule.get("action") == "keep" and not match:
            return None
        if "target_label" in rule and match:
            found[rule["target_label"]] = match.expand(rule["replacement"].replace("$", "\\"))
    return {key: value for key, value in found.items() if not key.startswith("__meta")}


def pod(**labels: str) -> dict[str, str]:
    meta = {f"__meta_kubernetes_pod_label_{key}": value for key, value in labels.items()}
    return {
        "__meta_kubernetes_namespace": "a",
        "__meta_kubernetes_pod_name": "p",
        "__meta_kubernetes_pod_ip": "10.0.0.1",
        "__meta_kubernetes_pod_phase": "Running",
        "__meta_kubernetes_pod_container_name": "kserve-container",
        "__meta_kubernetes_pod_label_serving_kserve_io_inferenceservice": "c",
        "__meta_kubernetes_pod_label_component": "predictor",
        **meta,
    }


def predictor_rules() -> list[dict[str, Any]]:
    (job, *_) = yaml.safe_load(monitoring_files(PLATFORM)["prometheus/scrape.yml"])["scrape_configs"]
    rules: list[dict[str, Any]] = job["relabel_configs"]
    return rules


@pytest.mark.parametrize(
    ("labels", "revision"),
    [
        ({"serving_knative_dev_revision": "c-predictor-00002", "app": "c-predictor-00002"}, "c-predictor-00002"),
        ({"app": "isvc.c-predictor"}, "c-predictor"),
        ({"app": "isvc.c-green-predictor"}, "c-green-predictor"),
    ],
)
def test_a_predictor_pod_is_scraped_at_the_port_of_its_metrics_with_its_service_and_revision(
    labels: dict[str, str], revision: str
) -> None:
    assert relabelled(predictor_rules(), pod(**labels)) == {
        "__address__": "10.0.0.1:9100",
        "namespace": "a",
        "pod": "p",
        "inferenceservice": "c",
        "revision": revision,
        "job": "trivet-predictor",
    }


def test_an_ipv6_address_is_bracketed() -> None:
    found = relabelled(predictor_rules(), {**pod(), "__meta_kubernetes_pod_ip": "fd00::1"})
    assert found is not None
    assert found["__address__"] == "[fd00::1]:9100"


@pytest.mark.parametrize(
    "changed",
    [
        {"__meta_kubernetes_pod_container_name": "queue-proxy"},
        {"__meta_kubernetes_pod_phase": "Pending"},
        {"__meta_kubernetes_pod_label_serving_kserve_io_inferenceservice": ""},
        {"__meta_kubernetes_pod_label_component": "transformer"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_other_containers_and_pods_are_not_scraped(changed: dict[str, str]) -> None:
    assert relabelled(predictor_rules(), {**pod(), **changed}) is None


def test_the_operators_objects_have_the_same_relabelling_and_the_same_rules() -> None:
    files = monitoring_files(PLATFORM)
    monitor = yaml.safe_load(files["kubernetes/podmonitor.yaml"])["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    snake = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    assert [{snake.get(k, k): v for k, v in one.items()} for one in endpoint["relabelings"]] == predictor_rules()
    assert endpoint["path"] == "/m"
    assert monitor["namespaceSelector"] == {"matchNames": ["a", "b"]}
    rules = yaml.safe_load(files["kubernetes/prometheusrule.yaml"])["spec"]
    assert rules == yaml.safe_load(files["prometheus/rules.yml"])


@pytest.mark.parametrize("name", ["current", "2024.11", "2024.11-fixed"])
def test_every_shipped_stack_states_where_its_metrics_are(name: str) -> None:
    assert metrics_endpoint(load_stack(name)) == (8082, "/metrics")


def test_a_stack_that_does_not_know_its_runtime_is_refused_with_the_reason() -> None:
    stack = load_stack("current")
    unknown = PartialMapping(dict(stack.components), {}, "the version of {}")
    without = {key: value for key, value in unknown.items() if key != "runtime"}
    partial = PartialMapping(without, {"runtime": "its image is not MLServer's"}, "the version of {}")
    with pytest.raises(CannotTell):
        partial["runtime"]
    with pytest.raises(UsageError, match="the version of runtime is unknown: its image is not MLServer's"):
        metrics_endpoint(replace(stack, components=partial))


def test_a_queue_proxy_counts_for_a_stack_whose_runtime_is_unknown() -> None:
    stack = load_stack("current")
    without = replace(stack, components={key: value for key, value in stack.components.items() if key != "runtime"})
    with pytest.raises(UsageError, match="does not state where its predictors serve the metrics of MLServer") as caught:
        metrics_endpoint(without)
    assert "--source knative" in caught.value.remedy
    assert metrics_endpoint(without, source_of("knative")) == (9091, "/metrics")
    assert metrics_endpoint(without, source_of("kserve-python")) == (8080, "/metrics")


@pytest.mark.parametrize("source", ["kserve-python", "knative", "knative-opencensus"])
def test_what_is_written_names_the_series_of_its_source_alone(source: str) -> None:
    chosen = source_of(source)
    text = "".join(monitoring_files(replace(PLATFORM, source=chosen)).values())
    assert "rest_server_request" not in text
    assert f"{chosen.duration}_bucket" in text
    for on_errors in ("InferenceErrors", "CanaryErrors", '"Errors"', '"Errors by revision"'):
        assert (on_errors in text) == bool(chosen.errors), on_errors


def test_a_latency_in_milliseconds_is_shown_in_seconds() -> None:
    for source, factor in (("knative-opencensus", True), ("knative", False)):
        (panel,) = (
            one for one in dashboard(replace(PLATFORM, source=source_of(source)))["panels"] if one["title"] == "Latency"
        )
        assert [one["expr"].endswith(" * 0.001") for one in panel["targets"]] == [factor] * 3


@pytest.mark.parametrize("name", ["istio", "mlserver-grpc", "knativ"])
def test_a_source_that_is_not_scraped_from_predictors_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(UsageError, match=f"scraped from the predictors' pods '{name}'") as caught:
        source_of(name)
    assert "choose one of: knative, knative-opencensus, kserve-python, mlserver-rest" in caught.value.remedy


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"namespaces": ("Models",)}, "'Models' is no name of a namespace"),
        ({"namespaces": ('a"}',)}, "is no name of a namespace"),
        ({"exporter": "http://e:1"}, "the address of the exporter is 'http://e:1'"),
        ({"exporter": ""}, "the address of the exporter is ''"),
        ({"gpu": "dcgm"}, "the address of the GPU exporter is 'dcgm'"),
    ],
)
def test_wrong_names_and_addresses_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        replace(PLATFORM, **values)


def test_namespaces_limit_what_is_recorded_and_a_platform_without_gpus_has_no_alert_on_them() -> None:
    assert 'namespace=~"a|b"' in monitoring_files(PLATFORM)["prometheus/rules.yml"]
    everywhere = monitoring_files(replace(PLATFORM, namespaces=(), gpu=""))
    assert "namespace=~" not in everywhere["prometheus/rules.yml"]
    assert "DCGM" not in "".join(everywhere.values())


def test_the_page_of_every_alert_exists_and_is_in_its_table_with_its_incidents() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    scenarios = Registry().scenarios
    for alert in alerts(PLATFORM):
        assert f"\n### {alert.name}\n" in page
        assert alert.annotations["runbook_url"] == RUNBOOK + alert.name.lower()
        (row,) = [line for line in page.splitlines() if line.startswith(f"| [{alert.name}](")] or [""]
        assert not alert.no_data or alert.no_data in row, alert.name
        for scenario in alert.scenarios:
            assert scenario in scenarios
            assert f"scenarios/{scenario}.md" in row, alert.name


def test_the_page_names_every_exported_series_with_its_labels() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    for series in EXPORTED:
        (row,) = [line for line in page.splitlines() if line.startswith("| `") and f"`{series.name}`" in line]
        assert row.split(" | ")[1] == ", ".join(f"`{label}`" for label in series.labels)


def test_every_panel_is_described_has_a_unit_and_lies_beside_the_others() -> None:
    made = json.loads(monitoring_files(PLATFORM)["grafana/dashboard.json"])
    taken: set[tuple[int, int]] = set()
    variables = {one["name"] for one in made["templating"]["list"]}
    assert len({one["id"] for one in made["panels"]}) == len(made["panels"])
    for panel in made["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < COLUMNS
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert len({one["refId"] for one in panel["targets"]}) == len(panel["targets"]) > 0
        for target in panel["targets"]:
            assert target["legendFormat"]
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables


def test_what_the_reference_platform_shows_is_on_the_dashboard() -> None:
    titles = {one["title"] for one in dashboard(PLATFORM)["panels"]}
    assert titles >= {
        "Request rate",
        "Errors",
        "Latency",
        "Replicas",
        "Errors by revision",
        "Pipeline runs of the last 24 hours",
        "Model versions",
        "GPU utilisation",
    }
