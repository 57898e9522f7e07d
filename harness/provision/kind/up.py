"""Creates the cluster of a stack with the complete platform on it, and deletes it.

It can be interrupted at any moment, including by kill -9 of trivet or of the Docker daemon: the next ``up`` continues or starts over, and
the next ``down`` deletes what exists.
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

from trivet.errors import PlatformError, UsageError, unknown
from trivet.host.kubectl import Kubectl
from trivet.host.signals import interruptible
from trivet.model.events import Emit, Event, phase
from trivet.model.network import NetworkPath
from trivet.model.report import PREPARATION
from trivet.model.settings import BUILD, IMAGE_SOURCES, PULL
from trivet.model.stack import Stack
from trivet.provision.access import PIPELINES, PLATFORM_NAMESPACE, ClusterAccess, StoreAccess
from trivet.provision.docker import docker
from trivet.provision.images import pulled
from trivet.provision.images.build import build, node_image
from trivet.provision.images.progress import steps_as_phases
from trivet.provision.images.recipes import NODE, ImageSet, addon_images, load_images
from trivet.provision.images.store import container_name
from trivet.provision.images.store import hosts_toml as store_hosts
from trivet.provision.kind.addons import (
    PreparedAddon,
    describe_addon,
    ensure_addon,
    load_local_images,
    prepare_addon,
    roles_of,
)
from trivet.provision.kind.certificates import Certificate, cached_certificate
from trivet.provision.kind.cluster import ClusterSpec, delete_cluster, ensure_cluster, mirror_hosts
from trivet.provision.kind.install import Installation, listed, not_ready
from trivet.provision.kind.machine import capacity, docker_info, shortages
from trivet.provision.kind.nodes import node_containers
from trivet.provision.kind.state import CREATED, READY, Busy, ClusterFolder, ClusterState, folder_of, known_clusters
from trivet.provision.kind.steps import (
    SHIPPED,
    InstallStep,
    ReplacedImages,
    TemplateValues,
    objects_of,
    read_steps,
)
from trivet.provision.kind.tools import find_kind, find_kubectl
from trivet.stacks.platform import Platform, load_addon, load_platform

POD_NETWORK = "10.244.0.0/16"
"""kind's default; the pod network in the built node image is a part of it."""

TRAINER = "trainer"
ACCESS_KEY = "trivet"
TRACKING = f"http://mlflow.{PLATFORM_NAMESPACE}:5000"
TRACKING_HOSTS = (f"mlflow.{PLATFORM_NAMESPACE}", "127.0.0.1", "localhost")
ALLOWED_HOSTS = "MLFLOW_SERVER_ALLOWED_HOSTS"
STORE = f"http://store.{PLATFORM_NAMESPACE}:7070"
DATABASE = f"database.{PLATFORM_NAMESPACE}:5432"
ROOT = "s3://mlflow"


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """The source of images. ``kind`` is ``build`` or ``pull``; ``mirror`` is the URL of a mirror for all registries, empty for none.

    Raises UsageError for another kind.
    """

    kind: str
    mirror: str = ""

    def __post_init__(self) -> None:
        if self.kind not in IMAGE_SOURCES:
            raise unknown("source of images", self.kind, IMAGE_SOURCES)


def up(stack: Stack, emit: Emit, source: ImageSource, *, addons: Sequence[str] = ()) -> ClusterAccess:
    """The stack's cluster, running and complete with ``addons``; it is completed or created when necessary. Waits for another process that
    does so now.

    Raises PlatformError, with state and logs, when the machine is not suitable or a part of the platform does not become ready.
    """
    with open_cluster(stack, emit, source, addons=addons) as access:
        return access


