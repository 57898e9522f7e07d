"""What the target needs to be allowed to do on a cluster that is not trivet's: asked of the API server, and written as a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from trivet.errors import UsageError
from trivet.host.kubectl import Kubectl, json_documents
from trivet.model.settings import Existing

ACCOUNT = "trivet"


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Verbs on one resource (``pods/exec``: a subresource) in one of the namespaces, and what they are needed for."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    purpose: str


BOTH: tuple[Permission, ...] = (
    Permission(
        group="",
        resource="pods",
        verbs=("get", "list", "watch", "create", "patch", "delete", "deletecollection"),
        purpose="the session's own pods, and looking at the predictors'",
    ),
    Permission(group="", resource="pods/exec", verbs=("get", "create"), purpose="jobs inside the session's pods"),
    Permission(group="", resource="pods/log", verbs=("get",), purpose="logs as evidence"),
    Permission(group="", resource="events", verbs=("get", "list"), purpose="events as evidence"),
    Permission(
        group="networking.k8s.io",
        resource="networkpolicies",
        verbs=("get", "list", "create", "patch", "delete", "deletecollection"),
        purpose="measuring whether policies are enforced",
    ),
    Permission(
        group="serving.kserve.io",
        resource="inferenceservices",
        verbs=("get", "list", "watch", "create", "patch", "update", "delete", "deletecollection"),
        purpose="the services that are judged, and removing them again",
    ),
)
"""Needed in the pipeline and in the serving namespace."""

SERVING: tuple[Permission, ...] = (
    Permission(group="", resource="pods/proxy", verbs=("get",), purpose="metrics of the predictors' pods"),
    Permission(group="", resource="services/proxy", verbs=("get", "create"), purpose="services that have no ingress"),
    Permission(
        group="serving.knative.dev",
        resource="services",
        verbs=("get", "list"),
        purpose="which revisions there are",
    ),
    Permission(
        group="serving.knative.dev", resource="revisions", verbs=("get", "list"), purpose="which revisions there are"
    ),
    Permission(
        group="autoscaling.internal.knative.dev",
        resource="podautoscalers",
        verbs=("get", "list"),
        purpose="scaling as evidence",
    ),
)
"""Needed in the serving namespace only."""


def needed(namespaces: tuple[str, str]) -> dict[str, list[Permission]]:
    """Namespace → what is needed there, for the pipeline namespace and the serving namespace."""
    pipelines, serving = namespaces
    found: dict[str, list[Permission]] = {pipelines: list(BOTH)}
    found.setdefault(serving, list(BOTH))
    found[serving] += SERVING
    return found


def lacking(kubectl: Kubectl, namespaces: tuple[str, str]) -> list[str]:
    """What the account in use is not allowed, a line each. One question to the API server; anybody may ask it."""
    asked = [
        (namespace, permission, verb)
        for namespace, permissions in needed(namespaces).items()
        for permission in permissions
        for verb in permission.verbs
    ]
    reviews = [_review(namespace, permission, verb) for namespace, permission, verb in asked]
    said = kubectl.run(
        *("create", "-f", "-", "-o", "json"),
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews}),
    )
    answers = json_documents(said)
    denied: dict[tuple[str, str, str], list[str]] = {}
    for (namespace, permission, verb), answer in zip(asked, answers, strict=True):
        if not (answer.get("status") or {}).get("allowed"):
            name = f"{permission.resource}.{permission.group}" if permission.group else permission.resource
            denied.setdefault((namespace, name, permission.purpose), []).append(verb)
    return [
        f"{', '.join(verbs)} {name} in namespace {namespace} ({purpose})"
        for (namespace, name, purpose), verbs in denied.items()
    ]


def manifest(namespaces: tuple[str, str]) -> str:
    """ServiceAccount, Roles and RoleBindings that grant what is needed and nothing else, as YAML."""
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespaces[0]}
    documents: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespaces[0]}}
    ]
    for namespace, permissions in needed(namespaces).items():
        metadata = {"name": ACCOUNT, "namespace": namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT}
        documents += [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": metadata,
                "rules": list(_rules(permissions)),
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": reference,
                "subjects": [subject],
            },
        ]
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False)


def manifest_for(settings: Existing) -> str:
    """The manifest for the namespaces that the user named. Raises UsageError when none are."""
    namespaces = (settings.pipeline_namespace, settings.serving_namespace)
    if not all(namespaces):
        raise UsageError(
            "permissions are granted per namespace, and none is named",
            remedy="name pipeline_namespace and serving_namespace under [tool.trivet.existing]",
        )
    return manifest(namespaces)


class _Plain(yaml.SafeDumper):
    """Without anchors, which readers of a manifest do not expect."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _rules(permissions: Iterable[Permission]) -> Iterable[dict[str, Any]]:
    for permission in permissions:
        yield {
            "apiGroups": [permission.group],
            "resources": [permission.resource],
            "verbs": list(permission.verbs),
        }


def _review(namespace: str, permission: Permission, verb: str) -> dict[str, Any]:
    resource, _, subresource = permission.resource.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": permission.group, "resource": resource}
    if subresource:
        attributes["subresource"] = subresource
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
