"""Reads objects and logs over a persistent connection to the API server, so that polling does not start a kubectl process each time.

Kinds are resolved by API discovery and can be named as in kubectl. Writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from trivet.errors import PlatformError
from trivet.targets.cluster import limits
from trivet.targets.cluster.proxy import ApiProxy


class ApiError(PlatformError):
    """The API server returned an error; ``status`` is the HTTP status, 0 when there was no response."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class ApiResource:
    """One kind of objects: its path in the API, and the names for it (kind, plural, singular, short names; with and without group)."""

    base: str
    plural: str
    kind: str
    namespaced: bool
    names: frozenset[str]


class ApiReader:
    """Reads through ``proxy``. The API is discovered at the first use, and again for an unknown kind."""

    def __init__(self, proxy: ApiProxy) -> None:
        self._proxy = proxy
        self._lock = threading.Lock()
        self._resources: list[ApiResource] = []
        self._thread = threading.local()

    def get(self, kind: str, name: str, *, namespace: str) -> dict[str, Any] | None:
        """One object, or None when it does not exist."""
        try:
            return self._json(f"{self._path(self._resource(kind), namespace)}/{quote(name)}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def objects(self, kind: str, *, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects of one kind in a namespace, each with ``apiVersion`` and ``kind``."""
        resource = self._resource(kind)
        listed = self._json(self._path(resource, namespace), **({"labelSelector": selector} if selector else {}))
        types = {"apiVersion": listed["apiVersion"], "kind": resource.kind}
        return [{**types, **item} for item in listed["items"]]

    def log(self, pod: str, *, namespace: str, container: str, previous: bool = False, tail: int = -1) -> str:
        """A container's log; empty when the API server has none, for example because the container has not started."""
        parameters = {"container": container, "previous": str(previous).lower()}
        if tail >= 0:
            parameters["tailLines"] = str(tail)
        try:
            return self._get(f"/api/v1/namespaces/{namespace}/pods/{quote(pod)}/log", parameters).text
        except ApiError:
            return ""

    def _path(self, resource: ApiResource, namespace: str) -> str:
        scope = f"/namespaces/{namespace}" if resource.namespaced else ""
        return f"{resource.base}{scope}/{resource.plural}"

    def _resource(self, kind: str) -> ApiResource:
        name = kind.lower()
        with self._lock:
            if not self._resources:
                self._resources = list(self._discover())
            for resource in self._resources:
                if name in resource.names:
                    return resource
            # Its CRD may have been installed since the discovery.
            self._resources = list(self._discover())
            for resource in self._resources:
                if name in resource.names:
                    return resource
        raise ApiError(f"the API server has no kind {kind!r}", 404)

    def _discover(self) -> Iterator[ApiResource]:
        """All kinds, core kinds first, so that a name without a group has the same meaning as in kubectl."""
        yield from _resources("/api/v1", "", self._json("/api/v1"))
        for group in self._json("/apis")["groups"]:
            version = group["preferredVersion"]["groupVersion"]
            try:
                listed = self._json(f"/apis/{version}")
            except ApiError:
                continue  # the server of an aggregated API may be unavailable
            yield from _resources(f"/apis/{version}", group["name"], listed)

    def _json(self, path: str, **parameters: str) -> dict[str, Any]:
        return dict(self._get(path, parameters).json())

    def _get(self, path: str, parameters: Mapping[str, str]) -> requests.Response:
        session = getattr(self._thread, "session", None)
        if session is None:
            session = self._thread.session = requests.Session()
            session.trust_env = False
        try:
            response = session.get(f"{self._proxy.url}{path}", params=dict(parameters), timeout=limits.PROXY)
        except requests.RequestException as error:
            raise ApiError(f"GET {path}: the API server does not respond: {error}", 0) from error
        if not response.ok:
            raise ApiError(f"GET {path}: HTTP {response.status_code}: {response.text[:300]}", response.status_code)
        return response


def _resources(base: str, group: str, listed: Mapping[str, Any]) -> Iterator[ApiResource]:
    for one in listed.get("resources", ()):
        plural = one["name"]
        if "/" in plural:
            continue
        bare = {plural, one.get("singularName") or one["kind"].lower(), one["kind"].lower(), *one.get("shortNames", ())}
        names = bare | ({f"{name}.{group}" for name in bare} if group else set())
        yield ApiResource(
            base=base, plural=plural, kind=one["kind"], namespaced=bool(one["namespaced"]), names=frozenset(names)
        )
