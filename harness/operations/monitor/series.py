"""The series that rules, dashboard and exporter have in common: who exports them, their labels and their meaning. Nothing is queried here.

Those of inference requests are in :mod:`trivet.integration.request_metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass

SECONDS_IN_A_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Series:
    """A gauge of trivet's exporter."""

    name: str
    labels: tuple[str, ...]
    meaning: str


EXPORTER_UP = Series(
    name="trivet_exporter_up",
    labels=("source",),
    meaning="1 if the last reading of the source (mlflow, kfp) succeeded and is recent, else 0, and no other series of the source exists.",
)
EXPORTER_LAST_SUCCESS = Series(
    name="trivet_exporter_last_success_timestamp_seconds",
    labels=("source",),
    meaning="When the source was last read successfully, in Unix time; 0 if never.",
)
ALIAS_VERSION = Series(
    name="trivet_model_alias_version",
    labels=("model", "alias"),
    meaning="The number of the registered version that has the alias.",
)
PRODUCTION_VERSION = Series(
    name="trivet_model_production_version",
    labels=("model",),
    meaning="The number of the registered version in production; no series without one.",
)
PRODUCTION_METRIC = Series(
    name="trivet_model_production_metric",
    labels=("model", "metric"),
    meaning="The metric of the run of the version in production.",
)
PREVIOUS_METRIC = Series(
    name="trivet_model_previous_metric",
    labels=("model", "metric"),
    meaning="The metric of the run of the newest version below the one in production that was not rejected.",
)
VERSIONS_PENDING = Series(
    name="trivet_model_versions_pending",
    labels=("model",),
    meaning="How many registered versions newer than the one in production wait for a decision.",
)
OLDEST_PENDING = Series(
    name="trivet_model_oldest_pending_timestamp_seconds",
    labels=("model",),
    meaning="When the oldest pending version was registered, in Unix time; no series without one.",
)
PRODUCTION_SERVICE = Series(
    name="trivet_model_production_service",
    labels=("model", "namespace", "inferenceservice"),
    meaning="1 for each InferenceService that the version in production is linked to.",
)
TRACKING_RUNS = Series(
    name="trivet_tracking_runs",
    labels=("experiment", "status"),
    meaning="MLflow runs that started in the last 24 hours, by their status now.",
)
PIPELINE_RUNS = Series(
    name="trivet_pipeline_runs",
    labels=("namespace", "state"),
    meaning="Pipeline runs that finished in the last 24 hours, by their final state.",
)

EXPORTED = (
    EXPORTER_UP,
    EXPORTER_LAST_SUCCESS,
    ALIAS_VERSION,
    PRODUCTION_VERSION,
    PRODUCTION_METRIC,
    PREVIOUS_METRIC,
    VERSIONS_PENDING,
    OLDEST_PENDING,
    PRODUCTION_SERVICE,
    TRACKING_RUNS,
    PIPELINE_RUNS,
)

POD_READY = "kube_pod_status_ready"
CONTAINER_RESTARTS = "kube_pod_container_status_restarts_total"
CONTAINER_TERMINATED = "kube_pod_container_status_terminated_reason"
CONTAINER_LAST_TERMINATED = "kube_pod_container_status_last_terminated_reason"
KUBE_STATE = (POD_READY, CONTAINER_RESTARTS, CONTAINER_TERMINATED, CONTAINER_LAST_TERMINATED)
"""Of kube-state-metrics (docs/metrics/workload/pod-metrics.md), with the labels namespace and pod, and those of containers container."""

GPU_UTILISATION = "DCGM_FI_DEV_GPU_UTIL"
GPU_MEMORY_USED = "DCGM_FI_DEV_FB_USED"
GPU_MEMORY_FREE = "DCGM_FI_DEV_FB_FREE"
GPU_ERROR = "DCGM_FI_DEV_XID_ERRORS"
GPU = (GPU_UTILISATION, GPU_MEMORY_USED, GPU_MEMORY_FREE, GPU_ERROR)
"""Of NVIDIA's dcgm-exporter (etc/default-counters.csv): %, MiB, MiB, and the code of the last XID error, 0 for none."""
