"""How to reach one cluster and what is on it: all that a session needs to know, whoever brought the cluster up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.host.kubectl import Kubectl
from trivet.model.network import NetworkPath


@dataclass(frozen=True, kw_only=True)
class StoreAccess:
    """The S3 store behind the tracking server. ``endpoint`` is its URL inside the cluster, empty for AWS itself.

    With keys the session makes Secret and ServiceAccount in its own namespaces. Without them ``service_account`` (for services) and
    ``secret`` (with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for job pods) are the user's own, in the user's namespaces.
    """

    root: str
    endpoint: str = ""
    region: str = "us-east-1"
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    service_account: str = ""
    secret: str = ""


@dataclass(frozen=True, kw_only=True)
class ClusterAccess:
    """One cluster with a platform on it.

    ``tracking_uri`` is MLflow as pods reach it, ``tracking_url`` as this machine does (empty: the session forwards a port).
    ``prometheus_url`` is as this machine reaches it, empty when there is none. ``ingress`` is the base URL of the ingress gateway as this
    machine reaches it. ``images`` maps a role to the image of the session's job pods: trainer, initializer, runtime.

    ``owned`` means that the cluster is trivet's: namespaces are made per session and faults are allowed. Otherwise everything happens in
    ``pipeline_namespace`` and ``serving_namespace``, which must exist, and only what the session made is changed or deleted.
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
    """The tracking server's database as ``host:port`` inside the cluster, which only the tracking server may reach; empty when unknown."""
    platform_paths: tuple[NetworkPath, ...] = ()
    """Paths between the platform's own pods that must be open."""
    pull_policy: str = "IfNotPresent"
    notes: Mapping[str, str] = field(default_factory=dict)
    """What else the report should say of the cluster: server version, node, versions of the installed components …"""

    def __post_init__(self) -> None:
        if not self.owned and not (self.pipeline_namespace and self.serving_namespace):
            raise ValueError("a cluster that is not trivet's own needs both namespaces")
