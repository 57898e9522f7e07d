"""What KServe and Knative make of InferenceServices in the stand-in for the API server's storage, at once, whenever one is read.

A service has the revision of its newest predictor, labels and annotations; the percentage splits the traffic between it and the revision
that was rolled out last, as KServe 0.14.1 does (pkg/controller/v1beta1/inferenceservice/reconcilers/knative/ksvc_reconciler.go).
"""

from __future__ import annotations

from typing import Any

from fakes.kubernetes_api import StoredObjects
from fakes.object_store import ObjectStore
from trivet.integration.kubernetes_api import INFERENCE_SERVICES, KNATIVE_REVISIONS, PODS


class KserveController:
    """Reconciles ahead of each request of ``cluster``, by the storage itself; ``requests`` has them all, as (verb, plural, name)."""

    def __init__(self, cluster: StoredObjects) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self._cluster = cluster
        cluster.before = self.before

    def before(self, verb: str, plural: str, name: str) -> None:
        self.requests.append((verb, plural, name))
        for kind, namespace, service in list(self._cluster._objects):
            if kind == INFERENCE_SERVICES.plural:
                self._reconcile(namespace, service)

    def _reconcile(self, namespace: str, name: str) -> None:
        service = ObjectStore.get(self._cluster, INFERENCE_SERVICES, namespace, name)
        assert service is not None
        status = service.get("status") or {}
        before = (status.get("components") or {}).get("predictor") or {}
        newest = before.get("latestCreatedRevision") or ""
        current = ObjectStore.get(self._cluster, KNATIVE_REVISIONS, namespace, newest) if newest else None
        made_of = self._revision(service)
        if current is None or current["made_of"] != made_of["made_of"]:
            number = int(newest.rpartition("-")[2] or 0) + 1 if newest else 1
            newest = f"{name}-predictor-{number:05d}"
            self._create(KNATIVE_REVISIONS, namespace, newest, made_of)
            pod_labels = {"serving.knative.dev/revision": newest}
            self._create(PODS, namespace, f"{newest}-pod", {"metadata": {"labels": pod_labels}})
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            ObjectStore.set_status(self._cluster, PODS, namespace, f"{newest}-pod", ready)
        rolled_out = before.get("latestRolledoutRevision") or newest
        previous = before.get("previousRolledoutRevision")
        percent = service["spec"]["predictor"].get("canaryTrafficPercent")
        other = previous if rolled_out == newest else rolled_out
        if percent in (None, 100) or not other:
            if rolled_out != newest:
                previous, rolled_out = rolled_out, newest
            traffic = [{"revisionName": newest, "percent": 100}]
        else:
            shares = {newest: percent, other: 100 - percent}
            traffic = [{"revisionName": one, "percent": share} for one, share in shares.items() if share]
        predictor = {
            "latestCreatedRevision": newest,
            "latestReadyRevision": newest,
            "latestRolledoutRevision": rolled_out,
            **({"previousRolledoutRevision": previous} if previous else {}),
            "traffic": traffic,
        }
        wanted = {
            "components": {"predictor": predictor},
            "conditions": [{"type": "Ready", "status": "True"}],
            # That of Knative's Service, which a change of labels, annotations or replicas alone moves apart from the InferenceService's.
            "observedGeneration": service["metadata"]["generation"] + 1,
        }
        if wanted != status:
            ObjectStore.set_status(self._cluster, INFERENCE_SERVICES, namespace, name, wanted)

    def _revision(self, service: dict[str, Any]) -> dict[str, Any]:
        predictor = {key: value for key, value in service["spec"]["predictor"].items() if key != "canaryTrafficPercent"}
        labels, annotations = (service["metadata"].get(kind) or {} for kind in ("labels", "annotations"))
        return {
            "metadata": {"labels": labels, "annotations": annotations},
            "made_of": {"predictor": predictor, "labels": labels, "annotations": annotations},
        }

    def _create(self, resource: Any, namespace: str, name: str, content: dict[str, Any]) -> None:
        metadata = {**content.get("metadata", {}), "name": name, "namespace": namespace}
        ObjectStore.create(self._cluster, resource, {**content, "metadata": metadata})
