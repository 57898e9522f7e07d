"""InferenceServices on a cluster: applied, waited for, asked through the ingress or the API server, and taken away."""

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
from trivet.provision.access import ClusterAccess
from trivet.targets.cluster import limits
from trivet.targets.cluster.client import Cluster
from trivet.targets.cluster.evidence import EvidenceCollector
from trivet.targets.cluster.pods import container_state
from trivet.targets.cluster.proxy import ApiProxy
from trivet.targets.cluster.traffic import Address
from trivet.targets.common.clients import HttpServing, first_exception
from trivet.toolkit.readiness import conditions, describe_conditions, service_pods
from trivet.toolkit.waiting import last_answer

CONTAINER = "kserve-container"
INITIALIZER = "storage-initializer"
KNATIVE_MODES = ("Knative", "Serverless")
STANDARD_MODES = ("Standard", "RawDeployment")
"""KServe's two ways to deploy, each with its newer name first: from 0.16 on the webhook writes the newer one over the older one."""
MODE = "serving.kserve.io/deploymentMode"


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
        """Apply an InferenceService; a client for it once its model answers, or once it is plain that it will not."""
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
        """A further service for ``storage_uri``, removed at the end of the block."""
        document = self._build("", storage_uri)
        try:
            yield self.serve(document)
        finally:
            self._cluster.delete("inferenceservice", document["metadata"]["name"])

    def address(self, name: str) -> Address:
        """The base URL of a service, and the headers that lead there. Raises CannotTell when it has no URL (yet)."""
        found = self._cluster.get("inferenceservice", name)
        if found is None:
            raise CannotTell(f"there is no InferenceService {name}")
        if (found["metadata"].get("annotations") or {}).get(MODE) in STANDARD_MODES:
            return Address(url=self._proxy.service(self._cluster.namespace, f"{name}-predictor", 80), headers={})
        url = str((found.get("status") or {}).get("url") or "")
        if not url:
            raise CannotTell(f"InferenceService {name} has no URL: {describe_conditions(found)}")
        return Address(
            url=self._access.ingress.rstrip("/"), headers={"Host": url.partition("://")[2].partition("/")[0]}
        )

    def infer_address(self, name: str) -> Address:
        """As ``address``, for the model's ``infer``."""
        base = self.address(name)
        return Address(url=f"{base.url}/v2/models/{name}/infer", headers=base.headers)

    def log(self, name: str) -> str:
        """The runtime's log: of every pod of the service, what its container said before a restart first; the last that was seen."""
        texts = []
        for pod in service_pods(self._cluster, name):
            for previous in (True, False):
                texts.append(self._cluster.log(pod["metadata"]["name"], CONTAINER, previous=previous))
        if text := "".join(texts):
            self._logs[name] = text
        return self._logs.get(name, "")

    def _wait(self, name: str) -> str:
        """Why the service does not get ready; empty once its model answers ready by the way that clients take."""
        deadline = time.monotonic() + limits.READY
        while True:
            with contextlib.suppress(PlatformError):
                found = self._cluster.get("inferenceservice", name) or {}
                if found:
                    self._evidence.glimpse(found)
                if is_ready(found):
                    return self._routed(name)
                if failure := self._stuck(name):
                    return failure
            if time.monotonic() > deadline:
                return self._why(name, found)
            if self._stop.wait(limits.WATCH):
                raise PlatformError(f"InferenceService {name} was not ready when the session ended")

    def _routed(self, name: str) -> str:
        """Ready by its status: wait until the model itself says so through the ingress, which may learn of it later."""

        def trouble() -> str:
            try:
                address = self.address(name)
                with requests.Session() as session:
                    session.trust_env = False
                    url = f"{address.url}/v2/models/{name}/ready"
                    answer = session.get(url, headers=dict(address.headers), timeout=10)
            except CannotTell as error:
                return error.message
            except requests.RequestException as error:
                return str(error)
            return "" if answer.status_code == 200 else f"HTTP {answer.status_code} {answer.text[:200]}".strip()

        seen = last_answer(trouble, until=lambda seen: not seen, timeout=limits.ROUTED, poll=0.3, stop=self._stop)
        return (
            f"Ready=True, and after {limits.ROUTED:g} s GET /v2/models/{name}/ready still does not answer 200: {seen}"
            if seen
            else ""
        )

    def _stuck(self, name: str) -> str:
        """The cause when a container has restarted too often to come to anything."""
        for pod in service_pods(self._cluster, name):
            status = pod.get("status") or {}
            for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
                if one.get("restartCount", 0) >= limits.RESTARTS.get(one["name"], math.inf):
                    text = self.log(name) if one["name"] == CONTAINER else ""
                    text = text or self._said(pod, one["name"])
                    return f"{one['name']} restarted {one['restartCount']} times: {first_exception(text) or container_state(one)}"
        return ""

    def _said(self, pod: Mapping[str, Any], container: str) -> str:
        name = pod["metadata"]["name"]
        return "".join(self._cluster.log(name, container, previous=previous) for previous in (True, False))

    def _why(self, name: str, found: Mapping[str, Any]) -> str:
        for pod in service_pods(self._cluster, name):
            status = pod.get("status") or {}
            for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
                if not one.get("ready") and one["name"] in (INITIALIZER, CONTAINER):
                    said = first_exception(self._said(pod, one["name"]))
                    return f"not Ready within {limits.READY:g} s; {one['name']} is {container_state(one)}: {said}"
            if unscheduled := conditions(pod).get("PodScheduled", {}).get("message"):
                return f"not Ready within {limits.READY:g} s; its pod is not scheduled: {unscheduled}"
        return f"not Ready within {limits.READY:g} s: {describe_conditions(found)}"
