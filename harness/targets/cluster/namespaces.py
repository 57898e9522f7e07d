"""The two namespaces of one session, and the promise that nothing of the session outlives it.

On a cluster of trivet's own they are made for the session and vanish with it. On the user's they exist already: there the session marks
what it makes with its label, and removes what bears that label and nothing else. Either way the removing commands are in the run's journal
before anything is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from trivet.errors import PlatformError, UsageError
from trivet.host.journal import Run
from trivet.provision.access import ClusterAccess
from trivet.targets.cluster import limits

RUN_LABEL = "trivet.dev/run"
ROLE_LABEL = "trivet.dev/role"
PIPELINES, SERVING = "pipelines", "serving"
SECRET = "trivet-store"

SWEPT = "inferenceservices.serving.kserve.io,pods,networkpolicies.networking.k8s.io"
"""The kinds that a session makes in namespaces that are not its own, all of them marked with its label."""


@dataclass(frozen=True, kw_only=True)
class Namespaces:
    """The namespaces of the session ``id``: where pipelines run, and where services live."""

    id: str
    pipelines: str
    serving: str

    @property
    def label(self) -> dict[str, str]:
        """What everything of the session bears."""
        return {RUN_LABEL: self.id}

    @property
    def selector(self) -> str:
        """The same for kubectl."""
        return f"{RUN_LABEL}={self.id}"

    def known(self, namespace: str) -> str:
        """``namespace``, the serving namespace when empty. Raises UsageError for one that is not the session's."""
        if namespace in ("", self.serving):
            return self.serving
        if namespace == self.pipelines:
            return namespace
        raise UsageError(
            f"namespace {namespace!r} is not this session's, and nothing is changed there",
            remedy=f"use {self.serving} or {self.pipelines}",
        )

    def marked(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """``document`` with the session's label, in one of its namespaces."""
        metadata = dict(document.get("metadata") or {})
        metadata["namespace"] = self.known(str(metadata.get("namespace") or ""))
        metadata["labels"] = {**(metadata.get("labels") or {}), **self.label}
        return {**document, "metadata": metadata}


def make_namespaces(access: ClusterAccess, run: Run) -> Namespaces:
    """The session's namespaces, journalled and then made; with the store's credentials where the access has them."""
    identifier = uuid4().hex[:8]
    if not access.owned:
        namespaces = Namespaces(id=identifier, pipelines=access.pipeline_namespace, serving=access.serving_namespace)
        for namespace in dict.fromkeys((namespaces.pipelines, namespaces.serving)):
            run.add_cleanup(f"objects of trivet in namespace {namespace}", _sweep(access, namespaces, namespace))
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
        # The core library's services name no account: KServe takes the store's credentials from the default one.
        "secrets": [{"name": SECRET}],
    }
    access.kubectl.apply(
        *(_secret(access, namespaces, namespace) for namespace in (namespaces.pipelines, namespaces.serving)),
        account,
        force=True,
    )
    return namespaces


def remove_namespaces(access: ClusterAccess, namespaces: Namespaces) -> str:
    """Remove what the session made. Returns why not, or an empty string: what is left then is in the journal."""
    kubectl, trouble = access.kubectl, []
    if access.owned:
        commands: Sequence[Sequence[str]] = [("delete", "namespace", "-l", namespaces.selector, "--wait=false")]
    else:
        both = dict.fromkeys((namespaces.pipelines, namespaces.serving))
        commands = [_sweep(access, namespaces, namespace, bare=True) for namespace in both]
    for command in commands:
        try:
            kubectl.run(*command, seconds=limits.DELETED)
        except PlatformError as error:
            trouble.append(error.message)
    return "; ".join(trouble)


def _sweep(access: ClusterAccess, namespaces: Namespaces, namespace: str, *, bare: bool = False) -> list[str]:
    command = ["delete", SWEPT, "-n", namespace, "-l", namespaces.selector, "--ignore-not-found", "--wait=false"]
    return command if bare else access.kubectl.argv(*command)


def _namespace(name: str, role: str, namespaces: Namespaces) -> dict[str, Any]:
    labels = {**namespaces.label, ROLE_LABEL: role}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _secret(access: ClusterAccess, namespaces: Namespaces, namespace: str) -> dict[str, Any]:
    """The store's credentials as KServe reads them (kserve 0.14.1 and 0.20.0 pkg/credentials/s3/s3_secret.go)."""
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
