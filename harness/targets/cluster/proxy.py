"""The API server on a local port (``kubectl proxy``). Its proxy subresources give plain HTTP access to pods and Services."""

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
    """``kubectl proxy``, started at the first use, and again when it has exited."""

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
                self._process, self._url = start_forwarding(
                    self._processes, "api proxy", self._kubectl.argv("proxy", "--port=0"), r"Starting to serve on (\S+)"
                )
            return self._url

    def service(self, namespace: str, name: str, port: int) -> str:
        """The base URL of a Service's port."""
        return f"{self.url}/api/v1/namespaces/{namespace}/services/http:{name}:{port}/proxy"

    def pod_get(self, namespace: str, pod: str, port: int, path: str) -> HttpExchange:
        """GET a path of a pod's port. Raises CannotTell when the proxy does not respond."""
        url = f"{self.url}/api/v1/namespaces/{namespace}/pods/http:{pod}:{port}/proxy/{path.lstrip('/')}"
        started = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False
            try:
                response = session.get(url, timeout=limits.PROXY)
            except requests.RequestException as error:
                raise CannotTell(f"no response to GET {url}: {error}") from error
        try:
            body: Any = response.json()
        except ValueError:
            body = response.text
        seconds = time.monotonic() - started
        return HttpExchange(
            method="GET", url=url, request=None, status=response.status_code, body=body, seconds=seconds
        )


def start_forwarding(processes: Processes, name: str, command: list[str], pattern: str) -> tuple[Process, str]:
    """Start a kubectl that listens on a free port. Returns the process, and the URL from its output, which ``pattern`` matches."""
    process = processes.start(name, command, environment=streaming_environment())
    processes.wait(
        process, lambda: bool(re.search(pattern, process.text())), timeout=limits.PROXY, what="listening on a port"
    )
    match = re.search(pattern, process.text())
    assert match is not None
    return process, f"http://{match[1]}"
