"""A kind cluster and nothing on it: making sure that the right one runs, whatever was left behind, and deleting it."""

from __future__ import annotations

import secrets
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from trivet.errors import PlatformError
from trivet.host.kubectl import Kubectl
from trivet.provision.kind import limits
from trivet.provision.kind.docker import nodes, remove, start
from trivet.provision.kind.state import CREATED, CREATING, DELETING, ClusterFolder, ClusterState

INGRESS, TRACKING, PROMETHEUS = 31080, 31500, 31090
"""Node ports of the ingress gateway, MLflow and Prometheus."""

CERTS = "/etc/containerd/certs.d"
PATCHES = "/kind/patches"
HOSTS = "certs.d/_default/hosts.toml"
"""Where the cluster's folder has what containerd asks before any registry."""


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """The cluster that there should be. ``hosts`` is containerd's hosts.toml for all registries, empty for the registries themselves.

    ``kubelet`` holds fields of the KubeletConfiguration, ``control_plane`` the CPU that static pods ask for instead of what kubeadm says.
    ``digest`` is over everything that the cluster is made from.
    """

    folder: ClusterFolder
    digest: str
    source: str
    node_image: str
    hosts: str = ""
    own_network: bool = False
    """Whether the node image brings its pod network, so that kind must not install its own."""
    kubelet: Mapping[str, Any] = field(default_factory=dict)
    control_plane: Mapping[str, str] = field(default_factory=dict)


def bring_up(wanted: ClusterSpec, kind: Path, kubectl: Kubectl) -> ClusterState:
    """A running cluster as wanted: the one that is there, started again, or a new one. The caller holds the folder's lock.

    Raises PlatformError when a cluster of that name is not ours, or none can be made.
    """
    folder = wanted.folder
    present, state = nodes(folder.name), folder.read()
    if present and state is None:
        raise _not_ours(folder)
    if state and _usable(state, wanted) and present and _runs(folder, kubectl):
        return state
    if present or state:
        take_down(folder)
    return _create(wanted, kind)


def take_down(folder: ClusterFolder) -> bool:
    """Delete the cluster and what is known of it; whether there was one. The caller holds the folder's lock.

    Raises PlatformError for a cluster that is not ours or in use. Its nodes are all that there is of a kind cluster, so this needs no kind.
    """
    state, present = folder.read(), nodes(folder.name)
    if state is None:
        if present:
            raise _not_ours(folder)
        folder.forget()
        return False
    with folder.unused():
        folder.write(replace(state, stage=DELETING))
        _end_orphans(folder)
        remove(nodes(folder.name))
        folder.forget()
    return True


def configuration(wanted: ClusterSpec, ports: Mapping[int, int]) -> dict[str, Any]:
    """The kind configuration of one node; ``ports`` maps node ports to ports of 127.0.0.1."""
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # The kubelet's default is one image at a time; most of the time of a first start is spent on that.
        "serializeImagePulls": False,
        "maxParallelImagePulls": 4,
        **wanted.kubelet,
    }
    patched = {
        "apiVersion": "kubeadm.k8s.io/v1beta3",
        "kind": "InitConfiguration",
        "patches": {"directory": PATCHES},
    }
    node: dict[str, Any] = {
        "role": "control-plane",
        "image": wanted.node_image,
        "extraPortMappings": [
            {"containerPort": inside, "hostPort": outside, "listenAddress": "127.0.0.1"}
            for inside, outside in ports.items()
        ],
        "kubeadmConfigPatches": [yaml.safe_dump(kubelet), yaml.safe_dump(patched)],
        "extraMounts": [
            {"hostPath": str(wanted.folder.path / name), "containerPath": inside, "readOnly": True}
            for name, inside in (("patches", PATCHES), *((("certs.d", CERTS),) if wanted.hosts else ()))
        ],
    }
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": wanted.folder.name,
        "networking": {"disableDefaultCNI": wanted.own_network},
        "nodes": [node],
    }


def mirror_hosts(mirror: str) -> str:
    """containerd's hosts.toml that sends pulls from every registry to ``mirror`` first: a URL, with a path where the mirror wants one."""
    scheme, _, rest = mirror.rstrip("/").partition("://")
    host, _, path = rest.partition("/")
    below = (
        [f'[host."{scheme}://{host}/v2/{path}"]', "  override_path = true"] if path else [f'[host."{scheme}://{host}"]']
    )
    return "\n".join([*below, '  capabilities = ["pull", "resolve"]']) + "\n"


