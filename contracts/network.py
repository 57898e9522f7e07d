"""kubernetes → mlflow, live: connections that the platform needs are open, and connections that it forbids are closed.

A closed path is refused (kube-router rejects) or times out (kindnet and most others drop): both count as closed. An open
path to the same server shows that a policy closes it, and not a server that is down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from trivet.authoring import (
    MUST,
    NETWORK_POLICY_ENFORCED,
    ClusterClient,
    Connection,
    Finding,
    Location,
    NetworkPath,
    PlatformError,
    ServingClient,
    TrainerClient,
    contract,
    eventually,
    failed,
    inconclusive,
    is_ready,
    last_answer,
    not_applicable,
    passed,
    probe_tcp,
    ready_pods,
    selector_of,
)

SEAM = ("kubernetes", "mlflow")

VERSIONS: Mapping[str, str] = {"kubernetes": ">=1.30"}
"""The oldest version that these contracts were run with."""

CLOSED = (Connection.REFUSED, Connection.TIMED_OUT)

PREPARED = 90.0
EFFECT = 30.0
"""Seconds until the probe's pods must run, and until a policy must take or lose effect."""
PORT = 8000


@contract(
    title="A NetworkPolicy that denies a connection must block it",
    level=MUST,
    seam=("kubernetes", "kubernetes"),
    versions=VERSIONS,
    rationale=(
        "The API server accepts NetworkPolicies even if nothing enforces them. Without enforcement policies have no effect, and a passed "
        "check of forbidden paths would prove nothing."
    ),
    remedy="Install a network plugin that enforces policies (kube-router, Calico, Cilium, kindnet of kind 0.24 or later).",
    sources=(
        "kubernetes.io/docs/concepts/services-networking/network-policies: a policy has no effect without a controller that implements it",
    ),
)
def policies_are_enforced(cluster: ClusterClient) -> Iterator[Finding]:
    suffix = uuid4().hex[:6]
    server, client, policy = f"trivet-server-{suffix}", f"trivet-client-{suffix}", f"trivet-deny-{suffix}"
    try:
        for name, arguments in (
            (server, ["-m", "http.server", str(PORT)]),
            (client, ["-c", "import time; time.sleep(900)"]),
        ):
            cluster.apply(_pod(name, cluster.images["initializer"], arguments))
        address = eventually(
            f"the pods {server} and {client} to be Ready",
            lambda: _address(cluster, client) and _address(cluster, server),
            timeout=PREPARED,
            poll=1.0,
        )

        def seen() -> str:
            return _probe(cluster, client, address, PORT)

        before = _settled(seen, (Connection.OPEN,))
        if before != Connection.OPEN:
            yield inconclusive(f"without a policy the connection is already {before}, so that denying it shows nothing")
            return
        cluster.apply(_deny_all(policy, server))
        began = time.monotonic()
        during = _settled(seen, CLOSED)
        took = time.monotonic() - began
        cluster.delete("networkpolicy", policy)
        after = _settled(seen, (Connection.OPEN,))
    finally:
        cluster.delete("networkpolicy", policy)
        for name in (server, client):
            cluster.delete("pod", name)
    place = Location(object=f"NetworkPolicy/{policy}")
    if during not in CLOSED:
        yield failed(
            f"timed out after {took:.0f} s waiting for the policy to block the connection: last seen {during}",
            location=place,
        )
    elif after != Connection.OPEN:
        yield inconclusive(
            f"the connection was {during} under the policy, and still {after} after the policy was deleted",
            location=place,
        )
    else:
        yield passed(
            f"open before, {during} {took:.1f} s after the policy was applied, open after it was deleted",
            location=place,
        )


@contract(
    title="The connections that the platform needs must be open",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A pipeline that cannot reach MLflow blocks for minutes and, if logging is wrapped in try/except, succeeds without a run; a "
        "predictor that cannot reach the store does not load its model."
    ),
    remedy="Allow the path in the NetworkPolicies of both namespaces, and use the cluster-internal name of the server.",
    sources=(
        "reference platform, incident 1: a NetworkPolicy blocked connections from the pipeline namespace to MLflow",
    ),
)
def needed_paths_are_open(cluster: ClusterClient, trainer: TrainerClient, serving: ServingClient) -> Iterator[Finding]:
    del trainer  # requested, like serving, so that the pods exist from which the paths start
    answer = serving.get(f"/v2/models/{serving.name}/ready")
    if answer.status == 200:
        yield passed(f"ingress → predictor: {answer.url} answers", location=Location(object=answer.url))
    else:
        yield failed(
            f"ingress → predictor: HTTP {answer.status} from {answer.url}", location=Location(object=answer.url)
        )
    for path in cluster.paths:
        if path.allowed:
            yield _judged(cluster, path)


