"""kubernetes → mlflow, live: connections that the platform lives on get through, and those that it forbids do not.

A closed path shows as a refusal at once (kube-router rejects) or as silence (kindnet and most others drop): both count as closed. Whether
closedness comes from a policy, and not from a server that is down, is shown by a path to the same place that is open.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from trivet.authoring.contracts import MUST, contract
from trivet.errors import CannotTell
from trivet.model.clients import ClusterClient, ServingClient, TrainerClient
from trivet.model.feature import NETWORK_POLICY_ENFORCED
from trivet.model.finding import Finding, Location, failed, inconclusive, not_applicable, passed
from trivet.model.network import NetworkPath

SEAM = ("kubernetes", "mlflow")

VERSIONS: Mapping[str, str] = {"kubernetes": ">=1.30"}
"""The oldest version on which these statements were run."""

OPEN = "open"
CLOSED = ("refused", "silent")

CONNECT = 4.0
"""Seconds of silence after which a connection counts as dropped; within a cluster an open one takes milliseconds."""
PREPARED = 90.0
EFFECT = 30.0
"""Seconds that the probe's pods may take to run, and a policy to come into force or out of it."""
PORT = 8000

PROBE = """\
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])).close()
    print("probe: open")
except socket.gaierror:
    print("probe: unresolved")
except (TimeoutError, socket.timeout):
    print("probe: silent")
except OSError:
    print("probe: refused")
"""
"""Runs in a pod's own Python, 3.8 or later."""


@contract(
    title="A NetworkPolicy that denies a connection must keep it out",
    level=MUST,
    seam=("kubernetes", "kubernetes"),
    versions=VERSIONS,
    rationale=(
        "The API server accepts NetworkPolicies whether or not anything enforces them. Where nothing does, every rule is a wish, and a "
        "green check of forbidden paths would prove nothing."
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
        address = _until(
            lambda: all(_address(cluster, name) for name in (server, client)) and _address(cluster, server),
            PREPARED,
            "the pods of the probe did not run",
        )

        def seen() -> str:
            return _connect(cluster, client, address, PORT)

        before = _settled(seen, (OPEN,))
        if before != OPEN:
            yield inconclusive(
                f"without any policy the connection was {before} already, so that denying it shows nothing"
            )
            return
        cluster.apply(_deny_all(policy, server))
        began = time.monotonic()
        during = _settled(seen, CLOSED)
        took = time.monotonic() - began
        cluster.delete("networkpolicy", policy)
        after = _settled(seen, (OPEN,))
    finally:
        cluster.delete("networkpolicy", policy)
        for name in (server, client):
            cluster.delete("pod", name)
    place = Location(object=f"NetworkPolicy/{policy}")
    if during not in CLOSED:
        yield failed(f"{took:.0f} s after a policy denied it, the connection was still {during}", location=place)
    elif after != OPEN:
        yield inconclusive(f"the connection was {during} under the policy, and {after} after it too", location=place)
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
        "A pipeline that does not reach MLflow blocks for minutes and, where logging is wrapped in try/except, ends green without a run; a "
        "predictor that does not reach the store never loads its model."
    ),
    remedy="Allow the path in the NetworkPolicies of both namespaces, and name the server by its cluster-internal name.",
    sources=("reference platform, incident 1: a NetworkPolicy kept the pipeline namespace from MLflow",),
)
def needed_paths_are_open(cluster: ClusterClient, trainer: TrainerClient, serving: ServingClient) -> Iterator[Finding]:
    del trainer  # wanted, as serving is, so that the pods are there at which the paths begin
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
        "A model is code from outside: whatever a predictor or a training step reaches beyond its needs, a poisoned model reaches too, "
        "MLflow's database above all."
    ),
    remedy="Deny by default in the namespaces of the platform's services, and allow each path by the labels of its source.",
    sources=("kubernetes.io/docs/concepts/services-networking/network-policies, default policies",),
)
def forbidden_paths_are_closed(
    cluster: ClusterClient, trainer: TrainerClient, serving: ServingClient
) -> Iterator[Finding]:
    del trainer, serving  # wanted, so that the pods are there at which the paths begin
    forbidden = [path for path in cluster.paths if not path.allowed]
    if not forbidden:
        yield not_applicable("this target states no path that is forbidden")
    alive: dict[tuple[str, int], str] = {}
    for path in cluster.paths:
        if path.allowed and any((path.host, path.port) == (one.host, one.port) for one in forbidden):
            alive[path.host, path.port] = _probed(cluster, path)
    for path in forbidden:
        control = alive.get((path.host, path.port), "not known to be there")
        if control != OPEN:
            yield inconclusive(
                f"{path.name}: {path.host}:{path.port} is {control} for who may reach it, so that being closed would show nothing",
                location=_object(path),
            )
        else:
            yield _judged(cluster, path)


def _judged(cluster: ClusterClient, path: NetworkPath) -> Finding:
    seen = _probed(cluster, path)
    words = f"{path.name}: {path.host}:{path.port} is {seen}"
    if seen in (OPEN, *CLOSED):
        fits = (seen == OPEN) is path.allowed
        return (passed if fits else failed)(
            words if fits else f"{words}, and the platform {'needs' if path.allowed else 'forbids'} it",
            location=_object(path),
        )
    if path.allowed and seen == "unresolved":
        return failed(f"{words}: the name is not known where it is used", location=_object(path))
    return inconclusive(words, location=_object(path))


def _probed(cluster: ClusterClient, path: NetworkPath) -> str:
    """What a connection along ``path`` comes to: open, refused, silent, or in other words why that was not seen."""
    selector = ",".join(f"{key}={value}" for key, value in path.selector.items())
    found = cluster.get("pod", namespace=path.namespace, selector=selector) or {}
    running = [pod for pod in found.get("items") or () if _ready(pod)]
    if not running:
        return f"not probed: no pod with {selector} is ready in {path.namespace}"
    pod = running[0]["metadata"]["name"]
    return _connect(cluster, pod, path.host, path.port, container=path.container, namespace=path.namespace)


def _connect(
    cluster: ClusterClient, pod: str, host: str, port: int, *, container: str = "", namespace: str = ""
) -> str:
    command = ["python3", "-c", PROBE, host, str(port), str(CONNECT)]
    code, said = cluster.execute(pod, command, container=container, namespace=namespace)
    found = re.search(r"^probe: (.*)$", said, re.MULTILINE)  # kubectl may say something too
    return found[1].strip() if code == 0 and found else f"not probed: {' '.join(said.split())[-200:]}"


def _settled(look: Callable[[], str], wanted: tuple[str, ...]) -> str:
    """What ``look`` says once it is as ``wanted`` twice in a row, or after EFFECT seconds: a rule takes a moment to be in force."""
    deadline = time.monotonic() + EFFECT
    last = ""
    while True:
        seen = look()
        if (seen in wanted and seen == last) or time.monotonic() > deadline:
            return seen
        last = seen
        time.sleep(0.5)


def _until(look: Callable[[], Any], seconds: float, otherwise: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise CannotTell(f"{otherwise} within {seconds:g} s")
        time.sleep(1)
    return found


def _address(cluster: ClusterClient, name: str) -> str:
    pod = cluster.get("pod", name) or {}
    return str(pod["status"].get("podIP") or "") if pod and _ready(pod) else ""


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


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