def _not_ours(folder: ClusterFolder) -> PlatformError:
    return PlatformError(
        f"there is a kind cluster {folder.name!r} that trivet did not make, or not with this cache directory",
        remedy=f"if nobody needs it: kind delete cluster --name {folder.name}; or set TRIVET_CACHE to what it was made with",
    )


def _usable(state: ClusterState, wanted: ClusterSpec) -> bool:
    return (
        state.stage not in (CREATING, DELETING) and state.digest == wanted.digest and wanted.folder.kubeconfig.is_file()
    )


def _runs(folder: ClusterFolder, kubectl: Kubectl) -> bool:
    """Whether the API server of an existing cluster answers, its nodes started again where they were stopped."""
    try:
        for node in nodes(folder.name):
            start(node)
        kubectl.wait_for(
            f"the API server of {folder.name} to be ready",
            lambda: kubectl.raw("/readyz", seconds=10) or None,
            timeout=limits.RETURN,
            poll=limits.POLL,
        )
    except PlatformError:
        return False
    return True


def _create(wanted: ClusterSpec, kind: Path) -> ClusterState:
    for attempt in range(1, limits.PORT_ATTEMPTS + 1):
        ports = dict(zip((INGRESS, TRACKING, PROMETHEUS), _free_ports(3), strict=True))
        state = ClusterState(
            stage=CREATING,
            digest=wanted.digest,
            source=wanted.source,
            ingress=ports[INGRESS],
            tracking=ports[TRACKING],
            prometheus=ports[PROMETHEUS],
            secret=secrets.token_hex(16),
        )
        folder = wanted.folder
        folder.write(state)
        file = _write_configuration(wanted, ports)
        try:
            run_kind(
                kind,
                *("create", "cluster", "--name", folder.name, "--config", str(file)),
                *("--kubeconfig", str(folder.kubeconfig)),
                log=folder.path / "kind.log",
                seconds=limits.CREATE,
            )
        except PlatformError as error:
            taken = "port is already allocated" in error.message or "address already in use" in error.message
            if taken and attempt < limits.PORT_ATTEMPTS:
                continue
            raise
        created = replace(state, stage=CREATED)
        folder.write(created)
        return created
    raise AssertionError("the loop returns or raises")


def _write_configuration(wanted: ClusterSpec, ports: Mapping[int, int]) -> Path:
    """kind's configuration and the files that it mounts, in the cluster's folder."""
    files = {"kind.yaml": yaml.safe_dump(configuration(wanted, ports), sort_keys=False)}
    for name, cpu in wanted.control_plane.items():
        patch = {"spec": {"containers": [{"name": name, "resources": {"requests": {"cpu": cpu}}}]}}
        files[f"patches/{name}+strategic.yaml"] = yaml.safe_dump(patch)
    if wanted.hosts:
        files[HOSTS] = wanted.hosts
    (wanted.folder.path / "patches").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = wanted.folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return wanted.folder.path / "kind.yaml"


def load_images(folder: ClusterFolder, kind: Path, names: Sequence[str]) -> None:
    """Put images that this machine's Docker has into the cluster's node."""
    if names:
        arguments = ("load", "docker-image", *names, "--name", folder.name)
        run_kind(kind, *arguments, log=folder.path / "kind-load.log", seconds=limits.CREATE)


def run_kind(kind: Path, *arguments: str, log: Path, seconds: float) -> None:
    """Run kind, its output in ``log``. Raises PlatformError with its own words; ends it when the caller is interrupted."""
    command = "kind " + " ".join(arguments[:2])
    try:
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [str(kind), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            with ExitStack() as on_the_way_out:
                on_the_way_out.callback(_end, process)
                code = process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"{command} was not through within {seconds:.0f} s", remedy=f"its output is in {log}"
        ) from error
    if code:
        words = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        told = next((line for line in words if line.startswith("ERROR")), words[-1] if words else "no words")
        raise PlatformError(f"{command} failed: {told}", remedy=f"its whole output is in {log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def _end_orphans(folder: ClusterFolder) -> None:
    """End the kind of a trivet that was killed: when its creation fails, it would delete whatever cluster has the name by then."""
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or ()
        if str(process.info["name"]).startswith("kind") and str(folder.kubeconfig) in words:
            with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                process.kill()
                process.wait(timeout=10)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
