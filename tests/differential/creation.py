"""What really happens to services: creates them in a namespace of their own, in which no pod may start, and reads what KServe says.

A policy that denies pods keeps the cluster idle; Knative Services, Deployments, Services and autoscalers are created and validated all the
same. It admits dry runs, which KServe's controller makes and for which Knative's webhook makes one of a pod: a quota would count that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import yaml

from differential.children import KNATIVE_SERVICE, Controller
from differential.judges import NO_ACCOUNT, LintVerdict
from trivet.host.kubectl import Kubectl, KubectlError

APPEARS = 60.0
"""Seconds within which KServe's controller creates a service's objects or says why it does not."""
EVERY = 0.3
"""Seconds between two looks."""

_DENIED = "no pod may start in this namespace"
_POLICY: Mapping[str, Any] = {
    "failurePolicy": "Fail",
    "matchConstraints": {
        "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    },
    "validations": [{"expression": "has(request.dryRun) && request.dryRun", "message": _DENIED}],
}
_ADMISSION = {"apiVersion": "admissionregistration.k8s.io/v1"}
_RESOURCES = {
    "Deployment": "deployments.apps",
    "Service": "services",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers.autoscaling",
    KNATIVE_SERVICE: "services.serving.knative.dev",
}
_ERROR = "InternalError"
"""The reason of the event with which KServe's and Knative's controllers say that a reconciliation failed."""
_CONFLICT = "the object has been modified"
"""What the API server says of an update that comes after another one (apiserver pkg/registry/generic/registry, OptimisticLockErrorMsg)."""
_REJECTED = "failed to create deployment"
"""How such an event of a revision begins whose Deployment Kubernetes rejects. Its conditions stay Unknown, with the reason Deploying
(Knative Serving 0.42.2 and 0.48.1 pkg/reconciler/revision/reconcile_resources.go, reconcileDeployment)."""
_NO_IMAGE = "ContainerMissing"
"""The reason of a revision's condition if no registry has its image: Knative does not get as far as a Deployment."""


@dataclass(frozen=True, kw_only=True)
class Created:
    """What became of a service that was created: why the controller refused it, empty if it did not, None if this did not show; what the
    dry runs of its objects had foretold; and what lint says of it."""

    manifest: str
    refusal: str | None
    foretold: tuple[str, ...]
    lint: LintVerdict

    @property
    def problem(self) -> str:
        """What is wrong with the judges; empty if nothing is."""
        if self.lint.broken:
            return "a check of lint raised"
        if self.refusal and not self.lint.rejects:
            return "lint passes what the controller refuses"
        if self.foretold and self.refusal == "":
            return "the dry runs foretell what does not happen"
        return ""

    def __str__(self) -> str:
        outcome = "its image is in no registry" if self.refusal is None else self.refusal or "creates its objects"
        said = f"the controller: {outcome}\nforetold: {' | '.join(self.foretold) or 'nothing'}"
        return f"{self.problem or 'agreed'}\n{self.manifest}\n{said}\nlint: {self.lint}\n"