@contextmanager
@interruptible
def open_cluster(
    stack: Stack, emit: Emit, source: ImageSource, *, addons: Sequence[str] = (), as_is: bool = False
) -> Iterator[ClusterAccess]:
    """:func:`up`; no other process deletes the cluster during the block. It is left running until `trivet down`.

    A composed stack with another trainer is on the cluster of the stack without it, with the images of its trainer beside.
    An add-on that is on the cluster and not among ``addons`` stays there, and is not looked at. With ``as_is`` the cluster is neither
    created nor completed: PlatformError when it, or an add-on, does not exist or does not run, UsageError for a trainer from elsewhere.
    UsageError also for a part of a composed stack that the images of ``source`` do not have.
    """
    emit = _serialized(emit)
    owner = stack.cluster_of or stack
    folder = folder_of(owner)
    chosen = list(dict.fromkeys(addons))
    for name in chosen:
        load_addon(name)
    load_platform(owner)
    if as_is and stack.cluster_of:
        raise UsageError(
            f"the trainer of {stack.name} is not on the cluster of {owner.name}, which is judged as it is: nothing is loaded into it",
            remedy=f"omit --as-is, or judge {owner.options}",
        )
    _check_owner(owner, folder)
    if not as_is:
        check_composed(owner, source.kind)
        check_machine(folder)
    with ExitStack() as locks:
        with _cluster_lock(folder, emit):
            access = (
                _as_found(owner, folder, chosen) if as_is else _ensure_complete(owner, folder, emit, source, chosen)
            )
            if stack.cluster_of:
                access = _with_trainer(access, stack, owner, source, chosen, emit)
            locks.enter_context(folder.shared_use())
        yield access


def _ensure_complete(
    stack: Stack, folder: ClusterFolder, emit: Emit, source: ImageSource, addons: Sequence[str]
) -> ClusterAccess:
    platform = load_platform(stack)
    steps = read_steps(platform, source.kind)
    prepared = _prepare(stack, platform, source, emit)
    prepared_addons = [prepare_addon(stack, name, source.kind, source.mirror, emit) for name in addons]
    if any(one.is_outdated(folder) for one in prepared_addons):
        delete_cluster(folder)
    kubectl = Kubectl(context=folder.context, kubeconfig=folder.kubeconfig, binary=str(prepared.kubectl))
    before = folder.read()
    with phase(emit, "cluster"):
        state = ensure_cluster(prepared.spec, prepared.kind, kubectl)
    preparation = preparation_of(before, state, not_ready(kubectl, state.workloads))
    if preparation:
        with phase(emit, f"cluster {preparation}"):
            load_local_images(folder, prepared.kind, prepared.local_images, emit)
            values_for = _template_values(stack, prepared, folder, state)
            replaced = ReplacedImages(platform, prepared.renamed)
            installation = Installation(
                kubectl, lambda step: replaced.checked(objects_of(step, platform, values_for(step))), emit
            )
            workloads = installation.run(steps)
            replaced.check_all()
            state = replace(state, stage=READY, workloads=workloads)
            folder.write(state)
    else:
        preparation = f"as found: {len(state.workloads)} workloads ready"
    for addon in prepared_addons:
        preparation += f"; add-on {addon.platform.name} {ensure_addon(addon, folder, prepared.kind, kubectl, emit)}"
    return _access(stack, platform, kubectl, state, prepared.roles, preparation, prepared_addons)


def _with_trainer(
    access: ClusterAccess, stack: Stack, owner: Stack, source: ImageSource, addons: Sequence[str], emit: Emit
) -> ClusterAccess:
    """``access`` to the cluster of ``owner``, with the images of the trainer of ``stack``, which are built where they are missing."""

    def built(images: ImageSet, key: str) -> str:
        (own,) = (
            image for image in images.images if TRAINER in roles_of(replace(images, images=(image,)), source.kind)
        )
        if source.kind == BUILD:
            # Nodes ask for images in the set of the cluster's own stack.
            build(replace(images, key=key), only=[own], on_step=steps_as_phases(emit))
        else:
            only = replace(images, images=(own,))
            local = pulled.local_images(only, source.mirror, on_step=steps_as_phases(emit))
            load_local_images(folder_of(owner), find_kind(load_platform(owner), source.kind), local, emit)
        return roles_of(images, source.kind)[TRAINER]

    with phase(emit, "images of the trainer"):
        images = {**access.images, TRAINER: built(load_images(stack), load_images(owner).key)}
        pipelines = access.pipelines
        if pipelines:
            step = built(addon_images(stack, PIPELINES), addon_images(owner, PIPELINES).key)
            pipelines = replace(pipelines, step_image=step)
    return replace(access, images=images, pipelines=pipelines, notes={**access.notes, "trainer": images[TRAINER]})


