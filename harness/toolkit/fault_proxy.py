"""Faults that put a proxy in front of a Service: its clients get late answers, HTTP errors, or no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from trivet.errors import PlatformError
from trivet.model.clients import FaultInjector
from trivet.model.fault import PIPELINES, PLATFORM, AffectedObject, Fault, Verb
from trivet.model.probe import NotYet, Probed
from trivet.toolkit.readiness import describe_conditions, is_ready, ready_pods, selector_of
from trivet.toolkit.tcp_probe import Connection, probe_tcp
from trivet.toolkit.waiting import eventually

FAULT_PROXY = "trivet-fault-proxy"
SELECTED = {"trivet.dev/fault": "proxy"}
VIA = "trivet-fault-proxy"
LISTENING = "/tmp/ready"
STARTED = 60.0
"""Seconds until the pod must listen; the node has its image already."""

_ASK = """
import json, sys, time, urllib.error, urllib.request
began = time.monotonic()
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2]))
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    print(json.dumps({"status": 0, "seconds": time.monotonic() - began, "via": "", "error": str(error)}))
    sys.exit()
answer.read()
print(json.dumps({"status": answer.status, "seconds": time.monotonic() - began, "via": answer.headers.get("Via", ""), "error": ""}))
"""


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """The result of a GET from a pod: ``status`` is 0, and ``error`` says why, when there was no answer. ``via`` names a proxy."""

    status: int
    seconds: float
    via: str
    error: str

    def __str__(self) -> str:
        source = f"via {self.via}" if self.via else "not via a proxy"
        return self.error or f"HTTP {self.status} {source}"


def http_get(
    injector: FaultInjector, pod: str, url: str, *, timeout: float = 10.0, namespace: str = PIPELINES
) -> ProbeResult:
    """A GET from a pod that has Python. Raises PlatformError when the command fails in the pod."""
    command = ["python", "-c", _ASK, url, str(timeout)]
    status, output = injector.execute(pod, command, namespace=namespace, seconds=timeout + 20.0)
    if status:
        raise PlatformError(f"GET {url} from {pod} exited with status {status}: {output.strip()[-200:]}")
    return ProbeResult(**json.loads(output))


def slowed(service: str, *, host: str, port: int, path: str, seconds: float, image: str, pod: str) -> Fault:
    """Every answer of ``service`` is ``seconds`` late. Verified when ``pod`` waits that long for the answer to a GET of ``path``."""

    def verify_injected(injector: FaultInjector) -> Probed:
        probe = http_get(injector, pod, f"http://{host}:{port}{path}", timeout=seconds + 10.0)
        late = probe.status == 200 and VIA in probe.via and probe.seconds >= seconds
        shown = f"{host}:{port} answers {pod} after {probe.seconds:.1f} s"
        return shown if late else NotYet(f"{shown} with {probe}")

    return _fault_proxy(
        service,
        port=port,
        image=image,
        behaviour={"late": seconds},
        name=f"{service} answers {seconds:g} s late",
        verify_injected=verify_injected,
    )


def failing(
    service: str,
    *,
    host: str,
    port: int,
    path: str,
    status: int,
    image: str,
    pod: str,
    every: int = 1,
    lasts: float = 0.0,
) -> Fault:
    """The proxy answers one of ``every`` requests to ``service`` with an HTTP error; for ``lasts`` seconds, if not 0.

    Verified when ``pod`` gets such an answer.
    """

    def verify_injected(injector: FaultInjector) -> Probed:
        probe = http_get(injector, pod, f"http://{host}:{port}{path}")
        failed = probe.status == status and VIA in probe.via
        return f"{host}:{port} answers {pod} with HTTP {probe.status}" if failed else NotYet(str(probe))

    which = "every answer" if every == 1 else f"one of {every} answers"
    return _fault_proxy(
        service,
        port=port,
        image=image,
        behaviour={"status": status, "every": every, **({"lasts": lasts} if lasts else {})},
        name=f"{which} of {service} is HTTP {status}{f' for {lasts:g} s' if lasts else ''}",
        verify_injected=verify_injected,
    )


def unanswered(service: str, *, host: str, port: int, image: str, pod: str) -> Fault:
    """Packets to ``service`` are dropped: its address leads to a pod whose kernel answers none. Verified when ``pod`` times out."""

    def verify_injected(injector: FaultInjector) -> Probed:
        seen = probe_tcp(injector, pod, host, port, namespace=PIPELINES)
        shown = f"TCP probe from {pod} to {host}:{port}: {seen}"
        return shown if seen is Connection.TIMED_OUT else NotYet(shown)

    return _fault_proxy(
        service,
        port=port,
        image=image,
        behaviour={"silent": True},
        name=f"packets to {service} are dropped",
        verify_injected=verify_injected,
    )


def fault_proxy_objects(service: str) -> tuple[AffectedObject, ...]:
    """The objects that a fault proxy in front of ``service`` affects."""
    return (
        AffectedObject(verb=Verb.CREATE, kind="Pod", name=FAULT_PROXY, namespace=PLATFORM),
        AffectedObject(verb=Verb.CREATE, kind="NetworkPolicy", name=FAULT_PROXY, namespace=PLATFORM),
        AffectedObject(verb=Verb.PATCH, kind="service", name=service, namespace=PLATFORM),
    )


def _fault_proxy(
    service: str, *, port: int, image: str, behaviour: Mapping[str, Any], name: str, verify_injected: Any
) -> Fault:
    """A proxy pod is started, allowed to reach the Service's own pods, and then selected by the Service in their place."""

    def inject(injector: FaultInjector) -> None:
        found = injector.get("service", service, namespace=PLATFORM)
        if found is None:
            raise PlatformError(f"there is no service {service} in the {PLATFORM} namespace")
        selector: Mapping[str, str] = found["spec"]["selector"]
        injector.create(_allow_proxy(selector))
        injector.create(_pod(image, port, f"{_address(injector, service, selector)}:{port}", behaviour))
        eventually(
            f"pod {FAULT_PROXY} to be Ready",
            lambda: injector.get("pod", FAULT_PROXY, namespace=PLATFORM) or {},
            until=is_ready,
            describe=lambda seen: describe_conditions(seen or {}),
            timeout=STARTED,
        )
        away = dict.fromkeys(selector)
        injector.patch("service", service, {"spec": {"selector": {**away, **SELECTED}}}, namespace=PLATFORM)

    return Fault(
        name=name, affected_objects=fault_proxy_objects(service), inject=inject, verify_injected=verify_injected
    )


def _address(injector: FaultInjector, service: str, selector: Mapping[str, str]) -> str:
    for pod in ready_pods(injector.find("pod", namespace=PLATFORM, selector=selector_of(selector))):
        return str(pod["status"]["podIP"])
    raise PlatformError(f"service {service} has no ready pod for the fault proxy to forward to")


def _allow_proxy(selector: Mapping[str, str]) -> dict[str, Any]:
    """Allows the proxy to reach the pods of the Service, in addition to what other policies allow."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": FAULT_PROXY, "namespace": PLATFORM},
        "spec": {
            "podSelector": {"matchLabels": dict(selector)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": SELECTED}}]}],
        },
    }


def _pod(image: str, port: int, upstream: str, behaviour: Mapping[str, Any]) -> dict[str, Any]:
    source = files("trivet.fixtures.jobs").joinpath("fault_proxy.py").read_text(encoding="utf-8")
    container = {
        "name": "fault-proxy",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", source, str(port), upstream, json.dumps(behaviour), LISTENING],
        "readinessProbe": {"exec": {"command": ["test", "-e", LISTENING]}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": FAULT_PROXY, "namespace": PLATFORM, "labels": SELECTED},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