class NoPodsNamespace:
    """A namespace without pods, as :func:`no_pods_namespace` makes it."""

    def __init__(self, kubectl: Kubectl, controller: Controller, name: str) -> None:
        self._kubectl = kubectl
        self._controller = controller
        self.name = name

    def refused(self, manifest: str) -> str | None:
        """Why KServe's controller does not create the objects of an admitted InferenceService; empty when it creates them, None when
        Knative finds an image in no registry, and so does not create the last of them.

        The service is deleted again. Raises KubectlError when the API server rejects it, AssertionError when nothing happens for APPEARS.
        """
        created = yaml.safe_load(self._kubectl.run("create", "-n", self.name, "-o", "yaml", "-f", "-", stdin=manifest))
        name = created["metadata"]["name"]
        try:
            return self._outcome(created)
        finally:
            # In the foreground, so that no object of this service is taken for one of the next, which may have its name.
            self._kubectl.run("delete", "inferenceservice", name, "-n", self.name, "--cascade=foreground", "--wait")

    def _outcome(self, created: Mapping[str, Any]) -> str | None:
        expected = [(kind, str(child["metadata"]["name"])) for kind, child in self._controller.children(created)]
        deadline = time.monotonic() + APPEARS
        while True:
            if errors := self._errors(created):
                return errors[0]
            missing = self._missing(expected)
            if not missing:
                return self._revision_refused([name for kind, name in expected if kind == KNATIVE_SERVICE])
            if time.monotonic() > deadline:
                raise AssertionError(f"neither created nor refused within {APPEARS:g} s: {missing}")
            time.sleep(EVERY)

    def _missing(self, expected: list[tuple[str, str]]) -> list[tuple[str, str]]:
        made = {
            (kind, one["metadata"]["name"])
            for kind in {kind for kind, _ in expected}
            for one in self._kubectl.objects(_RESOURCES[kind], namespace=self.name)
        }
        return [one for one in expected if one not in made]

    def _deployed(self) -> set[str]:
        """The Knative Services of which a revision has a Deployment, whose name Knative shortens."""
        found = self._kubectl.objects("deployments.apps", namespace=self.name)
        return {(one["metadata"].get("labels") or {}).get("serving.knative.dev/service", "") for one in found}

    def _errors(self, one: Mapping[str, Any]) -> list[str]:
        """The errors that a controller says of an object, and does not resolve by trying again."""
        return [
            str(event["message"])
            for event in self._kubectl.objects("events", namespace=self.name)
            if event["involvedObject"].get("uid") == one["metadata"]["uid"]
            and event["reason"] == _ERROR
            and _CONFLICT not in event["message"]
        ]

    def _revision_refused(self, services: list[str]) -> str | None:
        """What Knative says when Kubernetes rejects the Deployment of a revision; empty when it exists, None when there is no image.

        Raises AssertionError when none of these happens for APPEARS.
        """
        deadline = time.monotonic() + APPEARS
        while not self._deployed() >= set(services):
            said = []
            for one in self._kubectl.objects("revisions.serving.knative.dev", namespace=self.name):
                errors = self._errors(one)
                if rejected := [message for message in errors if message.startswith(_REJECTED)]:
                    return rejected[0]
                conditions = (one.get("status") or {}).get("conditions", ())
                if any(each["status"] == "False" and each.get("reason") == _NO_IMAGE for each in conditions):
                    return None
                said += errors
                said += [f"{each['type']}={each['status']} {each.get('message', '')}" for each in conditions]
            if time.monotonic() > deadline:
                raise AssertionError(f"no Deployment of a revision, and no reason, within {APPEARS:g} s: {said}")
            time.sleep(EVERY)
        return ""


@contextmanager
def no_pods_namespace(kubectl: Kubectl, controller: Controller) -> Iterator[NoPodsNamespace]:
    """A namespace of its own, deleted at the end."""
    name = f"trivet-differential-{uuid4().hex[:8]}"
    policy = {**_ADMISSION, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": _POLICY}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    binding = {
        **_ADMISSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": here},
    }
    with ExitStack() as cleanup:

        def delete_at_the_end(kind: str) -> None:
            cleanup.callback(kubectl.run, "delete", kind, name, "--ignore-not-found")

        # Each is deleted whatever becomes of the others, and the namespace first, while no pod may start in it.
        for one in (policy, binding):
            delete_at_the_end(str(one["kind"]).lower())
            kubectl.run("create", "-f", "-", stdin=yaml.safe_dump(one))
        delete_at_the_end("namespace")
        kubectl.run("create", "namespace", name)
        _wait_until_pods_are_denied(kubectl, name)
        yield NoPodsNamespace(kubectl, controller, name)


def _wait_until_pods_are_denied(kubectl: Kubectl, name: str) -> None:
    """A policy takes effect some seconds after it was created, and a namespace has its ServiceAccount a moment later than itself.

    Raises AssertionError if pods are not denied within APPEARS, and KubectlError if they are for another reason.
    """
    deadline = time.monotonic() + APPEARS
    while True:
        try:
            kubectl.run("run", f"probe-{uuid4().hex[:8]}", "-n", name, "--image=example/none", "--restart=Never")
        except KubectlError as refused:
            if _DENIED in str(refused):
                return
            if NO_ACCOUNT not in str(refused):
                raise
        assert time.monotonic() < deadline, f"pods were not denied within {APPEARS:g} s"
        time.sleep(EVERY)
