"""Collects evidence of failures on a cluster before objects are deleted: manifests as applied and as stored, conditions over time, events,
and the current and previous log of every container.

Secrets are never read. Values that look like credentials in a manifest are redacted here, the rest by the report.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from trivet.errors import PlatformError
from trivet.host.journal import make_below
from trivet.targets.cluster import limits
from trivet.targets.cluster.namespaces import Namespaces
from trivet.targets.cluster.reader import ApiReader

STORED = ("inferenceservices.serving.kserve.io", "pods", "networkpolicies.networking.k8s.io")
KNATIVE = (
    "services.serving.knative.dev",
    "revisions.serving.knative.dev",
    "podautoscalers.autoscaling.internal.knative.dev",
)

_SECRET = re.compile(r"(?i)password|passwd|secret|token|api_?key|access_?key|credential")


class EvidenceCollector:
    """Collects evidence into files below ``directory``. ``literals`` are the session's secrets, which are redacted from every text."""

    def __init__(
        self, directory: Path, reader: ApiReader, namespaces: Namespaces, *, literals: Iterable[str], knative: bool
    ) -> None:
        self._directory = directory
        self._reader = reader
        self._namespaces = namespaces
        self._literals = tuple(literal for literal in literals if literal)
        self._stored = STORED + (KNATIVE if knative else ())
        self._lock = threading.Lock()
        self._files: dict[str, Path] = {}
        self._last_conditions: dict[str, tuple[Any, ...]] = {}

    def record_applied(self, document: Mapping[str, Any]) -> None:
        """Record a manifest as it is sent."""
        metadata = document.get("metadata") or {}
        name = f"{document.get('kind')}-{metadata.get('name')}"
        with self._lock:
            number = sum(key.startswith(f"applied/{name}") for key in self._files) + 1
        self._write(f"applied/{name}.{number}.yaml", dump(document))

    def record_conditions(self, document: Mapping[str, Any]) -> None:
        """Record the conditions of an object when they have changed."""
        name = f"{document['kind']}-{document['metadata']['name']}"
        conditions = (document.get("status") or {}).get("conditions") or ()
        now = tuple((c.get("type"), c.get("status"), c.get("reason"), c.get("message")) for c in conditions)
        with self._lock:
            if self._last_conditions.get(name) == now:
                return
            self._last_conditions[name] = now
        at = time.strftime("%H:%M:%S", time.gmtime())
        lines = "".join(f"  {' '.join(str(part) for part in one if part)}\n" for one in now) or "  no conditions\n"
        self._write(
            f"conditions/{name}.txt",
            f"{at} UTC, generation {document['metadata'].get('generation')}\n{lines}",
            append=True,
        )

    def watch(self, stop: threading.Event) -> None:
        """Record the conditions of every InferenceService of the session until ``stop`` is set."""
        while not stop.wait(limits.WATCH):
            with contextlib.suppress(PlatformError):
                for document in self._reader.objects(self._stored[0], namespace=self._namespaces.serving):
                    self.record_conditions(document)

    def collect(self, *, name: str = "") -> None:
        """Collect events, stored objects and logs of the session's namespaces now; with ``name``, objects and logs of one service only."""
        for namespace in dict.fromkeys((self._namespaces.serving, self._namespaces.pipelines)):
            with contextlib.suppress(PlatformError):
                events = sorted(self._reader.objects("events", namespace=namespace), key=_when)
                self._write(f"events/{namespace}.txt", "".join(f"{_event(event)}\n" for event in events))
        pods = self._objects("pods", name)
        for kind in self._stored:
            for document in pods if kind == "pods" else self._objects(kind, name):
                self._write(f"stored/{document['kind']}-{document['metadata']['name']}.yaml", dump(document))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._log, _containers(pods)))

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        """File name in the report → file, for the evidence so far."""
        with self._lock:
            return {f"cluster/{name}": path for name, path in sorted(self._files.items())}

    def _objects(self, kind: str, name: str) -> list[dict[str, Any]]:
        documents = []
        for namespace in dict.fromkeys((self._namespaces.serving, self._namespaces.pipelines)):
            with contextlib.suppress(PlatformError):
                documents += [
                    document
                    for document in self._reader.objects(kind, namespace=namespace)
                    if _of_session(document, self._namespaces) and (not name or _of_service(document, name))
                ]
        return documents

    def _log(self, container: tuple[str, str, str]) -> None:
        namespace, pod, name = container
        for previous in (False, True):
            text = self._reader.log(pod, namespace=namespace, container=name, previous=previous, tail=limits.LOG_LINES)
            if text:
                self._write(f"logs/{pod}/{name}{'.previous' if previous else ''}.log", text)

    def _write(self, name: str, text: str, *, append: bool = False) -> None:
        for literal in self._literals:
            text = text.replace(literal, "[redacted]")
        path = self._directory / name
        with self._lock, contextlib.suppress(OSError):
            make_below(self._directory.parent, path.parent.relative_to(self._directory.parent))
            with path.open("a" if append else "w", encoding="utf-8") as file:
                file.write(text)
            self._files[name] = path


def dump(document: Mapping[str, Any]) -> str:
    """A manifest as YAML, without managed fields, and with redacted credentials."""
    return str(yaml.safe_dump(_without_secrets(document), sort_keys=False, allow_unicode=True, width=140))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        named = value.get("name")
        hidden = isinstance(named, str) and "value" in value and bool(_SECRET.search(named))
        return {
            key: "[redacted]"
            if (hidden and key == "value") or (isinstance(inner, str) and _SECRET.search(str(key)))
            else _without_secrets(inner)
            for key, inner in value.items()
            if key != "managedFields"
        }
    if isinstance(value, (list, tuple)):
        return [_without_secrets(inner) for inner in value]
    return value


def _of_session(document: Mapping[str, Any], namespaces: Namespaces) -> bool:
    """Whether the object belongs to this session: it is in the session's own namespaces, or has the session's label."""
    metadata = document["metadata"]
    labels = metadata.get("labels") or {}
    return metadata.get("namespace", "").endswith(namespaces.id) or labels.items() >= namespaces.label.items()


def _of_service(document: Mapping[str, Any], name: str) -> bool:
    metadata = document["metadata"]
    return name in (metadata["name"], (metadata.get("labels") or {}).get("serving.kserve.io/inferenceservice"))


def _containers(pods: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for pod in pods:
        metadata, spec = pod["metadata"], pod["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            yield metadata["namespace"], metadata["name"], container["name"]


def _when(event: Mapping[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _event(event: Mapping[str, Any]) -> str:
    involved = event.get("involvedObject") or {}
    head = f"{_when(event)} {event.get('type')} {involved.get('kind')}/{involved.get('name')}"
    times = f" (×{event['count']})" if (event.get("count") or 1) > 1 else ""
    return f"{head} {event.get('reason')}: {event.get('message')}{times}"
