"""What the steps of ``trivet.operations.kfp_components`` run: each takes what KFP passes, and prints what it does.

A step that fails raises an error, whose remedy KFP shows with it. They need ``requests`` and, to change
a service, Kubernetes' client, which the KFP SDK brings along.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trivet.errors import UsageError
from trivet.integration.tracking import TrackingApi
from trivet.model.operation import OperationReport
from trivet.operations.report_json import write
from trivet.operations.training import TrainedVersion, train_and_register


def train(
    function: str,
    dataset: str,
    *,
    mlflow: str,
    experiment: str,
    registered_name: str,
    parameters: Mapping[str, Any],
    pipeline: str,
) -> TrainedVersion:
    """Train by the user's function, and register the model (:func:`trivet.operations.training.train_and_register`)."""
    registered = train_and_register(
        function,
        dataset,
        tracking=_tracking(mlflow),
        experiment=experiment,
        registered_name=registered_name,
        parameters=parameters,
        pipeline=pipeline,
    )
    _say(f"registered: {registered.model}, run {registered.run_id}")
    if left_out := [name for name, value in registered.metrics.items() if not math.isfinite(value)]:
        _say(f"not among the metrics that KFP shows, which takes finite numbers only: {', '.join(left_out)}")
    return registered


def gate(
    model: str, *, mlflow: str, metric: str, minimum: float, tolerance: float, production_alias: str, report: str
) -> str:
    """Decide on a registered version, as ``trivet gate`` does; returns the decision, and writes the report to the file ``report``."""
    from trivet.operations.gating import gate_version

    decided = gate_version(
        model,
        tracking=_tracking(mlflow),
        metric=metric,
        minimum=minimum,
        tolerance=tolerance,
        production_alias=production_alias,
    )
    return _finish(decided, report)


def deploy(
    model: str,
    service: str,
    *,
    mlflow: str,
    namespace: str,
    pipeline: str,
    artifact_root: str,
    canary_percent: int,
    mode: str,
    min_replicas: int,
    cpu_target: int,
    service_account: str,
    production_alias: str,
    canary_alias: str,
    dry_run: bool,
    report: str,
) -> str:
    """Serve a registered version, as ``trivet deploy`` does; returns the InferenceService as JSON. With ``dry_run`` it is only that, and
    the report is empty."""
    from trivet.integration.deployment import RegistryNames
    from trivet.integration.kubernetes_api import connect
    from trivet.operations.deploying import deploy as apply_and_wait
    from trivet.operations.deploying import service_of

    tracking = _tracking(mlflow, artifact_root=artifact_root)
    document = service_of(
        model,
        service,
        tracking=tracking,
        namespace=namespace,
        pipeline=pipeline,
        canary_percent=canary_percent,
        deployment_mode=mode,
        min_replicas=min_replicas,
        cpu_target=cpu_target or None,
        service_account=service_account,
    )
    if dry_run:
        Path(report).write_text("", encoding="utf-8")
        _say(json.dumps(document, indent=2))
    else:
        registry = RegistryNames(production=production_alias, canary=canary_alias)
        done = apply_and_wait(document, cluster=connect(), tracking=tracking, registry=registry, progress=_say)
        _finish(done, report)
    return json.dumps(document)


def judge(
    service: str,
    *,
    prometheus: str,
    mlflow: str,
    namespace: str,
    production_alias: str,
    canary_alias: str,
    interval: float,
    patience: float,
    report: str,
) -> str:
    """Judge a canary and act, as ``trivet canary judge`` with MLflow does; returns the decision, and writes the file ``report``."""
    from trivet.integration.canary import CanaryLimits
    from trivet.integration.deployment import RegistryNames
    from trivet.integration.kubernetes_api import connect
    from trivet.integration.prometheus import Prometheus
    from trivet.operations.canary_metrics import PrometheusMetrics
    from trivet.operations.canary_run import RunSettings, run_canary
    from trivet.operations.deploying import canary_actions

    settings = RunSettings(interval=interval, patience=patience)
    metrics = PrometheusMetrics(prometheus=Prometheus(prometheus), namespace=namespace, source_name="")
    tracking, cluster = _tracking(mlflow), connect()
    registry = RegistryNames(production=production_alias, canary=canary_alias)
    actions = canary_actions(service, namespace, cluster=cluster, tracking=tracking, registry=registry, progress=_say)
    judged = run_canary(
        service,
        namespace,
        cluster=cluster,
        metrics=metrics,
        actions=actions,
        limits=CanaryLimits(),
        settings=settings,
        progress=_say,
    )
    return _finish(judged, report)


def _tracking(server: str, *, artifact_root: str = "") -> TrackingApi:
    """The tracking server that the step names, or that the platform injects. Raises UsageError without one."""
    uri = server or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise UsageError(
            "the step has no tracking server",
            remedy="pass mlflow=URL, or have the platform set MLFLOW_TRACKING_URI in its steps",
        )
    return TrackingApi(uri, artifact_root=artifact_root)


def _finish(report: OperationReport, file: str) -> str:
    """Say the decision and return it, and write the report as the commands do."""
    Path(file).write_text(write(report), encoding="utf-8")
    _say(f"{report.decision}: {report.reason}")
    return str(report.decision)


def _say(text: str) -> None:
    print(text, flush=True)