@contract(
    title="The connections that the platform forbids must be closed",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=(NETWORK_POLICY_ENFORCED,),
    rationale=(
        "A model is untrusted code: everything that a predictor or a training step can reach, a poisoned model can reach too, such as "
        "MLflow's database."
    ),
    remedy="Deny by default in the namespaces of the platform's services, and allow each path by the labels of its source.",
    sources=("kubernetes.io/docs/concepts/services-networking/network-policies, default policies",),
)
def forbidden_paths_are_closed(
    cluster: ClusterClient, trainer: TrainerClient, serving: ServingClient
) -> Iterator[Finding]:
    del trainer, serving  # requested, so that the pods exist from which the paths start
    forbidden = [path for path in cluster.paths if not path.allowed]
    if not forbidden:
        yield not_applicable("the target declares no forbidden path")
    alive: dict[tuple[str, int], str] = {}
    for path in cluster.paths:
        if path.allowed and any((path.host, path.port) == (one.host, one.port) for one in forbidden):
            alive[path.host, path.port] = _probed(cluster, path)
    for path in forbidden:
        control = alive.get((path.host, path.port), "not known to be reachable")
        if control != Connection.OPEN:
            yield inconclusive(
                f"{path.name}: {path.host}:{path.port} is {control} also for allowed clients, so that a closed path would show nothing",
                location=_object(path),
            )
        else:
            yield _judged(cluster, path)


def _judged(cluster: ClusterClient, path: NetworkPath) -> Finding:
    seen = _probed(cluster, path)
    words = f"{path.name}: {path.host}:{path.port} is {seen}"
    if seen in (Connection.OPEN, *CLOSED):
        fits = (seen == Connection.OPEN) is path.allowed
        return (passed if fits else failed)(
            words if fits else f"{words}, but the platform {'needs' if path.allowed else 'forbids'} it",
            location=_object(path),
        )
    if path.allowed and seen == Connection.UNRESOLVED:
        return failed(f"{words}: the host name does not resolve in the pod", location=_object(path))
    return inconclusive(words, location=_object(path))


def _probed(cluster: ClusterClient, path: NetworkPath) -> str:
    """The state of a connection along ``path``: a ``Connection``, or the reason why it was not probed."""
    selector = selector_of(path.selector)
    found = cluster.get("pod", namespace=path.namespace, selector=selector) or {}
    running = ready_pods(found.get("items") or ())
    if not running:
        return f"not probed: no pod with {selector} is ready in {path.namespace}"
    pod = running[0]["metadata"]["name"]
    return _probe(cluster, pod, path.host, path.port, container=path.container, namespace=path.namespace)


def _probe(cluster: ClusterClient, pod: str, host: str, port: int, *, container: str = "", namespace: str = "") -> str:
    try:
        return probe_tcp(cluster, pod, host, port, container=container, namespace=namespace)
    except PlatformError as error:
        return f"not probed: {error.message}"


def _settled(look: Callable[[], str], wanted: Sequence[str]) -> str:
    """The result of ``look`` once it is in ``wanted`` twice in a row, or after EFFECT seconds: a policy takes effect with a delay."""
    last = ""

    def twice(seen: str) -> bool:
        nonlocal last
        before, last = last, seen
        return seen in wanted and seen == before

    return last_answer(look, until=twice, timeout=EFFECT)


def _address(cluster: ClusterClient, name: str) -> str:
    pod = cluster.get("pod", name) or {}
    return str(pod["status"].get("podIP") or "") if pod and is_ready(pod) else ""


def _pod(name: str, image: str, arguments: list[str]) -> dict[str, Any]:
    container = {
        "name": "python",
        "image": image,
        "command": ["python3", *arguments],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"trivet.dev/probe": name}},
        "spec": {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0},
    }


def _deny_all(name: str, pod: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": {"trivet.dev/probe": pod}}, "policyTypes": ["Ingress"], "ingress": []},
    }


def _object(path: NetworkPath) -> Location:
    return Location(object=f"{path.host}:{path.port}")
