"""Clients of a fake cluster, which answer what a test gives them. For the logic of checks, never as an example of a contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trivet.model.clients import Refused
from trivet.model.handover import Handover, LoggedModel
from trivet.model.network import NetworkPath

HANDOVER = Handover(
    tracking_uri="http://mlflow:5000",
    model=LoggedModel(run_id="0123", artifact_path="model", registered_name="classifier", version="1"),
    alias="production",
    service={
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "classifier", "namespace": "serving"},
        "spec": {
            "predictor": {
                "minReplicas": 2,
                "maxReplicas": 3,
                "model": {"storageUri": "s3://mlflow/1/0123/artifacts/model/"},
            }
        },
    },
)


def pod(name: str, *, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    """A pod with an address."""
    status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    return {"metadata": {"name": name, **metadata}, "status": status}


class FakeCluster:
    """``admit`` is what the API server does with an object; ``pods`` are all that any selector finds, one list per look; ``reach`` says
    what a probe sees from a pod to a host."""

    namespace = "serving"
    images: Mapping[str, str] = {"initializer": "initializer:1"}

    def __init__(
        self,
        *,
        admit: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda document: document,
        pods: Sequence[Sequence[Mapping[str, Any]]] = ((),),
        paths: Sequence[NetworkPath] = (),
        reach: Callable[[FakeCluster, str, str], str] = lambda cluster, pod, host: "open",
    ) -> None:
        self.admit = admit
        self.pods = list(pods)
        self.paths = paths
        self.reach = reach
        self.there: dict[tuple[str, str], Mapping[str, Any]] = {}

    def apply(self, document: Mapping[str, Any], *, strict: bool = True, dry_run: bool = False) -> Mapping[str, Any]:
        stored = self.admit(document)
        if not dry_run:
            self.there[document["kind"].lower(), document["metadata"]["name"]] = stored
        return stored

    def get(self, kind: str, name: str = "", *, namespace: str = "", selector: str = "") -> Mapping[str, Any] | None:
        if kind == "pod" and name:
            return pod(name)
        if kind == "pod":
            return {"items": self.pods.pop(0) if len(self.pods) > 1 else self.pods[0]}
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        return {**self.there[kind, name], **ready} if (kind, name) in self.there else None

    def delete(self, kind: str, name: str, *, namespace: str = "") -> None:
        self.there.pop((kind, name), None)

    def execute(
        self, pod: str, command: Sequence[str], *, container: str = "", namespace: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        reached = self.reach(self, pod, command[3])
        return (0, f"Defaulted container\nprobe: {reached}\n") if reached else (127, "python3: not found")


def refusing(words: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """An API server that refuses everything but the sound service."""

    def admit(document: Mapping[str, Any]) -> Mapping[str, Any]:
        sound = {**HANDOVER.service, "metadata": {**HANDOVER.service["metadata"], "name": "trivet-admission"}}
        if document == sound:
            return document
        raise Refused(words)

    return admit
