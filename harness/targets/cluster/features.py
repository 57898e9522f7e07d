"""Detects the features of a cluster by experiment or from its API, each with the observation that shows it."""

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
from trivet.targets.cluster.platform_reader import KNATIVE_NAMESPACE, knative_config, scales_to_zero
from trivet.targets.cluster.pods import JobPod
from trivet.toolkit.tcp_probe import Connection, probe_command, read_probe
from trivet.toolkit.waiting import last_answer

PORT = 8099

_LISTEN = "import http.server; http.server.ThreadingHTTPServer(('', {port}), http.server.BaseHTTPRequestHandler).serve_forever()"


def installed_features(kubectl: Kubectl, prometheus: str) -> dict[str, str]:
    """The features that follow from the installed components and their configuration."""
    features: dict[str, str] = {}
    if has_knative(kubectl):
        features[feature.KNATIVE] = "the API server serves services.serving.knative.dev"
        features[feature.CANARY_TRAFFIC] = (
            "KServe uses its Knative mode, in which the ingress splits traffic by percent"
        )
        settings = _data(kubectl, "config-autoscaler")
        if settings is not None and scales_to_zero(settings):
            features[feature.SCALE_TO_ZERO] = "Knative's config-autoscaler does not disable scale-to-zero"
        hpa = _object(kubectl, "deployment", "autoscaler-hpa")
        if hpa and (hpa.get("status") or {}).get("availableReplicas"):
            features[feature.CPU_AUTOSCALING] = "Deployment knative-serving/autoscaler-hpa has an available replica"
    if prometheus and Prometheus(prometheus).ready():
        features[feature.PROMETHEUS] = f"{prometheus}/-/ready returned 200"
    return features


def has_knative(kubectl: Kubectl) -> bool:
    """Whether the API server serves Knative Services; every account can read this."""
    try:
        listed = json.loads(kubectl.raw("/apis/serving.knative.dev/v1"))
    except (PlatformError, ValueError):
        return False
    return any(resource.get("name") == "services" for resource in listed.get("resources", ()))


def enforced_network_policy(kubectl: Kubectl, namespaces: Namespaces, source: JobPod, listener: JobPod) -> str:
    """The observation that NetworkPolicies are enforced; empty when a denied connection was open.

    ``source`` connects to ``listener``: the connection must be open, then blocked by a policy without ingress rules, then open again
    without the policy. Raises PlatformError when the connection is not open without the policy.
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
    if (state := _observed(source, address, is_open=True)) is not Connection.OPEN:
        raise PlatformError(f"the connection of the NetworkPolicy probe is {state} before the policy is applied")
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
        state = _observed(source, address, is_open=False)
        seconds = time.monotonic() - began
    finally:
        kubectl.delete("networkpolicy", policy["metadata"]["name"], namespace=listener.namespace)
    if state is Connection.OPEN:
        return ""
    if (after := _observed(source, address, is_open=True)) is not Connection.OPEN:
        raise PlatformError(f"the connection of the NetworkPolicy probe is {after} after the policy was deleted")
    return f"a connection between two pods was {state} {seconds:.1f} s after a policy that denies it, and open before and after"


def probe_from(pod: JobPod, host: str, port: int) -> Connection:
    """The state of a TCP connection from one of the session's pods."""
    return read_probe(pod.run(*probe_command(host, port, timeout=2.0)).decode())


def _observed(source: JobPod, address: str, *, is_open: bool) -> Connection:
    """The state of the connection: as soon as it is open (``is_open``) or not, or the last one after POLICY seconds."""
    return last_answer(
        lambda: probe_from(source, address, PORT),
        until=lambda state: (state is Connection.OPEN) is is_open,
        timeout=limits.POLICY,
    )


def _data(kubectl: Kubectl, name: str) -> Mapping[str, str] | None:
    """The data of a ConfigMap of Knative's; None when it does not exist or the account cannot read it."""
    try:
        return knative_config(kubectl, name)
    except PlatformError:
        return None


def _object(kubectl: Kubectl, kind: str, name: str) -> dict[str, Any] | None:
    """An object in Knative's namespace; None when it does not exist or the account cannot read it."""
    try:
        return kubectl.get(kind, name, namespace=KNATIVE_NAMESPACE)
    except PlatformError:
        return None
