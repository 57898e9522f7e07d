"""The two namespaces of one session, and the deletion of everything that the session creates in them.

On a cluster of trivet's own, the session creates its namespaces and deletes them at its end. On a user's cluster they exist already; the
session labels every object that it creates, and deletes only objects with its label. In both cases the commands for the deletion are in
the run's journal before the first object is created.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from trivet.errors import PlatformError, UsageError
from trivet.host.journal import Run
from trivet.model.fault import PIPELINES, SERVING
from trivet.provision.access import ClusterAccess
from trivet.targets.cluster import limits

RUN_LABEL = "trivet.dev/run"
ROLE_LABEL = "trivet.dev/role"
SECRET = "trivet-store"

LABELLED_KINDS = "inferenceservices.serving.kserve.io,pods,networkpolicies.networking.k8s.io"
"""The kinds of objects that a session creates in a user's namespaces, all with its label."""


@dataclass(frozen=True, kw_only=True)
class Namespaces:
    """The namespaces of the session ``id``: ``pipelines`` for pipelines and training, ``serving`` for InferenceServices."""

    id: str
    pipelines: str
    serving: str

    @property
    def label(self) -> dict[str, str]:
        """The label of every object of the session."""
        return {RUN_LABEL: self.id}

    @property
    def selector(self) -> str:
        """The label as a selector for kubectl."""
        return f"{RUN_LABEL}={self.id}"

    def own_namespace(self, namespace: str) -> str:
        """``namespace``; the serving namespace when it is empty. Raises UsageError for a namespace that is not the session's."""
        if namespace in ("", self.serving):
            return self.serving
        if namespace == self.pipelines:
            return namespace
        raise UsageError(
            f"cannot change objects in namespace {namespace!r}: it is not a namespace of this session",
            remedy=f"use {self.serving} or {self.pipelines}",
        )

    def labelled(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """``document`` with the session's label, and with one of its namespaces. Raises UsageError for another namespace."""
        metadata = dict(document.get("metadata") or {})
        metadata["namespace"] = self.own_namespace(str(metadata.get("namespace") or ""))
        metadata["labels"] = {**(metadata.get("labels") or {}), **self.label}
        return {**document, "metadata": metadata}


def make_namespaces(access: ClusterAccess, run: Run) -> Namespaces:
    """The session's namespaces, first recorded in the journal, then created; with the store's credentials when ``access`` has them."""
    identifier = uuid4().hex[:8]
    if not access.owned:
        namespaces = Namespaces(id=identifier, pipelines=access.pipeline_namespace, serving=access.serving_namespace)
        for namespace in dict.fromkeys((namespaces.pipelines, namespaces.serving)):
            command = access.kubectl.argv(*_delete_arguments(namespaces, namespace))
            run.add_cleanup(f"objects of trivet in namespace {namespace}", command)
        return namespaces
    namespaces = Namespaces(
        id=identifier, pipelines=f"trivet-pipelines-{identifier}", serving=f"trivet-serving-{identifier}"
    )
    run.add_cleanup(
        f"namespaces {namespaces.pipelines} and {namespaces.serving}",
        access.kubectl.argv("delete", "namespace", "-l", namespaces.selector, "--wait=false"),
    )
    access.kubectl.apply(
        _namespace(namespaces.pipelines, PIPELINES, namespaces), _namespace(namespaces.serving, SERVING, namespaces)
    )
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": namespaces.serving},
        # InferenceServices of the core library have no serviceAccountName, so KServe uses the credentials of the default account.
        "secrets": [{"name": SECRET}],
    }
    access.kubectl.apply(
        *(_secret(access, namespaces, namespace) for namespace in (namespaces.pipelines, namespaces.serving)),
        account,
        force=True,
    )
    return namespaces


def remove_namespaces(access: ClusterAccess, namespaces: Namespaces) -> str:
    """Delete everything that the session created. Returns the errors, or an empty string; the journal has what remains."""
    kubectl, errors = access.kubectl, []
    if access.owned:
        commands: Sequence[Sequence[str]] = [("delete", "namespace", "-l", namespaces.selector, "--wait=false")]
    else:
        both = dict.fromkeys((namespaces.pipelines, namespaces.serving))
        commands = [_delete_arguments(namespaces, namespace) for namespace in both]
    for command in commands:
        try:
            kubectl.run(*command, seconds=limits.DELETED)
        except PlatformError as error:
            errors.append(error.message)
    return "; ".join(errors)


def _delete_arguments(namespaces: Namespaces, namespace: str) -> list[str]:
    selection = ["-n", namespace, "-l", namespaces.selector]
    return ["delete", LABELLED_KINDS, *selection, "--ignore-not-found", "--wait=false"]


def _namespace(name: str, role: str, namespaces: Namespaces) -> dict[str, Any]:
    labels = {**namespaces.label, ROLE_LABEL: role}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _secret(access: ClusterAccess, namespaces: Namespaces, namespace: str) -> dict[str, Any]:
    """A Secret with the store's credentials, as KServe reads it (kserve 0.14.1 and 0.20.0 pkg/credentials/s3/s3_secret.go)."""
    store = access.store
    annotations = {"serving.kserve.io/s3-region": store.region}
    if store.endpoint:
        scheme, _, host = store.endpoint.partition("://")
        annotations |= {
            "serving.kserve.io/s3-endpoint": host,
            "serving.kserve.io/s3-usehttps": "1" if scheme == "https" else "0",
            "serving.kserve.io/s3-verifyssl": "1",
            "serving.kserve.io/s3-useanoncredential": "false",
        }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": SECRET,
            "namespace": namespace,
            "labels": namespaces.label,
            "annotations": annotations,
        },
        "type": "Opaque",
        "stringData": {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key},
    }
