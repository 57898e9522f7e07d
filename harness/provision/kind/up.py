"""From a stack to a cluster with everything on it that the stack's services need, and back to nothing. Judges nothing.

Every part can be interrupted at any moment, kill -9 of trivet or of the Docker daemon included: the next ``up`` goes on from what is there
or starts anew, the next ``down`` removes it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from trivet.errors import PlatformError, unknown
from trivet.host.kubectl import Kubectl
from trivet.host.signals import interruptible
from trivet.model.events import Emit, Event, phase
from trivet.model.network import NetworkPath
from trivet.model.stack import Stack
from trivet.provision.access import ClusterAccess, StoreAccess
from trivet.provision.docker import docker
from trivet.provision.images import pulled
from trivet.provision.images.build import build, node_image
from trivet.provision.images.progress import steps_as_phases
from trivet.provision.images.recipes import NODE, ImageSet, RoleLayer, load_images
from trivet.provision.images.store import container_name
from trivet.provision.images.store import hosts_toml as store_hosts
from trivet.provision.kind.certificates import Certificate, kept_certificate
from trivet.provision.kind.cluster import ClusterSpec, bring_up, mirror_hosts, take_down
from trivet.provision.kind.cluster import load_images as load_into
from trivet.provision.kind.docker import engine, nodes, room, shortages
from trivet.provision.kind.install import Installation, Workloads
from trivet.provision.kind.state import READY, Busy, ClusterFolder, ClusterState, folder_of, known
from trivet.provision.kind.steps import SHIPPED, InstallStep, TemplateValues, documents_of, read_steps
from trivet.provision.kind.tools import find_kind, find_kubectl
from trivet.stacks.platform import Platform, load_platform

BUILD, PULL = "build", "pull"

POD_NETWORK = "10.244.0.0/16"
"""kind's default, and what the node image's own network is a part of."""

ACCESS_KEY = "trivet"
PLATFORM = "trivet-platform"
"""The namespace of everything around KServe; our own manifests say the same."""
TRACKING = f"http://mlflow.{PLATFORM}:5000"
STORE = f"http://store.{PLATFORM}:7070"
DATABASE = f"database.{PLATFORM}:5432"
ROOT = "s3://mlflow"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where images come from: ``kind`` is ``build`` or ``pull``; ``mirror`` is a URL that stands before every registry, empty for none."""

    kind: str
    mirror: str = ""

    def __post_init__(self) -> None:
        if self.kind not in (BUILD, PULL):
            raise unknown("source of images", self.kind, (BUILD, PULL))


def up(stack: Stack, emit: Emit, source: Source) -> ClusterAccess:
    """The stack's cluster, running and complete: found so, completed or made. Waits for another trivet that is at it.

    Raises PlatformError, with state and recent output, when the machine or a part of the platform does not come to be.
    """
    with open_cluster(stack, emit, source) as access:
        return access


@contextmanager
@interruptible
def open_cluster(stack: Stack, emit: Emit, source: Source) -> Iterator[ClusterAccess]:
    """:func:`up`, and for the length of the block nobody deletes the cluster. It is left running: `trivet down` is what ends it."""
    emit = _one_at_a_time(emit)
    folder = folder_of(stack)
    check_machine(folder)
    with ExitStack() as held:
        with _waiting(folder, emit):
            access = _complete(stack, folder, emit, source)
            held.enter_context(folder.used())
        yield access


def _complete(stack: Stack, folder: ClusterFolder, emit: Emit, source: Source) -> ClusterAccess:
    platform = load_platform(stack)
    steps = read_steps(platform, source.kind)
    prepared = _prepare(stack, platform, source, emit)
    kubectl = Kubectl(context=folder.context, kubeconfig=folder.kubeconfig, binary=str(prepared.kubectl))
    with phase(emit, "cluster"):
        state = bring_up(prepared.wanted, prepared.kind, kubectl)
    if state.stage != READY or not state.workloads or Workloads(kubectl).missing(state.workloads, threading.Event()):
        if prepared.loaded:
            with phase(emit, "image loading"):
                load_into(folder, prepared.kind, prepared.loaded)
        surroundings = _surroundings(stack, prepared.roles, folder, state)
        installation = Installation(kubectl, lambda step: documents_of(step, platform, surroundings(step)), emit)
        state = replace(state, stage=READY, workloads=installation.run(steps))
        folder.write(state)
    return _access(stack, platform, kubectl, state, prepared.roles)


def down(stack: Stack, emit: Emit) -> list[str]:
    """Delete the stack's cluster and what is known of it; the names of what there was. Raises PlatformError for one that is not ours."""
    engine()
    return _delete(folder_of(stack), emit)


def down_all(emit: Emit) -> list[str]:
    """Delete every cluster that there is a state of, and the image store's container; images stay in the cache."""
    engine()
    gone = [name for folder in known() for name in _delete(folder, emit)]
    store = container_name()
    if docker(["ps", "--all", "--quiet", "--filter", f"name=^{store}$"], what="look for the image store"):
        docker(["rm", "--force", store], what="remove the image store's container")
        gone.append(store)
    return gone


def _delete(folder: ClusterFolder, emit: Emit) -> list[str]:
    with _waiting(folder, emit):
        if folder.read() is None and not nodes(folder.name):
            return []
        with phase(emit, f"deletion of {folder.name}"):
            return [folder.name] if take_down(folder) else []


