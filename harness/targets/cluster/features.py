"""What a cluster can do, found out by trying it or by asking what it says of itself; each with how that was seen."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from trivet.errors import PlatformError
from trivet.host.kubectl import Kubectl
from trivet.model import feature
from trivet.targets.cluster import limits
from trivet.targets.cluster.metrics import Prometheus
from trivet.targets.cluster.namespaces import Namespaces
from trivet.targets.cluster.pods import JobPod
from trivet.toolkit.tcp_probe import Connection, probe_command, read_probe
from trivet.toolkit.waiting import last_answer

KNATIVE_NAMESPACE = "knative-serving"
PORT = 8099

_LISTEN = "import http.server; http.server.ThreadingHTTPServer(('', {port}), http.server.BaseHTTPRequestHandler).serve_forever()"


def of_components(kubectl: Kubectl, prometheus: str) -> dict[str, str]:
    """The features that follow from what is installed and how it is set up."""
    found: dict[str, str] = {}
    if has_knative(kubectl):
        found[feature.KNATIVE] = "the API serves services.serving.knative.dev"
        found[feature.CANARY_TRAFFIC] = "KServe runs in Knative mode there, where the ingress splits by percent"
        settings = _data(kubectl, "config-autoscaler")
        if settings is not None and settings.get("enable-scale-to-zero", "true").lower() == "true":
            found[feature.SCALE_TO_ZERO] = "Knative's config-autoscaler does not switch scaling to zero off"
        hpa = _object(kubectl, "deployment", "autoscaler-hpa")
        if hpa and (hpa.get("status") or {}).get("availableReplicas"):
            found[feature.CPU_AUTOSCALING] = "Deployment knative-serving/autoscaler-hpa has an available replica"
    if prometheus and Prometheus(prometheus).ready():
        found[feature.PROMETHEUS] = f"{prometheus}/-/ready answered 200"
    return found


def has_knative(kubectl: Kubectl) -> bool:
    """Whether the API server serves Knative's services; any account may ask that."""
    try:
        listed = json.loads(kubectl.raw("/apis/serving.knative.dev/v1"))
    except (PlatformError, ValueError):
        return False
    return any(resource.get("name") == "services" for resource in listed.get("resources", ()))


def network_policy(kubectl: Kubectl, namespaces: Namespaces, source: JobPod, listener: JobPod) -> str:
    """How it was seen that NetworkPolicies are enforced; empty when a denied connection came about all the same.

    ``listener`` listens, ``source`` connects: open, then closed once a policy allows nothing in, then open again without it.
    """
    pod = kubectl.get("pod", listener.name, namespace=listener.namespace)
    address = str(((pod or {}).get("status") or {}).get("podIP") or "")
    listening = kubectl.exec_arguments(
        listener.name,
        ["sh", "-c", f'timeout 90 python -c "{_LISTEN.format(port=PORT)}" >/dev/null 2>&1 &'],
        namespace=listener.namespace,
        interactive=False,
    )
    kubectl.run(*listening)
    if (how := _observed(source, address, is_open=True)) is not Connection.OPEN:
        raise PlatformError(f"the probe did not even connect without a policy: {how}")
    policy: dict[str, Any] = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"trivet-probe-{namespaces.id}",
            "namespace": listener.namespace,
            "labels": namespaces.label,
        },
        "spec": {
            "podSelector": {"matchLabels": {"trivet.dev/pod": listener.name}},
            "policyTypes": ["Ingress"],
            "ingress": [],
        },
    }
    began = time.monotonic()
    kubectl.apply(policy)
    try:
        how = _observed(source, address, is_open=False)
        seconds = time.monotonic() - began
    finally:
        kubectl.delete("networkpolicy", policy["metadata"]["name"], namespace=listener.namespace)
    if how is Connection.OPEN:
        return ""
    if (again := _observed(source, address, is_open=True)) is not Connection.OPEN:
        raise PlatformError(f"the probe stayed closed after the policy was gone: {again}")
    return f"a connection between two pods was {how} {seconds:.1f} s after a policy that allows none, and open before and after"


def probe_from(pod: JobPod, host: str, port: int) -> Connection:
    """What becomes of a TCP connection from one of the session's pods."""
    return read_probe(pod.run(*probe_command(host, port, timeout=2.0)).decode())


def _observed(source: JobPod, address: str, *, is_open: bool) -> Connection:
    """The connection once it is open, or closed, as asked for; as it still is when POLICY seconds are over."""
    return last_answer(
        lambda: probe_from(source, address, PORT),
        until=lambda seen: (seen is Connection.OPEN) is is_open,
        timeout=limits.POLICY,
    )


def _data(kubectl: Kubectl, name: str) -> Mapping[str, str] | None:
    found = _object(kubectl, "configmap", name)
    return None if found is None else (found.get("data") or {})


def _object(kubectl: Kubectl, kind: str, name: str) -> dict[str, Any] | None:
    """An object of Knative's own; None also when this account may not see it."""
    try:
        return kubectl.get(kind, name, namespace=KNATIVE_NAMESPACE)
    except PlatformError:
        return None
