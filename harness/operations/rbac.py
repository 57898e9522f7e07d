"""The permissions of what runs here: a ServiceAccount, Role and RoleBinding for one service in one namespace. It applies nothing."""

from __future__ import annotations

from typing import Any

from trivet.operations.lease import lease_name

PREFIX = "trivet-canary"


def account_name(service: str) -> str:
    """The name of the ServiceAccount, the Role and the RoleBinding of a service's judge."""
    return f"{PREFIX}-{service}"


def canary_rbac(service: str, namespace: str, *, deploying: bool = False) -> list[dict[str, Any]]:
    """What may judge, promote and roll back ``service``; with ``deploying`` also create it and deploy to it.

    RBAC cannot name the object of a ``create``, and lists are of a whole namespace (kubernetes.io/docs/reference/access-authn-authz/rbac,
    Referring to resources); everything else is of objects by name.
    """
    name = account_name(service)
    metadata = {"name": name, "namespace": namespace}
    rules: list[dict[str, Any]] = [
        _rule("serving.kserve.io", "inferenceservices", ("get", "update"), service),
        _rule("serving.knative.dev", "revisions", ("get",)),
        _rule("", "pods", ("list",)),
        _rule("coordination.k8s.io", "leases", ("create",)),
        _rule("coordination.k8s.io", "leases", ("get", "update"), lease_name(service)),
    ]
    if deploying:
        rules.insert(0, _rule("serving.kserve.io", "inferenceservices", ("create",)))
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    ]


def _rule(group: str, resource: str, verbs: tuple[str, ...], name: str = "") -> dict[str, Any]:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return {**rule, "resourceNames": [name]} if name else rule
