"""An empty kind cluster: ensures that it runs as specified, whatever state it was left in, and deletes it."""

from __future__ import annotations

import secrets
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
from trivet.host.processes import free_ports
from trivet.host.signals import interruptible, uninterruptible
from trivet.provision.kind import limits
from trivet.provision.kind.nodes import delete_nodes, node_containers, start_node
from trivet.provision.kind.state import CREATED, CREATING, DELETING, ClusterFolder, ClusterState

INGRESS, TRACKING, PROMETHEUS = 31080, 31500, 31090
"""Node ports of the ingress gateway, MLflow and Prometheus."""

CERTS = "/etc/containerd/certs.d"
PATCHES = "/kind/patches"
HOSTS = "certs.d/_default/hosts.toml"
"""The path, in the cluster's folder, of containerd's mirror configuration for all registries."""


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """The desired cluster. ``hosts`` is containerd's hosts.toml for all registries; empty to pull from the registries themselves.

    ``kubelet`` has fields of the KubeletConfiguration, ``control_plane`` the CPU requests of static pods, in place of kubeadm's.
    ``digest`` is over everything that the cluster is created from; ``options``, ``mirror`` and ``images`` are kept in its state.
    """

    folder: ClusterFolder
    digest: str
    source: str
    node_image: str
    hosts: str = ""
    own_network: bool = False
    """Whether the node image includes a pod network, so that kind must not install its own."""
    kubelet: Mapping[str, Any] = field(default_factory=dict)
    control_plane: Mapping[str, str] = field(default_factory=dict)
    options: str = ""
    mirror: str = ""
    images: Mapping[str, str] = field(default_factory=dict)


def ensure_cluster(spec: ClusterSpec, kind: Path, kubectl: Kubectl) -> ClusterState:
    """A running cluster as specified: the existing one, started when it is stopped, or a new one. The caller holds the folder's lock.

    Raises PlatformError when trivet did not create the cluster of that name, or the creation fails.
    """
    folder = spec.folder
    nodes, state = node_containers(folder.name), folder.read()
    if nodes and state is None:
        raise _foreign_cluster(folder)
    if state and _matches(state, spec) and nodes and _starts(folder, kubectl):
        return state
    if nodes or state:
        delete_cluster(folder)
    return _create(spec, kind)


def delete_cluster(folder: ClusterFolder) -> bool:
    """Delete the cluster and its folder. Returns whether it existed. The caller holds the folder's lock.

    Raises PlatformError when trivet did not create it, or it is in use. A kind cluster consists of its node containers only, so this does
    not need the kind command.
    """
    state, nodes = folder.read(), node_containers(folder.name)
    if state is None:
        if nodes:
            raise _foreign_cluster(folder)
        folder.delete()
        return False
    with folder.exclusive_use():
        folder.write(replace(state, stage=DELETING))
        _end_orphans(folder)
        delete_nodes(node_containers(folder.name))
        folder.delete()
    return True


def configuration(spec: ClusterSpec, ports: Mapping[int, int]) -> dict[str, Any]:
    """kind's configuration for a cluster of one node; ``ports`` maps node ports to ports of 127.0.0.1."""
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # By default, the kubelet pulls one image at a time, and a first start spends most of its time on pulls.
        "serializeImagePulls": False,
        "maxParallelImagePulls": 4,
        **spec.kubelet,
    }
    patched = {
        "apiVersion": "kubeadm.k8s.io/v1beta3",
        "kind": "InitConfiguration",
        "patches": {"directory": PATCHES},
    }
    node: dict[str, Any] = {
        "role": "control-plane",
        "image": spec.node_image,
        "extraPortMappings": [
            {"containerPort": inside, "hostPort": outside, "listenAddress": "127.0.0.1"}
            for inside, outside in ports.items()
        ],
        "kubeadmConfigPatches": [yaml.safe_dump(kubelet), yaml.safe_dump(patched)],
        "extraMounts": [
            {"hostPath": str(spec.folder.path / name), "containerPath": inside, "readOnly": True}
            for name, inside in (("patches", PATCHES), *((("certs.d", CERTS),) if spec.hosts else ()))
        ],
    }
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": spec.folder.name,
        "networking": {"disableDefaultCNI": spec.own_network},
        "nodes": [node],
    }


def mirror_hosts(mirror: str) -> str:
    """containerd's hosts.toml that makes ``mirror`` the first mirror of every registry. ``mirror`` is a URL, with or without a path."""
    scheme, _, rest = mirror.rstrip("/").partition("://")
    host, _, path = rest.partition("/")
    lines = (
        [f'[host."{scheme}://{host}/v2/{path}"]', "  override_path = true"] if path else [f'[host."{scheme}://{host}"]']
    )
    return "\n".join([*lines, '  capabilities = ["pull", "resolve"]']) + "\n"


