"""The image store: a registry in a container on this machine, with its data in the cache directory.

Nodes of kind clusters reach it by the container's name on the Docker network ``kind``, trivet by a port on 127.0.0.1. Each image set has
its own path prefix, so that two stacks can have different images under one upstream name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock

from trivet.errors import PlatformError
from trivet.provision.docker import DockerError, docker
from trivet.provision.images.registry import ImageRegistry
from trivet.stacks.environments import cache_directory
from trivet.toolkit.waiting import last_answer

NETWORK = "kind"
LAYERS = "trivet/layers"
"""The repository that every layer is pushed to; images mount their layers from there."""

DOCKER_STORE, DOCKER_NODE = "trivet/registry", "trivet/node"
"""The repositories of trivet's images in Docker: the image store's own image, and node images."""

_CONFIG = """\
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: /data}
  delete: {enabled: true}
http: {addr: ":5000"}
"""
_START_TIMEOUT = 30.0
"""Seconds in which a started store must respond."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """The running store. ``port`` is on 127.0.0.1; ``inside`` is the ``host:port`` for containers on the Docker network ``kind``."""

    registry: ImageRegistry
    port: int
    inside: str


def images_home() -> Path:
    """The folder for everything about images that is not in the registry: records of layers, logs, unfinished work."""
    return cache_directory() / "images"


def container_name() -> str:
    """The name of the store's container. Each cache directory has its own store."""
    return f"trivet-registry-{hashlib.sha256(str(_data()).encode()).hexdigest()[:6]}"


def hosts_toml(key: str) -> str:
    """The ``hosts.toml`` with which a node's containerd pulls the images of a set from the store, under their upstream names.

    Its place on the node is ``/etc/containerd/certs.d/_default``. containerd asks several such hosts in the order of the file.
    """
    return f'[host."http://{container_name()}:5000/v2/{key}"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n'


def set_keys_of(hosts: str) -> list[str]:
    """The keys of the sets in a ``hosts.toml`` made of :func:`hosts_toml`; none when it has another mirror."""
    return re.findall(rf'"http://{container_name()}:5000/v2/([^"/]+)"', hosts)


def docker_name(repository: str, inputs: str) -> str:
    """The name in Docker of an image with these inputs: the start of their digest is its tag."""
    return f"{repository}:{inputs[:12]}"


@contextmanager
def shared_lock() -> Iterator[None]:
    """The store in shared use: for adding to it and for reading a whole set. Waits while it is locked exclusively."""
    with _lock_file() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def exclusive_lock() -> Iterator[None]:
    """The store in exclusive use: no process has :func:`shared_lock` during the block. Raises PlatformError when one has it now."""
    with _lock_file() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PlatformError(
                "another trivet process is building, saving or loading images, and a prune could delete its layers",
                remedy="prune after it has finished",
            ) from error
        yield


def running_store() -> Store | None:
    """The store, started when it is stopped; None when there is no container to start. Raises DockerError when Docker is not available."""
    with _lock():
        return _start_existing()


def open_store(inputs: str, make_image: Callable[[str], None]) -> Store:
    """The running store, started or created. ``make_image(tag)`` is called when Docker does not have the store's image.

    A container whose image has other ``inputs`` is replaced; its data is kept. Raises PlatformError when the store does not respond.
    """
    tag = docker_name(DOCKER_STORE, inputs)
    with _lock():
        if (store := _start_existing()) and _inputs_label() == inputs:
            return store
        try:
            docker(["image", "inspect", tag], what=f"inspect image {tag}")
        except DockerError as error:
            if "No such image" not in error.output:
                raise
            make_image(tag)
        _ensure_network()
        _remove()
        _data().mkdir(parents=True, exist_ok=True)
        config = images_home() / "registry.yml"
        config.write_text(_CONFIG, encoding="utf-8")
        docker(
            [
                *("run", "--detach", "--name", container_name(), "--network", NETWORK, "--restart", "unless-stopped"),
                *("--label", f"trivet.inputs={inputs}", "--user", f"{os.getuid()}:{os.getgid()}"),
                *("--publish", "127.0.0.1::5000", "--volume", f"{_data()}:/data"),
                *("--volume", f"{config}:/config.yml:ro", tag, "docker-registry", "serve", "/config.yml"),
            ],
            what="start the image store",
        )
        if store := _start_existing():
            return store
    raise PlatformError(
        f"timed out after {_START_TIMEOUT:.0f} s waiting for the image store to respond: its container was created",
        remedy=f"check that this machine can reach containers on the Docker network `{NETWORK}`",
    )


def _start_existing() -> Store | None:
    """The store, if its container exists and responds, after a start if necessary. The caller holds the lock."""
    try:
        state = docker(
            ["container", "inspect", "--format", "{{.State.Running}}", container_name()], what="inspect the image store"
        )
    except DockerError as error:
        if "No such container" in error.output:
            return None
        raise
    if state != "true":
        try:
            docker(["start", container_name()], what="start the image store")
        except DockerError:
            # Its creation was interrupted, or its network was deleted: the caller creates it again.
            _remove()
            return None
    store = last_answer(_responding, until=bool, timeout=_START_TIMEOUT, poll=0.2)
    if store is None:
        # After the Docker daemon was killed, the container may be unreachable on its old network. Its data is kept.
        _remove()
    return store


def _responding() -> Store | None:
    published = docker(["port", container_name(), "5000/tcp"], what="find the image store's port")
    port = int(published.splitlines()[0].rsplit(":", 1)[1])
    registry = ImageRegistry(f"http://127.0.0.1:{port}")
    return Store(registry=registry, port=port, inside=f"{container_name()}:5000") if registry.responds() else None


def _inputs_label() -> str:
    template = '{{index .Config.Labels "trivet.inputs"}}'
    return docker(["container", "inspect", "--format", template, container_name()], what="inspect the image store")


def _remove() -> None:
    docker(["rm", "--force", container_name()], what="replace the image store")


def _ensure_network() -> None:
    """Create the network as kind does, with the same options, unless it exists."""
    if docker(["network", "ls", "--quiet", "--filter", f"name=^{NETWORK}$"], what="list networks"):
        return
    masquerade = "com.docker.network.bridge.enable_ip_masquerade=true"
    docker(
        ["network", "create", "--driver", "bridge", "--opt", masquerade, NETWORK],
        what=f"create the Docker network {NETWORK}",
    )


def registry_folder() -> Path:
    """The registry's folder with ``blobs`` and ``repositories``, as CNCF distribution lays it out."""
    return _data() / "docker" / "registry" / "v2"


def _data() -> Path:
    return cache_directory() / "registry"


def _lock_file() -> IO[str]:
    images_home().mkdir(parents=True, exist_ok=True)
    return (images_home() / "use.lock").open("a", encoding="utf-8")


def _lock() -> FileLock:
    images_home().mkdir(parents=True, exist_ok=True)
    return FileLock(images_home() / "store.lock")
