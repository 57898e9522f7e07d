"""The storage of an API server as several processes and threads see it, and as tests disturb it."""

from __future__ import annotations

import fcntl
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes.object_store import ObjectStore
from trivet.integration.kubernetes_api import FIELD_MANAGER, Object, Resource


class StoredObjects(ObjectStore):
    """``file`` is where several processes share the objects; without one they are in this process.

    ``before`` is called with verb, plural and name ahead of each request: it may raise what the API server would answer.
    """

    def __init__(
        self, file: Path | None = None, *, before: Callable[[str, str, str], None] = lambda verb, plural, name: None
    ) -> None:
        super().__init__()
        self._file = file
        self._lock = threading.RLock()
        self._writes: list[tuple[str, str]] = []
        self.before = before

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        self.before("get", resource.plural, name)
        with self._open():
            return super().get(resource, namespace, name)

    def list(self, resource: Resource, namespace: str, *, labels: Mapping[str, str]) -> list[Object]:
        self.before("list", resource.plural, "")
        with self._open():
            return super().list(resource, namespace, labels=labels)

    def create(self, resource: Resource, document: Mapping[str, Any], *, field_manager: str = FIELD_MANAGER) -> Object:
        self.before("create", resource.plural, document["metadata"]["name"])
        described = {**document, "apiVersion": resource.api_version, "kind": resource.kind}
        with self._open(("create", resource.plural)):
            return super().create(resource, described, field_manager=field_manager)

    def replace(self, resource: Resource, document: Mapping[str, Any], *, field_manager: str = FIELD_MANAGER) -> Object:
        self.before("replace", resource.plural, document["metadata"]["name"])
        with self._open(("replace", resource.plural)):
            return super().replace(resource, document, field_manager=field_manager)

    def delete(self, resource: Resource, namespace: str, name: str, *, resource_version: str = "") -> None:
        self.before("delete", resource.plural, name)
        with self._open(("delete", resource.plural)):
            super().delete(resource, namespace, name, resource_version=resource_version)

    def set_status(self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        with self._open(("status", resource.plural)):
            super().set_status(resource, namespace, name, status)

    def writes(self, resource: Resource) -> tuple[str, ...]:
        """The verbs that changed objects of a resource, in their order; ``status`` for :meth:`set_status`."""
        with self._open():
            return tuple(verb for verb, plural in self._writes if plural == resource.plural)

    @contextmanager
    def _open(self, write: tuple[str, str] | None = None) -> Iterator[None]:
        """The objects as all see them; ``write`` is noted when the block does not raise."""
        if self._file is None:
            with self._lock:
                yield
                self._writes += [write] if write else []
            return
        with self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._file.exists():
                self._objects, self._version, self._writes = pickle.loads(self._file.read_bytes())
            yield
            if write:
                self._writes.append(write)
                unfinished = self._file.with_suffix(".new")
                unfinished.write_bytes(pickle.dumps((self._objects, self._version, self._writes)))
                unfinished.replace(self._file)  # at once: a process may be killed at any moment
