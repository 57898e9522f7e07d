"""The storage of an API server, in memory: resource versions, generations, conflicts, and who set a label or annotation.

No schemas, webhooks or controllers. ``tests/live/test_deployment_api_server.py`` runs the same tests against a real API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from uuid import uuid4

from trivet.integration.kubernetes_api import FIELD_MANAGER, ConflictError, KubernetesError, Object, Resource

_OF_THE_SERVER = ("uid", "resourceVersion", "generation", "managedFields", "creationTimestamp")


class ObjectStore:
    """A :class:`trivet.integration.KubernetesApi` of its own objects."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._version = 0

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return deepcopy(self._objects.get((resource.plural, namespace, name)))

    def list(self, resource: Resource, namespace: str, *, labels: Mapping[str, str]) -> list[Object]:
        return [
            deepcopy(found)
            for (plural, place, _), found in self._objects.items()
            if (plural, place) == (resource.plural, namespace)
            and labels.items() <= (found["metadata"].get("labels") or {}).items()
        ]

    def create(self, resource: Resource, document: Mapping[str, Any], *, field_manager: str = FIELD_MANAGER) -> Object:
        key = (resource.plural, document["metadata"]["namespace"], document["metadata"]["name"])
        if key in self._objects:
            raise ConflictError(f"{resource.plural} {key[2]!r} already exists", status=409, reason="AlreadyExists")
        created = deepcopy(dict(document))
        created["metadata"] |= {"uid": str(uuid4()), "generation": 1}
        created.pop("status", None)
        return self._store(key, created, {}, field_manager)

    def replace(self, resource: Resource, document: Mapping[str, Any], *, field_manager: str = FIELD_MANAGER) -> Object:
        key = (resource.plural, document["metadata"]["namespace"], document["metadata"]["name"])
        before = self._of_version(key, document["metadata"]["resourceVersion"])
        wanted = deepcopy(dict(document))
        wanted["metadata"] |= {name: before["metadata"][name] for name in _OF_THE_SERVER if name in before["metadata"]}
        wanted["status"] = before.get("status")
        if wanted["status"] is None:
            del wanted["status"]
        if wanted == before:
            return deepcopy(before)
        wanted["metadata"]["generation"] += wanted["spec"] != before["spec"]
        return self._store(key, wanted, before, field_manager)

    def delete(self, resource: Resource, namespace: str, name: str, *, resource_version: str = "") -> None:
        key = (resource.plural, namespace, name)
        if resource_version:
            self._of_version(key, resource_version)
        self._objects.pop(key, None)

    def set_status(self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Write the status as a controller does, through the subresource."""
        key = (resource.plural, namespace, name)
        self._store(key, {**self._objects[key], "status": dict(status)}, self._objects[key], "controller")

    def _of_version(self, key: tuple[str, str, str], version: str) -> Object:
        before = self._objects.get(key)
        if before is None:
            raise KubernetesError(f"{key[0]} {key[2]!r} not found", status=404, reason="NotFound")
        if before["metadata"]["resourceVersion"] != version:
            raise ConflictError(
                f"Operation cannot be fulfilled on {key[0]} {key[2]!r}: the object has been modified",
                status=409,
                reason="Conflict",
            )
        return before

    def _store(self, key: tuple[str, str, str], document: Object, before: Mapping[str, Any], manager: str) -> Object:
        self._version += 1
        document["metadata"] = {
            **document["metadata"],
            "resourceVersion": str(self._version),
            "managedFields": _managed(document, before, manager),
        }
        self._objects[key] = document
        return deepcopy(document)


def _managed(document: Mapping[str, Any], before: Mapping[str, Any], manager: str) -> list[Object]:
    """Who set each label and annotation last: the writer those that it changes, others what they set and is still there."""
    owners: dict[tuple[str, str], str] = {}
    for entry in (before.get("metadata") or {}).get("managedFields") or ():
        for field, keys in entry["fieldsV1"]["f:metadata"].items():
            owners |= {(field.removeprefix("f:"), key.removeprefix("f:")): entry["manager"] for key in keys}
    now = {
        (kind, key): value
        for kind in ("labels", "annotations")
        for key, value in (document["metadata"].get(kind) or {}).items()
    }
    for (kind, key), value in now.items():
        if ((before.get("metadata") or {}).get(kind) or {}).get(key) != value:
            owners[kind, key] = manager
    found: dict[str, Any] = {}
    for (kind, key), owner in owners.items():
        if (kind, key) in now:
            entry = found.setdefault(owner, {"manager": owner, "operation": "Update", "fieldsV1": {"f:metadata": {}}})
            entry["fieldsV1"]["f:metadata"].setdefault(f"f:{kind}", {})[f"f:{key}"] = {}
    return list(found.values())