def _foreign_cluster(folder: ClusterFolder) -> PlatformError:
    return PlatformError(
        f"there is a kind cluster {folder.name!r} that trivet did not create, or created with another cache directory",
        remedy=f"set TRIVET_CACHE to the cache directory it was created with, or, if nobody needs it: "
        f"kind delete cluster --name {folder.name}",
    )


def _matches(state: ClusterState, spec: ClusterSpec) -> bool:
    return state.stage not in (CREATING, DELETING) and state.digest == spec.digest and spec.folder.kubeconfig.is_file()


def _starts(folder: ClusterFolder, kubectl: Kubectl) -> bool:
    """Start the nodes of an existing cluster; whether its API server is ready."""
    try:
        for node in node_containers(folder.name):
            start_node(node)
        kubectl.wait_for(
            f"the API server of {folder.name} to be ready",
            lambda: kubectl.raw("/readyz", seconds=10) or None,
            timeout=limits.RETURN,
            poll=limits.POLL,
        )
    except PlatformError:
        return False
    return True


def _create(spec: ClusterSpec, kind: Path) -> ClusterState:
    for attempt in range(1, limits.PORT_ATTEMPTS + 1):
        ports = dict(zip((INGRESS, TRACKING, PROMETHEUS), free_ports(3), strict=True))
        state = ClusterState(
            stage=CREATING,
            digest=spec.digest,
            source=spec.source,
            ingress=ports[INGRESS],
            tracking=ports[TRACKING],
            prometheus=ports[PROMETHEUS],
            secret=secrets.token_hex(16),
            options=spec.options,
            mirror=spec.mirror,
            images=dict(spec.images),
        )
        folder = spec.folder
        folder.write(state)
        file = _write_configuration(spec, ports)
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


def _write_configuration(spec: ClusterSpec, ports: Mapping[int, int]) -> Path:
    """Write kind's configuration, and the files that it mounts, to the cluster's folder."""
    files = {"kind.yaml": yaml.safe_dump(configuration(spec, ports), sort_keys=False)}
    for name, cpu in spec.control_plane.items():
        patch = {"spec": {"containers": [{"name": name, "resources": {"requests": {"cpu": cpu}}}]}}
        files[f"patches/{name}+strategic.yaml"] = yaml.safe_dump(patch)
    if spec.hosts:
        files[HOSTS] = spec.hosts
    (spec.folder.path / "patches").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = spec.folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return spec.folder.path / "kind.yaml"


def add_mirror(folder: ClusterFolder, hosts: str) -> None:
    """Append ``hosts`` to the hosts.toml of an existing cluster, unless it is there. Nodes read that file at each pull."""
    file = folder.path / HOSTS
    if hosts not in file.read_text(encoding="utf-8"):
        with file.open("a", encoding="utf-8") as appended:
            appended.write(hosts)


def load_images(folder: ClusterFolder, kind: Path, names: Sequence[str]) -> None:
    """Load images from this machine's Docker into the cluster's node."""
    if names:
        arguments = ("load", "docker-image", *names, "--name", folder.name)
        run_kind(kind, *arguments, log=folder.path / "kind-load.log", seconds=limits.CREATE)


@uninterruptible
def run_kind(kind: Path, *arguments: str, log: Path, seconds: float) -> None:
    """Run kind with its output in ``log``. Raises PlatformError with its error line. When this is interrupted, kind is ended."""
    command = "kind " + " ".join(arguments[:2])
    try:
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [str(kind), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            with ExitStack() as cleanup:
                cleanup.callback(_end_process, process)
                status = _status(process, seconds)
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"timed out after {seconds:.0f} s waiting for `{command}` to exit", remedy=f"see its output in {log}"
        ) from error
    if status:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else f"status {status}")
        raise PlatformError(f"{command} failed: {reason}", remedy=f"see its full output in {log}")


@interruptible
def _status(process: subprocess.Popen[bytes], seconds: float) -> int:
    return process.wait(seconds)


def _end_process(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def _end_orphans(folder: ClusterFolder) -> None:
    """End kind processes of a trivet process that was killed: when their creation fails, they delete the cluster of that name."""
    for process in psutil.process_iter(["name", "cmdline"]):
        arguments = process.info["cmdline"] or ()
        if str(process.info["name"]).startswith("kind") and str(folder.kubeconfig) in arguments:
            with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                process.kill()
                process.wait(timeout=10)