def _check_owner(stack: Stack, folder: ClusterFolder) -> None:
    """Raise PlatformError when the cluster of this name was made for another stack, such as one in a folder of the same name."""
    state = folder.read()
    if state and state.options and state.options != stack.options:
        raise PlatformError(
            f"the cluster {folder.name} was created for {state.options}, not for {stack.options}",
            remedy=f"delete it: {state.command('down')}; or, if there is no such stack any more, delete all: trivet down --all",
        )


def check_composed(stack: Stack, source: str) -> None:
    """Raise UsageError when the cluster of a composed stack cannot be made from the images of ``source``, with the reason."""
    if stack.parts and source == PULL:
        pulled.check_composed(stack, load_images(stack))


def content_digest(stack: Stack, source: ImageSource, addons: Sequence[str] = ()) -> str:
    """The digest of everything that the cluster of ``stack`` and its add-ons are made from. Raises UsageError as :func:`open_cluster`."""
    check_composed(stack, source.kind)
    platform = load_platform(stack)
    images = load_images(stack, platform)
    cluster = platform.table.get("cluster", {})
    parts = [
        _digest(images, images.image(NODE).inputs, source, cluster, read_steps(platform, source.kind)),
        *(describe_addon(stack, name, source.kind, source.mirror).digest for name in sorted(set(addons))),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def preparation_of(before: ClusterState | None, state: ClusterState, lacking: Mapping[str, str]) -> str:
    """What is done to a cluster with ``state``, for messages; empty when it is complete. ``before`` is its state when the run began, None
    when there was none, and ``lacking`` are the workloads that are not ready, each with the reason.
    """
    if before is None or before.secret != state.secret:
        return "created in this run"
    if state.stage != READY or not state.workloads:
        return "its installation was interrupted, and is completed in this run"
    return f"repaired in this run: {listed(lacking)}" if lacking else ""


def _as_found(stack: Stack, folder: ClusterFolder, addons: Sequence[str]) -> ClusterAccess:
    """The stack's cluster as it is. Raises PlatformError when it or an add-on does not exist, or its API server does not answer."""
    state = folder.read()
    if state is None or state.stage not in (CREATED, READY) or not node_containers(folder.name):
        raise PlatformError(
            f"there is no cluster of stack {stack.name} to judge as it is",
            remedy=f"create it: trivet up {stack.options}",
        )
    workloads = list(state.workloads)
    for name in addons:
        found = folder.read_addon(name)
        if found is None or not found.workloads:
            raise PlatformError(
                f"the cluster of stack {stack.name} does not have the add-on {name}, or its installation was interrupted",
                remedy=f"install it: trivet up {stack.options} --addon {name}",
            )
        workloads += found.workloads
    platform = load_platform(stack)
    roles = state.images or _known_images(stack, load_images(stack, platform), state.source)
    binary = find_kubectl(platform, state.source)
    kubectl = Kubectl(context=folder.context, kubeconfig=folder.kubeconfig, binary=str(binary))
    kubectl.raw("/readyz")
    lacking = not_ready(kubectl, workloads)
    seen = f"not ready: {listed(lacking)}" if lacking else f"{len(workloads)} workloads ready"
    prepared = [_addon_as_found(stack, name, folder, state.source) for name in addons]
    return _access(stack, platform, kubectl, state, roles, f"judged as it is: {seen}", prepared)


def _addon_as_found(stack: Stack, name: str, folder: ClusterFolder, source: str) -> PreparedAddon:
    found, described = folder.read_addon(name), describe_addon(stack, name, source)
    images = (found and found.images) or _known_images(stack, addon_images(stack, name), source)
    return replace(described, roles=images)


def _known_images(stack: Stack, images: ImageSet, source: str) -> Mapping[str, str]:
    """The images on a cluster whose state does not have them. Raises PlatformError where these may have had other names."""
    if source == PULL:
        raise PlatformError(
            f"the cluster of stack {stack.name} is of an earlier trivet, whose images had other names",
            remedy=f"create it again: trivet up {stack.options}; or omit --as-is",
        )
    return roles_of(images, source)


def down(stack: Stack, emit: Emit) -> list[str]:
    """Delete the stack's cluster and its folder, and return the names.

    Raises PlatformError when trivet did not create the cluster, UsageError for a composed stack without a cluster of its own.
    """
    if owner := stack.cluster_of:
        raise UsageError(
            f"{stack.name} has no cluster of its own: it runs on that of {owner.name}",
            remedy=f"delete that one: trivet down {owner.options}",
        )
    docker_info()
    folder = folder_of(stack)
    _check_owner(stack, folder)
    return _delete(folder, emit)


def down_all(emit: Emit) -> list[str]:
    """Delete every cluster of trivet's, and the image store's container; images stay in the cache. Returns the names."""
    docker_info()
    deleted = [name for folder in known_clusters() for name in _delete(folder, emit)]
    store = container_name()
    if docker(["ps", "--all", "--quiet", "--filter", f"name=^{store}$"], what="find the image store"):
        docker(["rm", "--force", store], what="remove the image store's container")
        deleted.append(store)
    return deleted


def _delete(folder: ClusterFolder, emit: Emit) -> list[str]:
    with _cluster_lock(folder, emit):
        if folder.read() is None and not node_containers(folder.name):
            return []
        with phase(emit, f"deletion of {folder.name}"):
            return [folder.name] if delete_cluster(folder) else []


def check_machine(folder: ClusterFolder) -> None:
    """Raises PlatformError when Docker is not available or too small for a new cluster. An existing cluster is not checked for size."""
    info = docker_info()
    if node_containers(folder.name):
        return
    for message, remedy in shortages(*capacity(info)):
        raise PlatformError(message, remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    spec: ClusterSpec
    roles: Mapping[str, str]
    kind: Path
    kubectl: Path
    local_images: Sequence[str]
    """Images that no registry has, to be loaded into the node from this machine's Docker."""
    renamed: Mapping[str, str]
    """Of a composed stack: name of a role's image in the platform's manifests → name of the image in its place."""


def _prepare(stack: Stack, platform: Platform, source: ImageSource, emit: Emit) -> _Prepared:
    """The tools and images of the cluster, built where they are missing."""
    with phase(emit, "tools"):
        kind, kubectl = find_kind(platform, source.kind), find_kubectl(platform, source.kind)
    images = load_images(stack, platform)
    with phase(emit, "images"):
        node, hosts, local_images = _built(images, emit) if source.kind == BUILD else _pulled(images, source, emit)
    cluster, roles = platform.table.get("cluster", {}), roles_of(images, source.kind)
    spec = ClusterSpec(
        folder=folder_of(stack),
        digest=_digest(images, node, source, cluster, read_steps(platform, source.kind)),
        source=source.kind,
        node_image=node,
        hosts=hosts,
        own_network=source.kind == BUILD,
        kubelet=cluster.get("kubelet", {}),
        control_plane=cluster.get("control_plane", {}),
        options=stack.options,
        mirror=source.mirror,
        images=roles,
    )
    return _Prepared(
        spec=spec,
        roles=roles,
        kind=kind,
        kubectl=kubectl,
        local_images=local_images,
        renamed=renamed_images(images, source.kind),
    )


def renamed_images(images: ImageSet, source: str) -> Mapping[str, str]:
    """Of a composed stack: name of a role's image in the platform's manifests → its name in images of ``source``."""
    return {
        image.manifest_name: name
        for image in images.images
        if image.manifest_name
        for name in roles_of(replace(images, images=(image,)), source).values()
    }


def _built(images: ImageSet, emit: Emit) -> tuple[str, str, Sequence[str]]:
    """The node image's name in Docker, containerd's hosts.toml, and no image to load: the image store has all of them."""
    store = build(images, on_step=steps_as_phases(emit))
    return node_image(images, store, images.image(NODE)), store_hosts(images.key), ()


def _pulled(images: ImageSet, source: ImageSource, emit: Emit) -> tuple[str, str, Sequence[str]]:
    """The same for upstream's images, which the node pulls; to be loaded are the images built from the stack's locks."""
    local_images = pulled.local_images(images, source.mirror, on_step=steps_as_phases(emit))
    return pulled.node_image(images, source.mirror), mirror_hosts(source.mirror) if source.mirror else "", local_images


def _digest(
    images: ImageSet, node: str, source: ImageSource, cluster: Mapping[str, Any], steps: Sequence[InstallStep]
) -> str:
    """The digest of everything that a cluster consists of: images, configuration, installation steps and trivet's own manifests."""
    own = sorted((Path(str(files(SHIPPED))) / "manifests").glob("*.yaml"))
    content = [
        images.key,
        sorted(f"{image.reference}={image.inputs}" for image in images.images),
        [node, source.kind, source.mirror, cluster],
        # Those that are made on this machine are loaded into the node once, under these names.
        *([sorted(roles_of(images, source.kind).items())] if source.kind == PULL else []),
        [asdict(step) for step in steps],
        [hashlib.sha256(file.read_bytes()).hexdigest() for file in own],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def tracking_environment(stack: Stack) -> Mapping[str, str]:
    """The variables of MLflow's server: those of the stack, and its names in the cluster beside the hosts that the stack allows.

    From 3.5.0 on, MLflow rejects requests whose Host header is not in ``MLFLOW_SERVER_ALLOWED_HOSTS`` (mlflow/server/security_utils.py);
    2.12.2, 2.17.2 and 3.4.0 do not read that variable.
    """
    stated = stack.roles["tracking"].environment
    allowed = (stated.get(ALLOWED_HOSTS, ""), *(f"{host}{port}" for host in TRACKING_HOSTS for port in ("", ":*")))
    return {**stated, ALLOWED_HOSTS: ",".join(filter(None, allowed))}


def _template_values(
    stack: Stack, prepared: _Prepared, folder: ClusterFolder, state: ClusterState
) -> Callable[[InstallStep], TemplateValues]:
    serving = stack.settings["serving"]
    values = {
        **{f"image_{role}": image for role, image in prepared.roles.items()},
        "tracking_environment": json.dumps(tracking_environment(stack)),
        "store_access_key": ACCESS_KEY,
        "store_secret_key": state.secret,
        "database_password": state.secret,
        "pod_network": POD_NETWORK,
        "metrics_port": str(serving["metrics_port"]),
        "metrics_path": serving["metrics_path"],
    }

    def of(step: InstallStep) -> TemplateValues:
        certificates: dict[str, Certificate] = {}
        if request := step.certificate:
            path = folder.path / "certificates"
            certificates[request.service] = cached_certificate(path, request.service, request.namespace)
        return TemplateValues(values=values, certificates=certificates, images=prepared.renamed)

    return of


def _access(
    stack: Stack,
    platform: Platform,
    kubectl: Kubectl,
    state: ClusterState,
    roles: Mapping[str, str],
    preparation: str,
    addons: Sequence[PreparedAddon],
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
        pipelines=next((one.access for one in addons if one.access), None),
        platform_paths=tuple(
            _path(f"mlflow → {name}", address) for name, address in (("database", DATABASE), ("store", STORE))
        ),
        notes={
            PREPARATION: preparation,
            "platform": platform.name,
            "images": state.source,
            "cluster": folder_of(stack).name,
            **_composed_notes(stack, state.source),
            **{f"add-on {one.platform.name}": one.note for one in addons},
        },
    )


def _composed_notes(stack: Stack, source: str) -> Mapping[str, str]:
    """Of a composed stack, for reports: the images that are there in place of the platform's own."""
    renamed = renamed_images(load_images(stack), source) if stack.parts else {}
    found = sorted(f"{new} in place of {old}" for old, new in renamed.items() if new != old)
    return {"replaced images": "; ".join(found)} if found else {}


def _path(name: str, address: str) -> NetworkPath:
    host, _, port = address.rpartition("/")[2].partition(":")
    return NetworkPath(
        name=name,
        namespace=PLATFORM_NAMESPACE,
        selector={"app.kubernetes.io/name": "mlflow"},
        host=host,
        port=int(port),
        allowed=True,
    )


@contextmanager
def _cluster_lock(folder: ClusterFolder, emit: Emit) -> Iterator[None]:
    """The folder's lock; waiting for another process that holds it is reported as a phase."""
    with ExitStack() as locks:
        try:
            locks.enter_context(folder.locked(0))
        except Busy:
            with phase(emit, "waiting for another trivet process"):
                locks.enter_context(folder.locked())
        yield


def _serialized(emit: Emit) -> Emit:
    lock = threading.Lock()

    def emit_one(event: Event) -> None:
        with lock:
            emit(event)

    return emit_one
