"""The manifest that runs ``trivet monitor export`` in a cluster: ServiceAccount, Deployment and Service, for any namespace. It applies
nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trivet.operations.pods import SCRATCH, container

NAME = "trivet-exporter"
PORT = 9469
"""As in the default address of ``trivet monitor render``."""

_TOKEN = "kfp-token"
_TOKEN_FOLDER = "/var/run/secrets/kubeflow/pipelines"


def exporter_manifest(image: str, arguments: Sequence[str], *, reads_kfp: bool) -> list[dict[str, Any]]:
    """The documents. ``arguments`` are those of ``trivet monitor export``.

    With ``reads_kfp`` the pod has a token for KFP's API server, at the place where KFP's own client looks for it (kfp 2.9.0
    kfp/client/set_volume_credentials.py); a multi-user installation wants the account to have the role kubeflow-pipelines-view in the
    namespaces of runs.
    """
    labels = {"app.kubernetes.io/name": NAME}
    metadata = {"name": NAME, "labels": labels}
    exporter = container("exporter", image, ["monitor", "export", *arguments, "--listen", f"0.0.0.0:{PORT}"])
    exporter["ports"] = [{"name": "metrics", "containerPort": PORT}]
    exporter["readinessProbe"] = {"httpGet": {"path": "/metrics", "port": "metrics"}, "periodSeconds": 10}
    volumes: list[Mapping[str, Any]] = [SCRATCH]
    if reads_kfp:
        exporter["volumeMounts"].append({"name": _TOKEN, "mountPath": _TOKEN_FOLDER, "readOnly": True})
        token = {"audience": "pipelines.kubeflow.org", "expirationSeconds": 7200, "path": "token"}
        volumes.append({"name": _TOKEN, "projected": {"sources": [{"serviceAccountToken": token}]}})
    pod = {
        "serviceAccountName": NAME,
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
            "spec": {"selector": labels, "ports": [{"name": "metrics", "port": PORT, "targetPort": "metrics"}]},
        },
    ]