def check_machine(folder: ClusterFolder) -> None:
    """Raises PlatformError when Docker is not there or too small for a cluster. One that is there already has what it needs."""
    facts = engine()
    if nodes(folder.name):
        return
    for message, remedy in shortages(*room(facts)):
        raise PlatformError(message, remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    wanted: ClusterSpec
    roles: Mapping[str, str]
    kind: Path
    kubectl: Path
    loaded: Sequence[str]
    """Images that the node cannot pull from anywhere: this machine's Docker has them."""


def _prepare(stack: Stack, platform: Platform, source: Source, emit: Emit) -> _Prepared:
    """Images and tools, built where they are missing."""
    with phase(emit, "tools"):
        kind, kubectl = find_kind(platform, source.kind), find_kubectl(platform, source.kind)
    images = load_images(stack, platform)
    with phase(emit, "images"):
        node, hosts, loaded = _built(images, emit) if source.kind == BUILD else _pulled(images, source, emit)
    cluster = platform.table.get("cluster", {})
    wanted = ClusterSpec(
        folder=folder_of(stack),
        digest=_digest(images, node, source, cluster, read_steps(platform, source.kind)),
        source=source.kind,
        node_image=node,
        hosts=hosts,
        own_network=source.kind == BUILD,
        kubelet=cluster.get("kubelet", {}),
        control_plane=cluster.get("control_plane", {}),
    )
    roles = role_images(images) if source.kind == BUILD else pulled.role_images(images)
    return _Prepared(wanted=wanted, roles=roles, kind=kind, kubectl=kubectl, loaded=loaded)


def _built(images: ImageSet, emit: Emit) -> tuple[str, str, Sequence[str]]:
    """The node's image as Docker has it, containerd's hosts.toml, and no image to load: the store has them all, built now if need be."""
    store = build(images, on_step=steps_as_phases(emit))
    return node_image(images, store, images.image(NODE)), store_hosts(images.key), ()


def _pulled(images: ImageSet, source: Source, emit: Emit) -> tuple[str, str, Sequence[str]]:
    """The same for upstream's images, which are pulled by whoever runs them, but for those that the stack's locks make."""
    loaded = pulled.local_images(images, source.mirror, on_step=steps_as_phases(emit))
    return pulled.node_image(images, source.mirror), mirror_hosts(source.mirror) if source.mirror else "", loaded


def role_images(images: ImageSet) -> dict[str, str]:
    """Role → the image that holds its environment."""
    return {
        layer.role.name: str(image.reference)
        for image in images.images
        for layer in image.layers
        if isinstance(layer, RoleLayer)
    }


def _digest(
    images: ImageSet, node: str, source: Source, cluster: Mapping[str, Any], steps: Sequence[InstallStep]
) -> str:
    """Over everything that a cluster consists of: its images, its configuration, the steps of its installation and our own manifests."""
    own = sorted((Path(str(files(SHIPPED))) / "manifests").glob("*.yaml"))
    facts = [
        images.key,
        sorted(f"{image.reference}={image.inputs}" for image in images.images),
        [node, source.kind, source.mirror, cluster],
        [asdict(step) for step in steps],
        [hashlib.sha256(file.read_bytes()).hexdigest() for file in own],
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _surroundings(
    stack: Stack, roles: Mapping[str, str], folder: ClusterFolder, state: ClusterState
) -> Callable[[InstallStep], TemplateValues]:
    serving = stack.settings["serving"]
    values = {
        **{f"image_{role}": image for role, image in roles.items()},
        "tracking_environment": json.dumps(dict(stack.roles["tracking"].environment)),
        "store_access_key": ACCESS_KEY,
        "store_secret_key": state.secret,
        "database_password": state.secret,
        "pod_network": POD_NETWORK,
        "metrics_port": str(serving["metrics_port"]),
        "metrics_path": serving["metrics_path"],
    }

    def of(step: InstallStep) -> TemplateValues:
        certificates: dict[str, Certificate] = {}
        if wanted := step.certificate:
            place = folder.path / "certificates"
            certificates[wanted.service] = kept_certificate(place, wanted.service, wanted.namespace)
        return TemplateValues(values=values, certificates=certificates)

    return of


def _access(
    stack: Stack, platform: Platform, kubectl: Kubectl, state: ClusterState, roles: Mapping[str, str]
) -> ClusterAccess:
    return ClusterAccess(
        kubectl=kubectl,
        ingress=f"http://127.0.0.1:{state.ingress}",
        tracking_uri=TRACKING,
        tracking_url=f"http://127.0.0.1:{state.tracking}",
        prometheus_url=f"http://127.0.0.1:{state.prometheus}",
        store=StoreAccess(root=ROOT, endpoint=STORE, access_key=ACCESS_KEY, secret_key=state.secret),
        images=dict(roles),
        owned=True,
        database=DATABASE,
        platform_paths=tuple(
            _path(f"mlflow → {name}", address) for name, address in (("database", DATABASE), ("store", STORE))
        ),
        notes={"platform": platform.name, "images": state.source, "cluster": folder_of(stack).name},
    )


def _path(name: str, address: str) -> NetworkPath:
    host, _, port = address.rpartition("/")[2].partition(":")
    return NetworkPath(
        name=name,
        namespace=PLATFORM,
        selector={"app.kubernetes.io/name": "mlflow"},
        host=host,
        port=int(port),
        allowed=True,
    )


@contextmanager
def _waiting(folder: ClusterFolder, emit: Emit) -> Iterator[None]:
    """The folder's lock; a phase tells when another trivet has it."""
    with ExitStack() as held:
        try:
            held.enter_context(folder.locked(0))
        except Busy:
            with phase(emit, "waiting for another trivet"):
                held.enter_context(folder.locked())
        yield


def _one_at_a_time(emit: Emit) -> Emit:
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            emit(event)

    return tell
