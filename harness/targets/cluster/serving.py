"""Deploys InferenceServices, waits until their models are ready, and returns serving clients for them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from threading import Event
from typing import Any

import requests

from trivet.errors import CannotTell, PlatformError
from trivet.integration import is_ready
from trivet.integration.inference_service import DEPLOYMENT_MODE, STANDARD_MODES
from trivet.provision.access import ClusterAccess
from trivet.targets.cluster import limits
from trivet.targets.cluster.client import Cluster
from trivet.targets.cluster.evidence import EvidenceCollector
from trivet.targets.cluster.pods import container_state
from trivet.targets.cluster.proxy import ApiProxy
from trivet.targets.cluster.traffic import Address
from trivet.targets.common.clients import HttpServing
from trivet.toolkit.logs import first_exception
from trivet.toolkit.readiness import conditions, describe_conditions, service_pods
from trivet.toolkit.waiting import last_answer

CONTAINER = "kserve-container"
INITIALIZER = "storage-initializer"


class Services:
    """The InferenceServices of one session."""

    def __init__(
        self,
        access: ClusterAccess,
        cluster: Cluster,
        *,
        evidence: EvidenceCollector,
        proxy: ApiProxy,
        build: Callable[[str, str], dict[str, Any]],
        stop: Event,
    ) -> None:
        self._access = access
        self._cluster = cluster
        self._evidence = evidence
        self._proxy = proxy
        self._build = build
        self._stop = stop
        self._logs: dict[str, str] = {}

    def serve(self, document: Mapping[str, Any]) -> HttpServing:
        """Apply an InferenceService, and wait until its model is ready or has failed; returns a client for it."""
        name = str(document["metadata"]["name"])
        self._cluster.apply(document)
        failure = self._wait(name)
        address = None if failure else self.address(name)
        return HttpServing(
            name,
            url=address.url if address else "",
            headers=address.headers if address else {},
            failure=failure,
            log=lambda: self.log(name),
            deploy=self.deploy,
        )

    @contextlib.contextmanager
    def deploy(self, storage_uri: str) -> Iterator[HttpServing]:
        """A further InferenceService for the model at ``storage_uri``, deleted at the end of the block."""
        document = self._build("", storage_uri)
        try:
            yield self.serve(document)
        finally:
            self._cluster.delete("inferenceservice", document["metadata"]["name"])

    def address(self, name: str) -> Address:
        """The base URL of an InferenceService, and the headers that route to it. Raises CannotTell when it has no URL yet."""
        service = self._cluster.get("inferenceservice", name)
        if service is None:
            raise CannotTell(f"there is no InferenceService {name}")
        if (service["metadata"].get("annotations") or {}).get(DEPLOYMENT_MODE) in STANDARD_MODES:
            return Address(url=self._proxy.service(self._cluster.namespace, f"{name}-predictor", 80), headers={})
        url = str((service.get("status") or {}).get("url") or "")
        if not url:
            raise CannotTell(f"InferenceService {name} has no URL: {describe_conditions(service)}")
        return Address(
            url=self._access.ingress.rstrip("/"), headers={"Host": url.partition("://")[2].partition("/")[0]}
        )

    def infer_address(self, name: str) -> Address:
        """The address of the model's ``infer``; as :meth:`address`."""
        base = self.address(name)
        return Address(url=f"{base.url}/v2/models/{name}/infer", headers=base.headers)

    def log(self, name: str) -> str:
        """The runtime's logs of all pods of the service, with the log before a restart first; the last known log when there is no pod."""
        texts = []
        for pod in service_pods(self._cluster, name):
            for previous in (True, False):
                texts.append(self._cluster.log(pod["metadata"]["name"], CONTAINER, previous=previous))
        if text := "".join(texts):
            self._logs[name] = text
        return self._logs.get(name, "")

    def _wait(self, name: str) -> str:
        """Why the service is not ready; empty once its model is ready through the ingress."""
        deadline = time.monotonic() + limits.READY
        while True:
            with contextlib.suppress(PlatformError):
                service = self._cluster.get("inferenceservice", name) or {}
                if service:
                    self._evidence.record_conditions(service)
                if is_ready(service):
                    return self._wait_for_route(name)
                if failure := self._repeated_restarts(name):
                    return failure
            if time.monotonic() > deadline:
                return self._not_ready_reason(name, service)
            if self._stop.wait(limits.WATCH):
                raise PlatformError(f"the session ended while waiting for InferenceService {name} to be Ready")

    def _wait_for_route(self, name: str) -> str:
        """Why the model of a Ready service is not ready through the ingress, which gets the route later; empty once it is."""

        def error_of_probe() -> str:
            try:
                address = self.address(name)
                with requests.Session() as session:
                    session.trust_env = False
                    url = f"{address.url}/v2/models/{name}/ready"
                    response = session.get(url, headers=dict(address.headers), timeout=10)
            except CannotTell as error:
                return error.message
            except requests.RequestException as error:
                return str(error)
            return "" if response.status_code == 200 else f"HTTP {response.status_code} {response.text[:200]}".strip()

        error = last_answer(
            error_of_probe, until=lambda error: not error, timeout=limits.ROUTED, poll=0.3, stop=self._stop
        )
        return (
            f"Ready=True, but timed out after {limits.ROUTED:g} s waiting for GET /v2/models/{name}/ready to return 200: "
            f"last seen {error}"
            if error
            else ""
        )

    def _repeated_restarts(self, name: str) -> str:
        """The cause when a container has restarted more often than ``limits.RESTARTS`` allows; empty otherwise."""
        for pod in service_pods(self._cluster, name):
            status = pod.get("status") or {}
            for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
                if one.get("restartCount", 0) >= limits.RESTARTS.get(one["name"], math.inf):
                    text = self.log(name) if one["name"] == CONTAINER else ""
                    text = text or self._container_log(pod, one["name"])
                    return f"{one['name']} restarted {one['restartCount']} times: {first_exception(text) or container_state(one)}"
        return ""

    def _container_log(self, pod: Mapping[str, Any], container: str) -> str:
        name = pod["metadata"]["name"]
        return "".join(self._cluster.log(name, container, previous=previous) for previous in (True, False))

    def _not_ready_reason(self, name: str, service: Mapping[str, Any]) -> str:
        timed_out = f"timed out after {limits.READY:g} s waiting for InferenceService {name} to be Ready: last seen"
        for pod in service_pods(self._cluster, name):
            status = pod.get("status") or {}
            for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
                if not one.get("ready") and one["name"] in (INITIALIZER, CONTAINER):
                    error = first_exception(self._container_log(pod, one["name"]))
                    return f"{timed_out} {one['name']} {container_state(one)}" + (f": {error}" if error else "")
            if unscheduled := conditions(pod).get("PodScheduled", {}).get("message"):
                return f"{timed_out} its pod is not scheduled: {unscheduled}"
        return f"{timed_out} {describe_conditions(service)}"
