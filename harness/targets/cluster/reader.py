"""Reading objects and logs over one lasting connection to the API server: what is looked at every second must not start a kubectl
each time.

Kinds are found by the API's own discovery and may be named as kubectl takes them. Nothing is written here.
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
    """The API server answered with an error; ``status`` is HTTP's, 0 when it did not answer at all."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind of objects: where the API serves it, and by which names it is called."""

    base: str
    plural: str
    kind: str
    namespaced: bool
    names: frozenset[str]


class ApiReader:
    """Reads through ``proxy``; discovery is asked once, for the first kind that is named."""

    def __init__(self, proxy: ApiProxy) -> None:
        self._proxy = proxy
        self._lock = threading.Lock()
        self._known: list[Resource] = []
        self._own = threading.local()

    def get(self, kind: str, name: str, *, namespace: str) -> dict[str, Any] | None:
        """One object, or None when it is not there."""
        try:
            return self._json(f"{self._path(self._resource(kind), namespace)}/{quote(name)}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def objects(self, kind: str, *, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects of one kind in a namespace, each with its kind and version."""
        resource = self._resource(kind)
        found = self._json(self._path(resource, namespace), **({"labelSelector": selector} if selector else {}))
        own = {"apiVersion": found["apiVersion"], "kind": resource.kind}
        return [{**own, **item} for item in found["items"]]

    def log(self, pod: str, *, namespace: str, container: str, previous: bool = False, tail: int = -1) -> str:
        """A container's log; empty when there is none (yet)."""
        parameters = {"container": container, "previous": str(previous).lower()}
        if tail >= 0:
            parameters["tailLines"] = str(tail)
        try:
            return self._ask(f"/api/v1/namespaces/{namespace}/pods/{quote(pod)}/log", parameters).text
        except ApiError:
            return ""

    def _path(self, resource: Resource, namespace: str) -> str:
        where = f"/namespaces/{namespace}" if resource.namespaced else ""
        return f"{resource.base}{where}/{resource.plural}"

    def _resource(self, kind: str) -> Resource:
        wanted = kind.lower()
        with self._lock:
            if not self._known:
                self._known = list(self._discover())
            for resource in self._known:
                if wanted in resource.names:
                    return resource
            # It may have been installed since.
            self._known = list(self._discover())
            for resource in self._known:
                if wanted in resource.names:
                    return resource
        raise ApiError(f"the API server serves nothing called {kind!r}", 404)

    def _discover(self) -> Iterator[Resource]:
        """Core kinds first, so that a bare name means the same as for kubectl."""
        yield from _resources("/api/v1", "", self._json("/api/v1"))
        for group in self._json("/apis")["groups"]:
            version = group["preferredVersion"]["groupVersion"]
            try:
                listed = self._json(f"/apis/{version}")
            except ApiError:
                continue  # an aggregated API whose server is away takes no other kind with it
            yield from _resources(f"/apis/{version}", group["name"], listed)

    def _json(self, path: str, **parameters: str) -> dict[str, Any]:
        return dict(self._ask(path, parameters).json())

    def _ask(self, path: str, parameters: Mapping[str, str]) -> requests.Response:
        session = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = requests.Session()
            session.trust_env = False
        try:
            answer = session.get(f"{self._proxy.url}{path}", params=dict(parameters), timeout=limits.PROXY)
        except requests.RequestException as error:
            raise ApiError(f"GET {path}: the API server does not answer: {error}", 0) from error
        if not answer.ok:
            raise ApiError(f"GET {path}: HTTP {answer.status_code}: {answer.text[:300]}", answer.status_code)
        return answer


def _resources(base: str, group: str, listed: Mapping[str, Any]) -> Iterator[Resource]:
    for one in listed.get("resources", ()):
        plural = one["name"]
        if "/" in plural:
            continue
        bare = {plural, one.get("singularName") or one["kind"].lower(), one["kind"].lower(), *one.get("shortNames", ())}
        names = bare | ({f"{name}.{group}" for name in bare} if group else set())
        yield Resource(
            base=base, plural=plural, kind=one["kind"], namespaced=bool(one["namespaced"]), names=frozenset(names)
        )
