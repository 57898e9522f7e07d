"""Faults that put a proxy in front of a service: its clients get late answers, HTTP errors, or none at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from trivet.errors import PlatformError
from trivet.model.clients import FaultInjector
from trivet.model.fault import PIPELINES, PLATFORM, AffectedObject, Fault, Verb
from trivet.toolkit.faults import reach
from trivet.toolkit.watch import until

FAULT_PROXY = "trivet-fault-proxy"
SELECTED = {"trivet.dev/fault": "proxy"}
VIA = "trivet-fault-proxy"
LISTENING = "/tmp/ready"
STARTED = 60.0
"""Seconds that the pod may take to listen; its image is one that the node has."""

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
class Met:
    """What a GET from a pod met with: ``status`` is 0, and ``error`` says why, when there was no answer. ``via`` names a proxy."""

    status: int
    seconds: float
    via: str
    error: str


def meets(injector: FaultInjector, pod: str, url: str, *, timeout: float = 10.0, namespace: str = PIPELINES) -> Met:
    """What becomes of a GET from a pod that has Python. Raises PlatformError when the pod could not be asked."""
    command = ["python", "-c", _ASK, url, str(timeout)]
    status, said = injector.execute(pod, command, namespace=namespace, seconds=timeout + 20.0)
    if status:
        raise PlatformError(f"{pod} could not be asked for {url}: {said.strip()[-200:]}")
    return Met(**json.loads(said))


def slowed(service: str, *, host: str, port: int, path: str, seconds: float, image: str, pod: str) -> Fault:
    """Every answer of ``service`` comes ``seconds`` late. In force when ``pod`` waits so long for an answer of it to a GET of ``path``."""

    def verify_injected(injector: FaultInjector) -> str:
        met = meets(injector, pod, f"http://{host}:{port}{path}", timeout=seconds + 10.0)
        late = met.status == 200 and VIA in met.via and met.seconds >= seconds
        return f"{host}:{port} answers {pod} after {met.seconds:.1f} s" if late else ""

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
    """One of ``every`` requests to ``service`` is answered with an HTTP error by what stands before it; for ``lasts`` seconds, if not 0.

    In force when ``pod`` gets such an answer.
    """

    def verify_injected(injector: FaultInjector) -> str:
        met = meets(injector, pod, f"http://{host}:{port}{path}")
        failed = met.status == status and VIA in met.via
        return f"{host}:{port} answers {pod} with HTTP {met.status}" if failed else ""

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
    """Packets to ``service`` are dropped: its address leads to a pod whose kernel answers none. In force when ``pod`` waits in vain."""

    def verify_injected(injector: FaultInjector) -> str:
        how = reach(injector, pod, host, port)
        return f"a connection from {pod} to {host}:{port} is {how}" if how == "dropped" else ""

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
    """A pod is started, let through to the service's own, and then selected by the service in their place."""

    def inject(injector: FaultInjector) -> None:
        found = injector.get("service", service, namespace=PLATFORM)
        if found is None:
            raise PlatformError(f"there is no service {service} in the {PLATFORM} namespace")
        selector: Mapping[str, str] = found["spec"]["selector"]
        injector.create(_passage(selector))
        injector.create(_pod(image, port, f"{_address(injector, service, selector)}:{port}", behaviour))
        until(
            f"pod {FAULT_PROXY} is ready",
            lambda: _ready(injector.get("pod", FAULT_PROXY, namespace=PLATFORM) or {}) or None,
            seconds=STARTED,
        )
        away = dict.fromkeys(selector)
        injector.patch("service", service, {"spec": {"selector": {**away, **SELECTED}}}, namespace=PLATFORM)

    return Fault(
        name=name, affected_objects=fault_proxy_objects(service), inject=inject, verify_injected=verify_injected
    )


def _address(injector: FaultInjector, service: str, selector: Mapping[str, str]) -> str:
    pods = injector.find(
        "pod", namespace=PLATFORM, selector=",".join(f"{key}={value}" for key, value in selector.items())
    )
    for pod in pods:
        if _ready(pod) and "deletionTimestamp" not in pod["metadata"]:
            return str(pod["status"]["podIP"])
    raise PlatformError(f"no pod of service {service} is ready, so that there is nothing to stand before")


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _passage(selector: Mapping[str, str]) -> dict[str, Any]:
    """Lets the proxy reach the pods of the service, in addition to whom the policies allow already."""
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
