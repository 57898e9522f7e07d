"""What Prometheus scrapes, as configuration of Prometheus and as objects of its operator. Both have one relabelling."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trivet.integration.request_metrics import POD_LABELS
from trivet.operations.monitor.platform import EXPORTER, MonitoredPlatform
from trivet.operations.monitor.rules import PREDICTOR_JOB
from trivet.operations.monitor.series import GPU, KUBE_STATE

Document = dict[str, Any]

SERVICE_LABEL = "serving.kserve.io/inferenceservice"
INTERVAL = "30s"

_CAMEL = {"source_labels": "sourceLabels", "target_label": "targetLabel"}


def predictor_relabelling(platform: MonitoredPlatform) -> Sequence[Mapping[str, Any]]:
    """The relabelling of a predictor's pods. A pod becomes one target, whatever ports it declares: the one of the metrics it does not."""
    label = _of_pod(SERVICE_LABEL)
    # Transformers and explainers have the same label and container, and no metrics there (KServe 0.14.1 and 0.20.0
    # pkg/controller/v1beta1/inferenceservice/components: the label component).
    running = {
        "source_labels": [label, _of_pod("component"), "__meta_kubernetes_pod_phase"],
        "regex": ".+;predictor;Running",
        "action": "keep",
    }
    container = {
        "source_labels": ["__meta_kubernetes_pod_container_name"],
        "regex": "kserve-container",
        "action": "keep",
    }

    def set_label(target: str, source: str, regex: str = "(.+)", replacement: str = "$1") -> Mapping[str, Any]:
        return {"source_labels": [source], "regex": regex, "target_label": target, "replacement": replacement}

    port = platform.metrics_port
    return [
        running,
        container,
        set_label("__address__", "__meta_kubernetes_pod_ip", "([^:]+)", f"$1:{port}"),
        set_label("__address__", "__meta_kubernetes_pod_ip", "(.+:.+)", f"[$1]:{port}"),
        set_label("namespace", "__meta_kubernetes_namespace"),
        set_label("pod", "__meta_kubernetes_pod_name"),
        # Of Prometheus' rules for one label the last that matches counts.
        *(set_label(one.label, _of_pod(one.pod_label), one.regex) for one in reversed(POD_LABELS)),
        {"target_label": "job", "replacement": PREDICTOR_JOB},
    ]


def _of_pod(label: str) -> str:
    """The name that Prometheus' discovery gives a label of a pod."""
    return "__meta_kubernetes_pod_label_" + re.sub("[^a-zA-Z0-9_]", "_", label)


def scrape_configs(platform: MonitoredPlatform) -> Sequence[Document]:
    """The scrape configurations of a plain Prometheus."""
    pods: Document = {"role": "pod"}
    if platform.namespaces:
        pods["namespaces"] = {"names": list(platform.namespaces)}
    found: list[Document] = [
        {
            "job_name": PREDICTOR_JOB,
            "metrics_path": platform.metrics_path,
            "scrape_interval": INTERVAL,
            "kubernetes_sd_configs": [pods],
            "relabel_configs": list(predictor_relabelling(platform)),
        },
        _static(EXPORTER, platform.exporter, ()),
        _static("trivet-kube-state-metrics", platform.kube_state_metrics, KUBE_STATE),
    ]
    if platform.gpu:
        found.append(_static("trivet-gpu", platform.gpu, GPU))
    return found


def _static(job: str, address: str, only: Sequence[str]) -> Document:
    """A job with one target. Labels of the exporter's own win: they name the pods that it observes."""
    found: Document = {
        "job_name": job,
        "scrape_interval": INTERVAL,
        "honor_labels": True,
        "static_configs": [{"targets": [address]}],
    }
    if only:
        found["metric_relabel_configs"] = [{"source_labels": ["__name__"], "regex": "|".join(only), "action": "keep"}]
    return found


def pod_monitor(platform: MonitoredPlatform) -> Document:
    """The PodMonitor of the predictors. It names no port, since an operator keeps declared ports only."""
    relabelings = [
        {_CAMEL.get(key, key): value for key, value in one.items()} for one in predictor_relabelling(platform)
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": _metadata(PREDICTOR_JOB),
        "spec": {
            "namespaceSelector": {"matchNames": list(platform.namespaces)} if platform.namespaces else {"any": True},
            "selector": {"matchExpressions": [{"key": SERVICE_LABEL, "operator": "Exists"}]},
            "podMetricsEndpoints": [
                {"path": platform.metrics_path, "interval": INTERVAL, "relabelings": relabelings},
            ],
        },
    }


def service_monitor() -> Document:
    """The ServiceMonitor of trivet's exporter: of a Service with its label, and a port named metrics."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": _metadata(EXPORTER),
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": EXPORTER}},
            "endpoints": [{"port": "metrics", "interval": INTERVAL, "honorLabels": True}],
        },
    }


def prometheus_rule(groups: Sequence[Document]) -> Document:
    """The PrometheusRule of the groups of rules."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": _metadata("trivet"),
        "spec": {"groups": list(groups)},
    }


def _metadata(name: str) -> Document:
    return {"name": name, "labels": {"app.kubernetes.io/part-of": "trivet"}}
