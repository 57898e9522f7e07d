"""What really happens to services: creates them in a namespace of their own, in which no pod may start, and reads what KServe says.

A quota of no pods keeps the cluster idle; Knative Services and Deployments are created and validated all the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import yaml

from differential.children import MODE
from trivet.host.kubectl import Kubectl

APPEARS = 20.0
"""Seconds within which KServe's controller creates a service's objects or says why it does not."""

_QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"}, "spec": {"hard": {"pods": "0"}}}


class NoPodsNamespace:
    """A namespace without pods, as :func:`no_pods_namespace` makes it."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self._kubectl = kubectl
        self.name = name

    def refused(self, manifest: str) -> str:
        """Why KServe's controller does not create the objects of an admitted InferenceService; empty when it creates them.

        The service is deleted again. Raises KubectlError when the API server rejects it, AssertionError when nothing happens for APPEARS.
        """
        created = yaml.safe_load(self._kubectl.run("create", "-n", self.name, "-o", "yaml", "-f", "-", stdin=manifest))
        name = created["metadata"]["name"]
        try:
            return self._outcome(created, name)
        finally:
            self._kubectl.delete("inferenceservice", name, namespace=self.name)

    def _outcome(self, created: Mapping[str, Any], name: str) -> str:
        mode = (created["metadata"].get("annotations") or {}).get(MODE)
        kind = "deployments.apps" if mode == "RawDeployment" else "services.serving.knative.dev"
        components = [one for one in ("predictor", "transformer", "explainer") if created["spec"].get(one)]
        deadline = time.monotonic() + APPEARS
        while time.monotonic() < deadline:
            events = self._kubectl.objects("events", namespace=self.name)
            for event in events:
                if (
                    event["involvedObject"].get("uid") == created["metadata"]["uid"]
                    and event["reason"] == "InternalError"
                ):
                    return str(event["message"])
            made = {one["metadata"]["name"] for one in self._kubectl.objects(kind, namespace=self.name)}
            if made >= {f"{name}-{component}" for component in components}:
                return self._revision_refused(name, components) if kind != "deployments.apps" else ""
            time.sleep(0.5)
        raise AssertionError(f"{name}: neither created nor refused within {APPEARS:g} s")

    def _revision_refused(self, name: str, components: list[str]) -> str:
        """What Knative says when Kubernetes rejects the Deployment of a revision; empty when it exists.

        Raises AssertionError when neither happens for APPEARS.
        """
        deadline = time.monotonic() + APPEARS
        while time.monotonic() < deadline:
            made = {one["metadata"]["name"] for one in self._kubectl.objects("deployments.apps", namespace=self.name)}
            if made >= {f"{name}-{component}-00001-deployment" for component in components}:
                return ""
            for revision in self._kubectl.objects("revisions.serving.knative.dev", namespace=self.name):
                for condition in (revision.get("status") or {}).get("conditions", ()):
                    if condition["status"] == "False" and condition.get("reason") in (
                        "InternalError",
                        "NotOwned",
                        "ContainerMissing",
                    ):
                        return str(condition["message"])
            time.sleep(0.5)
        raise AssertionError(f"{name}: no Deployment of a revision, and no reason for that, within {APPEARS:g} s")


@contextmanager
def no_pods_namespace(kubectl: Kubectl) -> Iterator[NoPodsNamespace]:
    """A namespace of its own, deleted at the end."""
    name = f"trivet-differential-{uuid4().hex[:8]}"
    kubectl.run("create", "namespace", name)
    try:
        kubectl.apply(_QUOTA, namespace=name)
        yield NoPodsNamespace(kubectl, name)
    finally:
        kubectl.delete("namespace", name)
