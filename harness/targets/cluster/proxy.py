"""The API server on a local port (``kubectl proxy``): by its own proxies, plain HTTP reaches pods and services without an ingress."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import requests

from trivet.errors import CannotTell
from trivet.host.kubectl import Kubectl
from trivet.host.processes import Process, Processes
from trivet.model.handover import HttpExchange
from trivet.targets.cluster import limits
from trivet.targets.cluster.pods import streaming_environment


class ApiProxy:
    """``kubectl proxy``, started when it is first needed."""

    def __init__(self, processes: Processes, kubectl: Kubectl) -> None:
        self._processes = processes
        self._kubectl = kubectl
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The API server's base URL on this machine."""
        with self._lock:
            if self._process is None or not self._process.running:
                self._process, self._url = forwarded(
                    self._processes, "api proxy", self._kubectl.argv("proxy", "--port=0"), r"Starting to serve on (\S+)"
                )
            return self._url

    def service(self, namespace: str, name: str, port: int) -> str:
        """The base URL of a service's port."""
        return f"{self.url}/api/v1/namespaces/{namespace}/services/http:{name}:{port}/proxy"

    def pod_get(self, namespace: str, pod: str, port: int, path: str) -> HttpExchange:
        """GET a path of a pod's port. Raises CannotTell when the proxy itself does not answer."""
        url = f"{self.url}/api/v1/namespaces/{namespace}/pods/http:{pod}:{port}/proxy/{path.lstrip('/')}"
        started = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.get(url, timeout=limits.PROXY)
            except requests.RequestException as error:
                raise CannotTell(f"GET {url} was not answered: {error}") from error
        try:
            body: Any = answer.json()
        except ValueError:
            body = answer.text
        seconds = time.monotonic() - started
        return HttpExchange(method="GET", url=url, request=None, status=answer.status_code, body=body, seconds=seconds)


def forwarded(processes: Processes, name: str, command: list[str], pattern: str) -> tuple[Process, str]:
    """Start a kubectl that listens on a port of its choice; the process, and the URL that it names by ``pattern``."""
    process = processes.start(name, command, environment=streaming_environment())
    processes.wait(
        process, lambda: bool(re.search(pattern, process.text())), timeout=limits.PROXY, what="listening on a port"
    )
    found = re.search(pattern, process.text())
    assert found is not None
    return process, f"http://{found[1]}"
