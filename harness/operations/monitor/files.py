"""The files of a platform's monitoring: their names and texts. Nothing is written to disk here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from trivet.operations.monitor import scrape
from trivet.operations.monitor.dashboard import dashboard
from trivet.operations.monitor.platform import MonitoredPlatform
from trivet.operations.monitor.rules import alerts, recordings


def monitoring_files(platform: MonitoredPlatform) -> Mapping[str, str]:
    """Path below the output folder → text: for a plain Prometheus, for its operator on Kubernetes, and for Grafana."""
    groups = rule_groups(platform)
    what = f"Made by `trivet monitor render` for stack {platform.stack}."
    config = {
        "global": {"scrape_interval": scrape.INTERVAL, "evaluation_interval": scrape.INTERVAL},
        "scrape_config_files": ["scrape.yml"],
        "rule_files": ["rules.yml"],
    }
    return {
        "prometheus/prometheus.yml": _yaml(config, what),
        "prometheus/scrape.yml": _yaml({"scrape_configs": list(scrape.scrape_configs(platform))}, what),
        "prometheus/rules.yml": _yaml({"groups": list(groups)}, what),
        "kubernetes/podmonitor.yaml": _yaml(scrape.pod_monitor(platform), what),
        "kubernetes/servicemonitor.yaml": _yaml(scrape.service_monitor(), what),
        "kubernetes/prometheusrule.yaml": _yaml(scrape.prometheus_rule(groups), what),
        "grafana/dashboard.json": json.dumps(dashboard(platform), indent=2) + "\n",
    }


def rule_groups(platform: MonitoredPlatform) -> Sequence[dict[str, Any]]:
    """The groups of rules, as Prometheus and PrometheusRule have them."""
    return [
        {
            "name": "trivet-recording",
            "interval": scrape.INTERVAL,
            "rules": [{"record": one.name, "expr": one.expression} for one in recordings(platform)],
        },
        {
            "name": "trivet-alerts",
            "interval": scrape.INTERVAL,
            "rules": [
                {
                    "alert": one.name,
                    "expr": one.expression,
                    "for": one.pending,
                    "labels": {"severity": one.severity},
                    "annotations": dict(one.annotations),
                }
                for one in alerts(platform)
            ],
        },
    ]


class _Dumper(yaml.SafeDumper):
    """Expressions of several lines as blocks; nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(document: Any, comment: str) -> str:
    return f"# {comment}\n" + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
