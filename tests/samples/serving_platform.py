"""What KServe and Knative make of an InferenceService, step by step as a test asks for it, as objects and status of any API server.

The rules are those of createKnativeService and PropagateStatus (kserve 0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice/
reconcilers/knative/ksvc_reconciler.go and pkg/apis/serving/v1beta1/inference_service_status.go); the cluster's tests of roll-outs hold them
to KServe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trivet.integration.inference_service import SOURCE_URI
from trivet.integration.kubernetes_api import INFERENCE_SERVICES, KNATIVE_REVISIONS, PODS, KubernetesApi, Resource

StatusWriter = Callable[[Resource, str, str, Mapping[str, Any]], None]
"""Writes the status of an object: its resource, namespace and name, and the status."""


class ServingPlatform:
    """The controllers of one service in a Knative mode. ``ready`` says whether its next revisions get ready."""

    def __init__(self, cluster: KubernetesApi, write_status: StatusWriter, namespace: str, name: str) -> None:
        self.cluster = cluster
        self.write_status = write_status
        self.namespace = namespace
        self.name = name
        self.ready = True
        self.made: list[dict[str, Any]] = []
        self.rolled_out = ""
        self.before = ""

    def reconcile(self) -> None:
        """Make the revision that the service asks for if there is none, and split the traffic."""
        service = self.cluster.get(INFERENCE_SERVICES, self.namespace, self.name)
        assert service is not None
        predictor = {key: value for key, value in service["spec"]["predictor"].items() if key != "canaryTrafficPercent"}
        metadata = {key: service["metadata"].get(key) or {} for key in ("labels", "annotations")}
        if not self.made or self.made[-1]["of"] != (predictor, metadata):
            number = f"{self.name}-predictor-{len(self.made) + 1:05}"
            self.made.append({"name": number, "of": (predictor, metadata), "ready": self.ready})
            self._create_revision(number, predictor, metadata)
        latest = next((one["name"] for one in reversed(self.made) if one["ready"]), "")
        percent = service["spec"]["predictor"].get("canaryTrafficPercent")
        share = 100 if percent is None or not self.rolled_out else percent
        targets: list[dict[str, Any]] = []
        if latest:
            targets = [{"revisionName": latest, "latestRevision": True, "percent": share}]
        if share < 100 and targets:
            targets.append({"revisionName": self.rolled_out, "latestRevision": False, "percent": 100 - share})
        if latest and latest != self.rolled_out and share == 100:
            self.before, self.rolled_out = self.rolled_out, latest
        elif latest and latest == self.rolled_out and share < 100 and self.before:
            self.rolled_out = self.before
            return self.reconcile()
        newest_ready = latest == self.made[-1]["name"]
        component = {
            "latestCreatedRevision": self.made[-1]["name"],
            "latestReadyRevision": latest,
            "latestRolledoutRevision": self.rolled_out,
            "previousRolledoutRevision": self.before,
            "traffic": targets,
        }
        conditions = [{"type": "Ready", "status": "True" if newest_ready else "Unknown", "reason": "RevisionMissing"}]
        if newest_ready:
            del conditions[0]["reason"]
        status = {
            "conditions": conditions,
            "components": {"predictor": {key: value for key, value in component.items() if value}},
        }
        self.write_status(INFERENCE_SERVICES, self.namespace, self.name, status)

    def finish(self) -> None:
        """Every revision is ready now."""
        for one in self.made:
            one["ready"] = True
        self.ready = True

    def scale_to_zero(self, number: int) -> None:
        """Knative ends the pods of the revision that was made as the ``number``-th."""
        self.cluster.delete(PODS, self.namespace, f"{self.made[number - 1]['name']}-pod")

    def _create_revision(self, number: str, predictor: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        annotations = {**metadata["annotations"], SOURCE_URI: predictor["model"]["storageUri"]}
        described = {
            "name": number,
            "namespace": self.namespace,
            "labels": metadata["labels"],
            "annotations": annotations,
        }
        container = {"name": "kserve-container", "image": "example/runtime"}
        self.cluster.create(
            KNATIVE_REVISIONS, {"metadata": described, "spec": {"containers": [container]}}, field_manager="controller"
        )
        pod = {
            "metadata": {
                "name": f"{number}-pod",
                "namespace": self.namespace,
                "labels": {"serving.knative.dev/revision": number, "serving.kserve.io/inferenceservice": self.name},
            },
            "spec": {"containers": [container]},
        }
        self.cluster.create(PODS, pod, field_manager="controller")
        ready = {"conditions": [{"type": "Ready", "status": "True" if self.ready else "False"}]}
        self.write_status(PODS, self.namespace, f"{number}-pod", ready)
