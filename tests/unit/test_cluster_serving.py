"""Why a service is not ready, from the status of its pods."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from trivet.errors import CannotTell
from trivet.host.kubectl import Kubectl
from trivet.provision.access import ClusterAccess, StoreAccess
from trivet.targets.cluster.serving import Services

ACCESS = ClusterAccess(
    kubectl=Kubectl(context="c"),
    ingress="http://127.0.0.1:80/",
    tracking_uri="http://mlflow.platform:5000",
    tracking_url="",
    prometheus_url="",
    store=StoreAccess(root="s3://mlflow"),
    images={},
    owned=True,
)


class ServingCluster:
    """A cluster on which ``service`` has ``pods``, and a container's log is ``logs[container, previous]``."""

    namespace = "s"

    def __init__(self, service: Mapping[str, Any] | None, *pods: Mapping[str, Any], **logs: str) -> None:
        self._service = service
        self._pods = pods
        self._logs = logs

    def get(self, kind: str, name: str = "", *, namespace: str = "", selector: str = "") -> Any:
        return self._service if name else {"items": list(self._pods)}

    def log(self, pod: str, container: str, *, previous: bool = False, namespace: str = "") -> str:
        return "" if previous else self._logs.get(container.replace("-", "_"), "")


def services(seen: ServingCluster) -> Services:
    class Proxy:
        def service(self, namespace: str, name: str, port: int) -> str:
            return f"http://proxy/{namespace}/{name}/{port}"

    unasked: Any = None
    given: Any = seen
    proxy: Any = Proxy()
    return Services(ACCESS, given, evidence=unasked, proxy=proxy, build=unasked, stop=threading.Event())


def pod(*containers: Mapping[str, Any], **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": list(containers), **status}}


def test_repeated_restarts_are_reported_with_the_first_exception_of_the_log() -> None:
    crashing = {"name": "kserve-container", "restartCount": 2, "ready": False, "state": {"running": {}}}
    log = "INFO start\nValueError: MT19937 is not a known BitGenerator module\nlater\n"
    reason = services(ServingCluster({}, pod(crashing), kserve_container=log))._repeated_restarts("m")
    assert reason == "kserve-container restarted 2 times: ValueError: MT19937 is not a known BitGenerator module"


@pytest.mark.parametrize(
    ("container", "restarts"), [("kserve-container", 1), ("storage-initializer", 2), ("queue-proxy", 9)]
)
def test_a_few_restarts_are_tolerated(container: str, restarts: int) -> None:
    one = {"name": container, "restartCount": restarts, "ready": False, "state": {"running": {}}}
    assert services(ServingCluster({}, pod(one)))._repeated_restarts("m") == ""


def test_a_service_that_is_not_ready_is_reported_with_the_state_of_its_containers() -> None:
    waiting = {"name": "kserve-container", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    assert "kserve-container waiting ImagePullBackOff" in services(ServingCluster({}, pod(waiting)))._not_ready_reason(
        "m", {}
    )


def test_an_unscheduled_pod_is_reported_with_the_scheduler_s_message() -> None:
    conditions = [{"type": "PodScheduled", "status": "False", "message": "1 Insufficient cpu"}]
    assert "1 Insufficient cpu" in services(ServingCluster({}, pod(conditions=conditions)))._not_ready_reason("m", {})


def test_a_service_without_pods_is_reported_with_its_conditions() -> None:
    found = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NoRuntime"}]}}
    assert "Ready=False (NoRuntime)" in services(ServingCluster(found))._not_ready_reason("m", found)
    assert "no conditions" in services(ServingCluster({}))._not_ready_reason("m", {"metadata": {}})


def test_a_knative_service_is_called_through_the_ingress_with_its_host_name() -> None:
    service = {"metadata": {}, "status": {"url": "http://m.s.example.com"}}
    address = services(ServingCluster(service)).infer_address("m")
    assert (address.url, address.headers) == ("http://127.0.0.1:80/v2/models/m/infer", {"Host": "m.s.example.com"})


@pytest.mark.parametrize("mode", ["RawDeployment", "Standard"])
def test_a_standard_service_is_called_through_the_api_server_s_proxy(mode: str) -> None:
    service = {"metadata": {"annotations": {"serving.kserve.io/deploymentMode": mode}}, "status": {}}
    address = services(ServingCluster(service)).address("m")
    assert (address.url, address.headers) == ("http://proxy/s/m-predictor/80", {})


def test_a_service_without_a_url_cannot_be_called() -> None:
    with pytest.raises(CannotTell, match="has no URL"):
        services(ServingCluster({"metadata": {}, "status": {}})).address("m")
    with pytest.raises(CannotTell, match="there is no InferenceService"):
        services(ServingCluster(None)).address("m")
