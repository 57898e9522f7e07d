"""The cluster as contracts see it: objects of the session's namespaces, commands in its pods, and nothing beyond."""

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
    """Satisfies ``trivet.model.clients.ClusterClient`` with kubectl."""

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
        """Where pipelines run and train."""
        return self._namespaces.pipelines

    @property
    def images(self) -> Mapping[str, str]:
        """Role → image of the session's own pods."""
        return self._access.images

    @property
    def paths(self) -> Sequence[NetworkPath]:
        """The paths that the platform needs, and those that it forbids; waits for the pods that some of them start from."""
        return self._paths()

    def apply(self, document: Mapping[str, Any], *, strict: bool = True, dry_run: bool = False) -> Mapping[str, Any]:
        """Apply an object and return it as stored (or as it would be). Raises Refused."""
        marked = self._namespaces.marked(document)
        if not dry_run:
            self._check_ours(str(marked["kind"]), str(marked["metadata"]["name"]), marked["metadata"]["namespace"])
            self._evidence.applied(marked)
        try:
            if strict:
                return self._kubectl.apply(marked, dry_run=dry_run, force=True)[0]
            return self._put(marked, dry_run)
        except KubectlError as error:
            raise Refused(error.message, remedy=error.remedy) from error

    def get(self, kind: str, name: str = "", *, namespace: str = "", selector: str = "") -> Mapping[str, Any] | None:
        """One object, or None; without a name a List of those that ``selector`` finds. Any namespace that this account may read."""
        where = namespace or self.namespace
        if name:
            return self._reader.get(kind, name, namespace=where)
        found = self._reader.objects(kind, namespace=where, selector=selector)
        return {"apiVersion": "v1", "kind": "List", "items": found}

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str = "") -> Mapping[str, Any]:
        """A JSON merge patch; the object as stored. Raises Refused."""
        where = self._namespaces.known(namespace)
        self._check_ours(kind, name, where)
        try:
            said = self._kubectl.run(
                *("patch", kind, name, "-n", where, "--type=merge", "-p", json.dumps(patch), "-o", "json")
            )
        except KubectlError as error:
            raise Refused(error.message, remedy=error.remedy) from error
        return dict(json.loads(said))

    def delete(self, kind: str, name: str, *, namespace: str = "") -> None:
        """Delete an object; it is gone when this returns. Of a service that is not ready the evidence is collected first."""
        where = self._namespaces.known(namespace)
        found = self._check_ours(kind, name, where)
        if found and kind.lower() in INFERENCE_SERVICES and not is_ready(found):
            self._evidence.glimpse(found)
            self._evidence.collect(name=name)
        self._kubectl.delete(kind, name, namespace=where, seconds=limits.DELETED)

    def execute(
        self, pod: str, command: Sequence[str], *, container: str = "", namespace: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        """Run a command in a pod: its exit status, and standard output followed by standard error."""
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
        found = self._reader.objects("events", namespace=namespace or self.namespace)
        return sorted(found, key=lambda event: str(event["metadata"].get("creationTimestamp")))

    def log(self, pod: str, container: str, *, previous: bool = False, namespace: str = "") -> str:
        """A container's log; empty when there is none."""
        return self._reader.log(pod, namespace=namespace or self.namespace, container=container, previous=previous)

    def _check_ours(self, kind: str, name: str, namespace: str) -> Mapping[str, Any] | None:
        """The object, if it is there. Raises UsageError for one that this session did not make, in namespaces that are not its own."""
        found = self._reader.get(kind, name, namespace=namespace)
        if found is None or self._access.owned:
            return found
        labels = found["metadata"].get("labels") or {}
        if not labels.items() >= self._namespaces.label.items():
            raise UsageError(
                f"{kind} {name} in namespace {namespace} was not made by this session, so it is not touched",
                remedy="give the serving namespace to trivet alone, or choose another one",
            )
        return found

    def _put(self, document: Mapping[str, Any], dry_run: bool) -> Mapping[str, Any]:
        """Create or replace without asking for strict validation. Server-side apply would refuse an unknown field by itself."""
        metadata = document["metadata"]
        present = self._reader.get(str(document["kind"]), metadata["name"], namespace=metadata["namespace"])
        verb = "replace" if present else "create"
        if present:
            version = present["metadata"]["resourceVersion"]
            document = {**document, "metadata": {**metadata, "resourceVersion": version}}
        said = self._kubectl.run(
            *(verb, "--validate=ignore", *(["--dry-run=server"] if dry_run else []), "-o", "json", "-f", "-"),
            stdin=json.dumps(document),
        )
        return dict(json.loads(said))
