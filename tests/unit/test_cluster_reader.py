"""Reading over the API: kinds as named in kubectl, and errors. A small HTTP server replaces the API server."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from fakes.http_server import serving

from trivet.targets.cluster.proxy import ApiProxy
from trivet.targets.cluster.reader import ApiError, ApiReader

ANSWERS = {
    "/api/v1": {
        "resources": [
            {"name": "pods", "singularName": "pod", "kind": "Pod", "namespaced": True, "shortNames": ["po"]},
            {"name": "pods/log", "singularName": "", "kind": "Pod", "namespaced": True},
            {"name": "services", "singularName": "service", "kind": "Service", "namespaced": True},
            {"name": "nodes", "singularName": "node", "kind": "Node", "namespaced": False},
        ]
    },
    "/apis": {
        "groups": [
            {"name": "serving.knative.dev", "preferredVersion": {"groupVersion": "serving.knative.dev/v1"}},
            {"name": "metrics.k8s.io", "preferredVersion": {"groupVersion": "metrics.k8s.io/v1beta1"}},
        ]
    },
    "/apis/serving.knative.dev/v1": {
        "resources": [{"name": "services", "singularName": "service", "kind": "Service", "namespaced": True}]
    },
    "/api/v1/namespaces/n/pods": {"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "x"}}]},
    "/api/v1/namespaces/n/pods/x": {"kind": "Pod", "metadata": {"name": "x"}},
    "/api/v1/namespaces/n/services": {"apiVersion": "v1", "items": []},
    "/apis/serving.knative.dev/v1/namespaces/n/services": {"apiVersion": "serving.knative.dev/v1", "items": [{}]},
    "/api/v1/nodes": {"apiVersion": "v1", "items": []},
}


class Api(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(self.path)
        self.send_response(200 if path in ANSWERS else 404)
        self.end_headers()
        self.wfile.write(json.dumps(ANSWERS.get(path, {"message": "not here"})).encode())

    def log_message(self, *_: Any) -> None:
        pass


class Fixed(ApiProxy):
    def __init__(self, url: str) -> None:
        self._fixed = url

    @property
    def url(self) -> str:
        return self._fixed


@pytest.fixture
def reader() -> Iterator[ApiReader]:
    Api.asked.clear()
    with serving(Api) as server:
        yield ApiReader(Fixed(f"http://127.0.0.1:{server.server_port}"))


@pytest.mark.parametrize("kind", ["pod", "pods", "po", "Pod"])
def test_kinds_can_be_named_as_in_kubectl(reader: ApiReader, kind: str) -> None:
    assert reader.objects(kind, namespace="n", selector="a=b") == [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    ]
    assert "labelSelector=a%3Db" in Api.asked[-1]


def test_a_bare_name_is_the_core_kind_and_a_full_one_its_groups(reader: ApiReader) -> None:
    assert reader.objects("service", namespace="n") == []
    assert len(reader.objects("services.serving.knative.dev", namespace="n")) == 1


def test_kinds_of_the_whole_cluster_have_no_namespace(reader: ApiReader) -> None:
    assert reader.objects("nodes", namespace="n") == []


def test_an_object_that_does_not_exist_is_none(reader: ApiReader) -> None:
    assert reader.get("pod", "y", namespace="n") is None
    assert reader.get("pod", "x", namespace="n") == ANSWERS["/api/v1/namespaces/n/pods/x"]


def test_a_log_that_does_not_exist_is_empty(reader: ApiReader) -> None:
    assert reader.log("x", namespace="n", container="c") == ""


def test_a_kind_that_is_not_served_is_named(reader: ApiReader) -> None:
    with pytest.raises(ApiError, match="has no kind 'inferenceservice'"):
        reader.objects("inferenceservice", namespace="n")


def test_the_api_is_discovered_once(reader: ApiReader) -> None:
    for _ in range(3):
        reader.objects("pods", namespace="n")
    assert Api.asked.count("/apis") == 1


def test_an_api_server_that_does_not_respond_is_an_error() -> None:
    with pytest.raises(ApiError, match="does not respond"):
        ApiReader(Fixed("http://127.0.0.1:9")).get("pod", "x", namespace="n")
