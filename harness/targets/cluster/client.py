"""The cluster client: objects in the session's namespaces, and commands in its pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trivet.errors import UsageError
from trivet.host.kubectl import KubectlError
from trivet.integration import is_ready
from trivet.model.clients import Refused
from trivet.model.handover import HttpExchange
from trivet.model.network import NetworkPath
from trivet.provision.access import ClusterAccess
from trivet.targets.cluster import limits
from trivet.targets.cluster.evidence import EvidenceCollector
from trivet.targets.cluster.namespaces import Namespaces
from trivet.targets.cluster.proxy import ApiProxy
from trivet.targets.cluster.reader import ApiReader

INFERENCE_SERVICES = ("inferenceservice", "inferenceservices", "isvc", "inferenceservices.serving.kserve.io")


class Cluster:
    """Implements ``trivet.model.clients.ClusterClient`` with kubectl."""

    def __init__(
        self,
        access: ClusterAccess,
        namespaces: Namespaces,
        *,
        evidence: EvidenceCollector,
        proxy: ApiProxy,
        reader: ApiReader,
        paths: Callable[[], Sequence[NetworkPath]],
    ) -> None:
        self._access = access
        self._kubectl = access.kubectl
        self._namespaces = namespaces
        self._evidence = evidence
        self._proxy = proxy
        self._reader = reader
        self._paths = paths

    @property
    def namespace(self) -> str:
        """The serving namespace."""
        return self._namespaces.serving

    @property
    def pipeline_namespace(self) -> str:
        """The namespace of pipelines and training."""
        return self._namespaces.pipelines

    @property
    def images(self) -> Mapping[str, str]:
        """Role → image of the session's pods."""
        return self._access.images

    @property
    def paths(self) -> Sequence[NetworkPath]:
        """The network paths that the platform needs or must block; waits for the pods that are the sources of some paths."""
        return self._paths()

    def apply(self, document: Mapping[str, Any], *, strict: bool = True, dry_run: bool = False) -> Mapping[str, Any]:
        """Apply an object and return it as stored (with ``dry_run``, as it would be stored). Raises Refused."""
        labelled = self._namespaces.labelled(document)
        if not dry_run:
            self._check_own(str(labelled["kind"]), str(labelled["metadata"]["name"]), labelled["metadata"]["namespace"])
            self._evidence.record_applied(labelled)
        try:
            if strict:
                return self._kubectl.apply(labelled, dry_run=dry_run, force=True)[0]
            return self._put(labelled, dry_run)
        except KubectlError as error:
            raise Refused(error.message, remedy=error.remedy) from error

    def get(self, kind: str, name: str = "", *, namespace: str = "", selector: str = "") -> Mapping[str, Any] | None:
        """One object, or None; without a name, a List of the objects that ``selector`` matches. Any namespace that the account can read."""
        namespace = namespace or self.namespace
        if name:
            return self._reader.get(kind, name, namespace=namespace)
        items = self._reader.objects(kind, namespace=namespace, selector=selector)
        return {"apiVersion": "v1", "kind": "List", "items": items}

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str = "") -> Mapping[str, Any]:
        """Apply a JSON merge patch and return the object as stored. Raises Refused."""
        namespace = self._namespaces.own_namespace(namespace)
        self._check_own(kind, name, namespace)
        try:
            output = self._kubectl.run(
                *("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(patch), "-o", "json")
            )
        except KubectlError as error:
            raise Refused(error.message, remedy=error.remedy) from error
        return dict(json.loads(output))

    def delete(self, kind: str, name: str, *, namespace: str = "") -> None:
        """Delete an object and wait until it is removed. Evidence of an InferenceService that is not ready is collected first."""
        namespace = self._namespaces.own_namespace(namespace)
        existing = self._check_own(kind, name, namespace)
        if existing and kind.lower() in INFERENCE_SERVICES and not is_ready(existing):
            self._evidence.record_conditions(existing)
            self._evidence.collect(name=name)
        self._kubectl.delete(kind, name, namespace=namespace, seconds=limits.DELETED)

    def execute(
        self, pod: str, command: Sequence[str], *, container: str = "", namespace: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        """Run a command in a pod; returns its exit status, and standard output followed by standard error."""
        arguments = self._kubectl.exec_arguments(
            pod, command, namespace=namespace or self.namespace, container=container, interactive=False
        )
        done = self._kubectl.attempt(*arguments, seconds=seconds)
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")

    def pod_get(self, pod: str, port: int, path: str, *, namespace: str = "") -> HttpExchange:
        """GET a path of a pod's port through the API server's proxy."""
        return self._proxy.pod_get(namespace or self.namespace, pod, port, path)

    def events(self, namespace: str = "") -> Sequence[Mapping[str, Any]]:
        """The events of a namespace, oldest first."""
        events = self._reader.objects("events", namespace=namespace or self.namespace)
        return sorted(events, key=lambda event: str(event["metadata"].get("creationTimestamp")))

    def log(self, pod: str, container: str, *, previous: bool = False, namespace: str = "") -> str:
        """A container's log; empty when there is none."""
        return self._reader.log(pod, namespace=namespace or self.namespace, container=container, previous=previous)

    def _check_own(self, kind: str, name: str, namespace: str) -> Mapping[str, Any] | None:
        """The object, or None when it does not exist. Raises UsageError for an object in a user's namespace without the session's label."""
        existing = self._reader.get(kind, name, namespace=namespace)
        if existing is None or self._access.owned:
            return existing
        labels = existing["metadata"].get("labels") or {}
        if not labels.items() >= self._namespaces.label.items():
            raise UsageError(
                f"cannot change {kind} {name} in namespace {namespace}: this session did not create it",
                remedy="use a serving namespace that only trivet uses",
            )
        return existing

    def _put(self, document: Mapping[str, Any], dry_run: bool) -> Mapping[str, Any]:
        """Create or replace the object without strict validation; server-side apply would reject unknown fields."""
        metadata = document["metadata"]
        existing = self._reader.get(str(document["kind"]), metadata["name"], namespace=metadata["namespace"])
        verb = "replace" if existing else "create"
        if existing:
            version = existing["metadata"]["resourceVersion"]
            document = {**document, "metadata": {**metadata, "resourceVersion": version}}
        output = self._kubectl.run(
            *(verb, "--validate=ignore", *(["--dry-run=server"] if dry_run else []), "-o", "json", "-f", "-"),
            stdin=json.dumps(document),
        )
        return dict(json.loads(output))
