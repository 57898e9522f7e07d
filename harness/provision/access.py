"""Access to one cluster and the platform on it: everything that a session needs, no matter who created the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.host.kubectl import Kubectl
from trivet.model.network import NetworkPath

PIPELINES = "pipelines"
"""The name of the add-on with Kubeflow Pipelines."""

PLATFORM_NAMESPACE = "trivet-platform"
"""The namespace of MLflow, its database and store, and Prometheus on trivet's own clusters; as in trivet's own manifests."""


@dataclass(frozen=True, kw_only=True)
class StoreAccess:
    """The S3 store of the tracking server's artifacts. ``endpoint`` is its URL inside the cluster, empty for AWS.

    With keys, the session creates a Secret and a ServiceAccount in its own namespaces. Without keys, ``service_account`` (for
    InferenceServices) and ``secret`` (with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for job pods) exist in the user's namespaces.
    """

    root: str
    endpoint: str = ""
    region: str = "us-east-1"
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    service_account: str = ""
    secret: str = ""


BACKEND_NAMESPACE = "kubeflow"
"""The namespace of KFP's backend and its runs on trivet's own clusters; as in upstream's manifests."""


@dataclass(frozen=True, kw_only=True)
class PipelinesAccess:
    """Kubeflow Pipelines on the cluster, whose runs are in ``namespace``.

    Its API server is at ``url`` for this machine; if that is empty, it is the Service ``service`` at ``port`` in the same namespace.
    ``step_image`` is an image for steps, with the packages of the role trainer, which this backend's launcher can work in.
    """

    namespace: str
    step_image: str
    url: str = ""
    service: str = ""
    port: int = 0


@dataclass(frozen=True, kw_only=True)
class ClusterAccess:
    """One cluster with a platform on it.

    ``tracking_uri`` is MLflow's URL for pods, ``tracking_url`` its URL for this machine (empty: the session forwards a port).
    ``prometheus_url`` is the URL for this machine, empty when there is no Prometheus. ``ingress`` is the ingress gateway's base URL for
    this machine. ``images`` maps a role (trainer, initializer, runtime) to the image of the session's job pods.

    ``owned`` means that the cluster is trivet's: each session creates its namespaces, and faults are allowed. Otherwise the session works
    in ``pipeline_namespace`` and ``serving_namespace``, which must exist, and changes or deletes only what it created.
    """

    kubectl: Kubectl
    ingress: str
    tracking_uri: str
    tracking_url: str
    prometheus_url: str
    store: StoreAccess
    images: Mapping[str, str]
    owned: bool
    pipeline_namespace: str = ""
    serving_namespace: str = ""
    database: str = ""
    """``host:port`` of the tracking server's database inside the cluster, which only the tracking server may connect to; empty when
    unknown.
    """
    pipelines: PipelinesAccess | None = None
    """Kubeflow Pipelines; None on a cluster without it, and when nobody asked for it."""
    platform_paths: tuple[NetworkPath, ...] = ()
    """Paths between the platform's own pods that must be open."""
    pull_policy: str = "IfNotPresent"
    notes: Mapping[str, str] = field(default_factory=dict)
    """Further facts about the cluster for the report: server version, node, versions of the installed components …"""

    def __post_init__(self) -> None:
        if not self.owned and not (self.pipeline_namespace and self.serving_namespace):
            raise ValueError("a cluster that is not trivet's needs both pipeline_namespace and serving_namespace")
