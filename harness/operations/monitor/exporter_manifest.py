"""The manifest that runs ``trivet monitor export`` in a cluster: ServiceAccount, Deployment and Service, for any namespace. It applies
nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trivet.integration.pipeline_api import TOKEN_PATH
from trivet.operations.monitor.platform import EXPORTER, EXPORTER_PORT
from trivet.operations.pods import SCRATCH, container

_TOKEN = "kfp-token"


def exporter_manifest(image: str, arguments: Sequence[str], *, reads_kfp: bool) -> list[dict[str, Any]]:
    """The documents. ``arguments`` are those of ``trivet monitor export``.

    With ``reads_kfp`` the pod has a token for KFP's API server, where KFP's own client looks for it; a multi-user installation wants the
    account to have the role kubeflow-pipelines-view in the namespaces of runs.
    """
    labels = {"app.kubernetes.io/name": EXPORTER}
    metadata = {"name": EXPORTER, "labels": labels}
    exporter = container("exporter", image, ["monitor", "export", *arguments, "--listen", f"0.0.0.0:{EXPORTER_PORT}"])
    exporter["ports"] = [{"name": "metrics", "containerPort": EXPORTER_PORT}]
    exporter["readinessProbe"] = {"httpGet": {"path": "/metrics", "port": "metrics"}, "periodSeconds": 10}
    volumes: list[Mapping[str, Any]] = [SCRATCH]
    if reads_kfp:
        exporter["volumeMounts"].append({"name": _TOKEN, "mountPath": str(TOKEN_PATH.parent), "readOnly": True})
        token = {"audience": "pipelines.kubeflow.org", "expirationSeconds": 7200, "path": TOKEN_PATH.name}
        volumes.append({"name": _TOKEN, "projected": {"sources": [{"serviceAccountToken": token}]}})
    pod = {
        "serviceAccountName": EXPORTER,
        "automountServiceAccountToken": False,
        "containers": [exporter],
        "volumes": volumes,
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "selector": labels,
                "ports": [{"name": "metrics", "port": EXPORTER_PORT, "targetPort": "metrics"}],
            },
        },
    ]
