"""The Grafana dashboard: its panels as data, and its JSON.

The schema is that of Grafana's classic dashboards (``schemaVersion`` 39), which Grafana 10 and newer import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trivet.operations.monitor.platform import MonitoredPlatform
from trivet.operations.monitor.rules import (
    ARM,
    ERROR_RATIO,
    PREDICTOR_JOB,
    SERVICE,
    SLOW_SECONDS,
    errors,
    predictors,
    requests,
)
from trivet.operations.monitor.series import (
    ALIAS_VERSION,
    CONTAINER_LAST_TERMINATED,
    CONTAINER_RESTARTS,
    EXPORTER_UP,
    GPU_MEMORY_FREE,
    GPU_MEMORY_USED,
    GPU_UTILISATION,
    OLDEST_PENDING,
    PIPELINE_RUNS,
    PREVIOUS_METRIC,
    PRODUCTION_METRIC,
    SECONDS_IN_A_DAY,
    TRACKING_RUNS,
    VERSIONS_PENDING,
)

UID = "trivet-serving"
COLUMNS = 24
PANEL = (8, 7)
"""Width and height of a panel in Grafana's grid."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

_WHERE = 'namespace=~"$namespace",inferenceservice=~"$inferenceservice"'


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A graph. ``queries`` are pairs of PromQL and legend, ``unit`` is one of Grafana's, ``limit`` a line above which an alert fires.
    ``needs_errors``: only where the source counts them."""

    title: str
    description: str
    unit: str
    queries: Sequence[tuple[str, str]]
    limit: float | None = None
    needs_errors: bool = False


def panels(platform: MonitoredPlatform) -> Sequence[tuple[str, Sequence[Panel]]]:
    """The panels in their order, by rows with a title."""
    rows = [
        ("Inference", _inference(platform)),
        ("Revisions: canary and stable", _revisions()),
        ("Pipelines and models", _models()),
        ("Containers", _containers(platform)),
    ]
    errors_counted = bool(platform.source.errors)
    return [(title, [one for one in row if errors_counted or not one.needs_errors]) for title, row in rows]


def _inference(platform: MonitoredPlatform) -> list[Panel]:
    source, by = platform.source, "{{namespace}}/{{inferenceservice}}"
    every, failed = (f"sum by ({SERVICE}) ({one}{{{_WHERE}}})" for one in (requests("5m"), errors("5m")))
    where = ",".join(filter(None, (source.duration_where, predictors(platform), _WHERE)))
    buckets = f"increase({source.duration}_bucket{{{where}}}[5m])"
    seconds = "" if source.unit == 1 else f" * {source.unit:g}"
    return [
        Panel(
            title="Request rate",
            description="Inference requests answered per second, without probes.",
            unit="reqps",
            queries=[(f"{every} / 300", by)],
        ),
        Panel(
            title="Errors",
            description="Share of the inference requests answered 5xx in 5 minutes. No line without requests.",
            unit="percentunit",
            queries=[(f"{failed} / ({every} > 0)", by)],
            limit=ERROR_RATIO,
            needs_errors=True,
        ),
        Panel(
            title="Latency",
            description="Quantiles over 5 minutes, as precise as the buckets of the histogram.",
            unit="s",
            queries=[
                (
                    f"histogram_quantile({quantile / 100:g}, sum by ({SERVICE}, le) ({buckets})){seconds}",
                    f"{by} p{quantile}",
                )
                for quantile in (50, 90, 99)
            ],
            limit=SLOW_SECONDS,
        ),
    ]


def _revisions() -> list[Panel]:
    by = "{{inferenceservice}} {{revision}}"
    every, failed = (f"{one}{{{_WHERE}}}" for one in (requests("5m"), errors("5m")))
    return [
        Panel(
            title="Requests by revision",
            description="Share of the service's inference requests in 5 minutes.",
            unit="percentunit",
            queries=[(f"{every} / on ({SERVICE}) group_left () (sum by ({SERVICE}) ({every}) > 0)", by)],
        ),
        Panel(
            title="Errors by revision",
            description="Share of the revision's inference requests answered 5xx in 5 minutes.",
            unit="percentunit",
            queries=[(f"{failed} / ({every} > 0)", by)],
            limit=ERROR_RATIO,
            needs_errors=True,
        ),
        Panel(
            title="Replicas",
            description="Pods that serve metrics, by revision.",
            unit="short",
            queries=[(f'sum by ({ARM}) (up{{job="{PREDICTOR_JOB}",{_WHERE}}})', by)],
        ),
    ]


def _models() -> list[Panel]:
    metric = "{{model}} {{metric}}"
    return [
        Panel(
            title="Pipeline runs of the last 24 hours",
            description="Runs that finished, by state.",
            unit="short",
            queries=[(f"max by (namespace, state) ({PIPELINE_RUNS.name}) > 0", "{{namespace}} {{state}}")],
        ),
        Panel(
            title="Metric of the version in production",
            description="And of the newest earlier version that was not rejected.",
            unit="short",
            queries=[
                (f"max by (model, metric) ({PRODUCTION_METRIC.name})", f"{metric} in production"),
                (f"max by (model, metric) ({PREVIOUS_METRIC.name})", f"{metric} before"),
            ],
        ),
        Panel(
            title="Model versions",
            description="The version behind each alias.",
            unit="short",
            queries=[(f"max by (model, alias) ({ALIAS_VERSION.name})", "{{model}} {{alias}}")],
        ),
        Panel(
            title="Versions pending",
            description="Registered versions newer than the one in production that wait for a decision.",
            unit="short",
            queries=[(f"max by (model) ({VERSIONS_PENDING.name})", "{{model}}")],
        ),
        Panel(
            title="Longest wait for a decision",
            description="Age of the oldest pending version.",
            unit="s",
            queries=[(f"time() - max by (model) ({OLDEST_PENDING.name})", "{{model}}")],
            limit=SECONDS_IN_A_DAY,
        ),
        Panel(
            title="MLflow runs of the last 24 hours, and whether the sources answer",
            description="Runs that started, by status; 0 for a source that the exporter cannot read.",
            unit="short",
            queries=[
                (f"max by (experiment, status) ({TRACKING_RUNS.name}) > 0", "{{experiment}} {{status}}"),
                (f"max by (source) ({EXPORTER_UP.name})", "{{source}} answers"),
            ],
        ),
    ]


def _containers(platform: MonitoredPlatform) -> list[Panel]:
    where = 'namespace=~"$namespace"'
    by = "namespace, pod, container"
    found = [
        Panel(
            title="Restarts after running out of memory",
            description="Restarts in an hour of containers whose last end was the kernel's at their memory limit.",
            unit="short",
            queries=[
                (
                    f"max by ({by}) (increase({CONTAINER_RESTARTS}{{{where}}}[1h])) and on ({by}) "
                    f'max by ({by}) ({CONTAINER_LAST_TERMINATED}{{reason="OOMKilled",{where}}}) == 1',
                    "{{pod}} {{container}}",
                )
            ],
        )
    ]
    if platform.gpu:
        used = f"max by (Hostname, gpu) ({GPU_MEMORY_USED})"
        free = f"max by (Hostname, gpu) ({GPU_MEMORY_FREE})"
        found += [
            Panel(
                title="GPU utilisation",
                description="As the driver measures it.",
                unit="percent",
                queries=[(f"max by (Hostname, gpu) ({GPU_UTILISATION})", "{{Hostname}} {{gpu}}")],
            ),
            Panel(
                title="GPU memory in use",
                description="Share of the memory.",
                unit="percentunit",
                queries=[(f"{used} / ({used} + {free})", "{{Hostname}} {{gpu}}")],
            ),
        ]
    return found


def dashboard(platform: MonitoredPlatform) -> dict[str, Any]:
    """Grafana's JSON."""
    width, height = PANEL
    found: list[dict[str, Any]] = []
    y = 0
    for title, row in panels(platform):
        found.append(
            {
                "id": len(found) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }
        )
        y += 1
        for number, panel in enumerate(row):
            x = number * width % COLUMNS
            place = {"x": x, "y": y + number * width // COLUMNS * height, "w": width, "h": height}
            found.append({"id": len(found) + 1, "gridPos": place, **_panel(panel)})
        y += -(-len(row) * width // COLUMNS) * height
    return {
        "uid": UID,
        "title": "Model serving",
        "tags": ["trivet", "kserve"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "annotations": {"list": []},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                _variable("namespace", "Namespace", f"label_values({requests('5m')}, namespace)"),
                _variable(
                    "inferenceservice",
                    "InferenceService",
                    f'label_values({requests("5m")}{{namespace=~"$namespace"}}, inferenceservice)',
                ),
            ]
        },
        "panels": found,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 8, "lineWidth": 2}}
    if panel.limit is not None:
        defaults["custom"]["thresholdsStyle"] = {"mode": "line"}
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": "green", "value": None}, {"color": "red", "value": panel.limit}],
        }
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }
