"""The permissions that trivet needs on a user's cluster: checks them with the API server, and writes a manifest that grants them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trivet.errors import UsageError
from trivet.host.kubectl import Kubectl, json_documents
from trivet.model.settings import Existing
from trivet.operations.manifest_yaml import as_yaml
from trivet.targets.cluster.platform_reader import CONFIG, KNATIVE_CONFIGS

ACCOUNT = "trivet"


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Verbs on a resource (``pods/exec``: a subresource), and their purpose.

    With ``names`` it is on the objects of these names alone; a list is then granted only with the field selector ``metadata.name=NAME``
    (k8s.io/apiserver 0.30.14 pkg/endpoints/request/requestinfo.go, NewRequestInfo).
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    purpose: str
    names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The resource with its group, as kubectl names it: ``jobs.batch``."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


BOTH: tuple[Permission, ...] = (
    Permission(
        group="",
        resource="pods",
        verbs=("get", "list", "watch", "create", "patch", "delete", "deletecollection"),
        purpose="the session's pods, and reading predictors' pods",
    ),
    Permission(group="", resource="pods/exec", verbs=("get", "create"), purpose="jobs in the session's pods"),
    Permission(group="", resource="pods/log", verbs=("get",), purpose="logs as evidence"),
    Permission(group="", resource="events", verbs=("get", "list"), purpose="events as evidence"),
    Permission(
        group="networking.k8s.io",
        resource="networkpolicies",
        verbs=("get", "list", "create", "patch", "delete", "deletecollection"),
        purpose="testing whether NetworkPolicies are enforced",
    ),
    Permission(
        group="serving.kserve.io",
        resource="inferenceservices",
        verbs=("get", "list", "watch", "create", "patch", "update", "delete", "deletecollection"),
        purpose="the services under test, and their deletion",
    ),
)
"""Needed in the pipeline and in the serving namespace."""

SERVING: tuple[Permission, ...] = (
    Permission(group="", resource="pods/proxy", verbs=("get",), purpose="metrics of the predictors' pods"),
    Permission(group="", resource="services/proxy", verbs=("get", "create"), purpose="services without an ingress"),
    Permission(
        group="serving.knative.dev",
        resource="services",
        verbs=("get", "list"),
        purpose="listing revisions",
    ),
    Permission(group="serving.knative.dev", resource="revisions", verbs=("get", "list"), purpose="listing revisions"),
    Permission(
        group="autoscaling.internal.knative.dev",
        resource="podautoscalers",
        verbs=("get", "list"),
        purpose="scaling as evidence",
    ),
)
"""Needed in the serving namespace only."""


BACKEND: tuple[Permission, ...] = (
    Permission(group="", resource="pods", verbs=("get", "list"), purpose="the pods of KFP's runs"),
    Permission(group="", resource="pods/log", verbs=("get",), purpose="what the steps of KFP's runs did"),
    Permission(
        group="argoproj.io",
        resource="workflows",
        verbs=("list", "delete"),
        purpose="ending a run of KFP that a killed trivet left",
    ),
)
"""Needed in the namespace of KFP's runs, beside what KFP's API server demands of its users."""


CLUSTER = ""
"""In place of a namespace: the whole cluster."""

KSERVE_CONFIGURATION = Permission(
    group="",
    resource="configmaps",
    names=(CONFIG,),
    verbs=("get", "list"),
    purpose="the configuration of KServe, in whatever namespace",
)

DETECT: tuple[Permission, ...] = (
    Permission(
        group="serving.kserve.io",
        resource="clusterservingruntimes",
        verbs=("list",),
        purpose="the serving runtimes and their images",
    ),
    Permission(
        group="serving.kserve.io",
        resource="clusterstoragecontainers",
        verbs=("list",),
        purpose="the storage initializer, and the URIs that it fetches",
    ),
    Permission(
        group="apiextensions.k8s.io",
        resource="customresourcedefinitions",
        verbs=("get",),
        purpose="the schemas of KServe's API",
    ),
    Permission(
        group="gateway.networking.k8s.io",
        resource="gatewayclasses",
        verbs=("list",),
        purpose="the controllers of gateways",
    ),
    Permission(
        group="apps",
        resource="deployments",
        verbs=("list",),
        purpose="KServe's controllers, and the ingress",
    ),
    KSERVE_CONFIGURATION,
    Permission(
        group="",
        resource="configmaps",
        names=("config-autoscaler", "config-network"),
        verbs=("get",),
        purpose="the configuration of Knative",
    ),
    Permission(
        group="apps",
        resource="deployments",
        names=("controller", "autoscaler-hpa"),
        verbs=("get",),
        purpose="Knative's controller and autoscaler",
    ),
)
"""What `trivet detect` reads whatever namespaces it is given; each is optional: what may not be read stays unknown.

Nothing of it is in a Role: KServe's namespace may have another name, and Knative's need not exist, so that a Role in it could not be
applied.
"""

DETECT_IN_NAMESPACES: tuple[Permission, ...] = (
    Permission(group="", resource="services", verbs=("list",), purpose="finding MLflow and KFP's API server"),
    Permission(group="", resource="services/proxy", verbs=("get",), purpose="asking them for their versions"),
    Permission(group="", resource="pods", verbs=("list",), purpose="the packages that pods of pipelines install"),
    Permission(group="", resource="pods/exec", verbs=("create",), purpose="--exec-in-runtime only"),
)
"""What `trivet detect` reads in the namespaces that it is given."""


FLEET: tuple[Permission, ...] = (
    Permission(
        group="serving.kserve.io",
        resource="inferenceservices",
        verbs=("list",),
        purpose="the services of the fleet",
    ),
    Permission(
        group="serving.kserve.io",
        resource="clusterservingruntimes",
        verbs=("list",),
        purpose="the serving runtimes that services name",
    ),
    Permission(
        group="serving.kserve.io",
        resource="servingruntimes",
        verbs=("list",),
        purpose="the serving runtimes that services name",
    ),
    KSERVE_CONFIGURATION,
    Permission(
        group="",
        resource="configmaps",
        names=KNATIVE_CONFIGS,
        verbs=("get",),
        purpose="the configuration of Knative, if it is there",
    ),
)
"""What `trivet fleet --context` reads; none is optional, and none is in a Role, as for `trivet detect`."""


def detect_permissions(namespaces: Iterable[str]) -> dict[str, list[Permission]]:
    """Namespace, or CLUSTER → what `trivet detect` reads; ``namespaces`` are those of servers, pipelines and services."""
    permissions = {CLUSTER: list(DETECT)}
    for namespace in dict.fromkeys(namespaces):
        permissions.setdefault(namespace, []).extend(DETECT_IN_NAMESPACES)
    return permissions


def needed_permissions(settings: Existing) -> dict[str, list[Permission]]:
    """Namespace → needed permissions, in the namespaces of the settings; these may be the same."""
    permissions: dict[str, list[Permission]] = {settings.pipeline_namespace: list(BOTH)}
    permissions.setdefault(settings.serving_namespace, list(BOTH))
    permissions[settings.serving_namespace] += SERVING
    if settings.kfp_namespace:
        permissions.setdefault(settings.kfp_namespace, [])
        permissions[settings.kfp_namespace] += BACKEND
    return permissions


def missing_permissions(kubectl: Kubectl, needed: Mapping[str, Iterable[Permission]]) -> list[str]:
    """Those of the ``needed`` permissions (by namespace) that the current account lacks, one line each.

    One request to the API server, which every account may make.
    """
    checks = [
        (namespace, permission, verb, name)
        for namespace, permissions in needed.items()
        for permission in permissions
        for verb in permission.verbs
        for name in permission.names or ("",)
    ]
    reviews = [_review(*check) for check in checks]
    output = kubectl.run(
        *("create", "-f", "-", "-o", "json"),
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews}),
    )
    results = json_documents(output)
    denied: dict[tuple[str, str, str], dict[str, None]] = {}
    for (namespace, permission, verb, _), result in zip(checks, results, strict=True):
        if not (result.get("status") or {}).get("allowed"):
            what = " ".join((permission.name, *permission.names))
            denied.setdefault((namespace, what, permission.purpose), {})[verb] = None
    return [
        f"{', '.join(verbs)} {name} {f'in namespace {namespace}' if namespace else 'in the whole cluster'} ({purpose})"
        for (namespace, name, purpose), verbs in denied.items()
    ]


def _manifest(needed: Mapping[str, Iterable[Permission]], *, account: str, name: str) -> str:
    """A ServiceAccount ``trivet`` in the namespace ``account``, and roles called ``name`` that grant it exactly ``needed``, as YAML."""
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": account}
    documents: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": account}}
    ]
    for namespace, permissions in needed.items():
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        role = "Role" if namespace else "ClusterRole"
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name}
        documents += [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": role,
                "metadata": metadata,
                "rules": list(_rules(permissions)),
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": f"{role}Binding",
                "metadata": metadata,
                "roleRef": reference,
                "subjects": [subject],
            },
        ]
    return as_yaml(documents)


def manifest_for(settings: Existing, *, detect: bool = False, fleet: bool = False) -> str:
    """ServiceAccount, Roles and RoleBindings, as YAML, that grant exactly what a run needs in the namespaces of the settings, or with
    ``detect`` what `trivet detect` reads, or with ``fleet`` what `trivet fleet --context` reads.

    The ServiceAccount is in the first of the namespaces; for a fleet, which needs none, it is in ``default`` if there are none. Raises
    UsageError for the others when the settings have no namespaces.
    """
    namespaces = (settings.pipeline_namespace, settings.serving_namespace)
    if fleet:
        return _manifest({CLUSTER: FLEET}, account=next(filter(None, namespaces), "default"), name=f"{ACCOUNT}-fleet")
    if not all(namespaces):
        raise UsageError(
            "permissions are granted per namespace, and the settings have no namespaces",
            remedy="set pipeline_namespace and serving_namespace in [tool.trivet.existing]",
        )
    if detect:
        return _manifest(detect_permissions(namespaces), account=namespaces[0], name=f"{ACCOUNT}-detect")
    return _manifest(needed_permissions(settings), account=namespaces[0], name=ACCOUNT)


def _rules(permissions: Iterable[Permission]) -> Iterable[dict[str, Any]]:
    for permission in permissions:
        yield {
            "apiGroups": [permission.group],
            "resources": [permission.resource],
            "verbs": list(permission.verbs),
            **({"resourceNames": list(permission.names)} if permission.names else {}),
        }


def _review(namespace: str, permission: Permission, verb: str, name: str) -> dict[str, Any]:
    resource, _, subresource = permission.resource.partition("/")
    attributes = {
        **({"namespace": namespace} if namespace else {}),
        **({"name": name} if name else {}),
        "verb": verb,
        "group": permission.group,
        "resource": resource,
    }
    if subresource:
        attributes["subresource"] = subresource
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
