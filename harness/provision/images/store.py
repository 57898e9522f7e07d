"""The image store: a registry in a container on this machine, whose data lies in the cache directory.

Nodes of kind clusters reach it by its container's name on the docker network ``kind``; we do by a port on 127.0.0.1. Each image set has a
place of its own in it, so that two stacks can hold different images under one upstream name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock

from trivet.errors import PlatformError
from trivet.provision.images.docker import DockerError, docker
from trivet.provision.images.registry import ImageRegistry
from trivet.stacks.environments import cache_directory

NETWORK = "kind"
LAYERS = "trivet/layers"
"""The repository that every layer is put into; images share them from there."""

DOCKER_STORE, DOCKER_NODE = "trivet/registry", "trivet/node"
"""What Docker calls the images that it has been given by us: the store's own, and nodes."""

_CONFIG = """\
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: /data}
  delete: {enabled: true}
http: {addr: ":5000"}
"""
_DEADLINE = 30.0


@dataclass(frozen=True, kw_only=True)
class Store:
    """The running store. ``inside`` is its address for containers on the docker network ``kind``."""

    registry: ImageRegistry
    port: int
    inside: str


def images_home() -> Path:
    """Where everything about images lies that is not in the registry: records of layers, logs, half-made work."""
    return cache_directory() / "images"


def container_name() -> str:
    """The store's container. Each cache directory has a store of its own."""
    return f"trivet-registry-{hashlib.sha256(str(_data()).encode()).hexdigest()[:6]}"


def mirror(key: str) -> str:
    """The ``hosts.toml`` by which a node's containerd finds the images of a set under their upstream names, whatever their registry.

    It belongs into ``/etc/containerd/certs.d/_default``.
    """
    return f'[host."http://{container_name()}:5000/v2/{key}"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n'


def set_behind(hosts: str) -> str:
    """The key of the set that a ``hosts.toml`` of :func:`mirror` names; empty when it names something else."""
    found = re.search(rf'"http://{container_name()}:5000/v2/([^"/]+)"', hosts)
    return found[1] if found else ""


def docker_name(repository: str, inputs: str) -> str:
    """The name under which Docker has an image that was made from ``inputs``."""
    return f"{repository}:{inputs[:12]}"


@contextmanager
def building() -> Iterator[None]:
    """Whoever puts something into the store, or takes a whole set out of it, does so in such a block; any number may at once."""
    with _use_file() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def pruning() -> Iterator[None]:
    """Nobody is :func:`building` during the block; who would waits for its end. Raises PlatformError when somebody is already."""
    with _use_file() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PlatformError(
                "another trivet is building, saving or loading images, which must not lose a layer meanwhile",
                remedy="prune when it is through",
            ) from error
        yield


def running_store() -> Store | None:
    """The store if it runs or can be started as it is; None when its container was never made. Raises DockerError without Docker."""
    with _lock():
        return _started()


def open_store(inputs: str, make_image: Callable[[str], None]) -> Store:
    """The store, running. ``make_image(tag)`` gives Docker the image that it runs from, when that is needed.

    A container that runs from other ``inputs`` is replaced; its data stays.
    """
    tag = docker_name(DOCKER_STORE, inputs)
    with _lock():
        if (found := _started()) and _label() == inputs:
            return found
        try:
            docker(["image", "inspect", tag], what=f"look at image {tag}")
        except DockerError as error:
            if "No such image" not in error.words:
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
        if found := _started():
            return found
    raise PlatformError(
        f"the image store was made and does not answer within {_DEADLINE:.0f} s",
        remedy="see whether containers on Docker's network `kind` can be reached from this machine",
    )


def _started() -> Store | None:
    """The store, if its container can be brought to answer. The lock is held by the caller."""
    try:
        state = docker(
            ["container", "inspect", "--format", "{{.State.Running}}", container_name()], what="look at the image store"
        )
    except DockerError as error:
        if "No such container" in error.words:
            return None
        raise
    if state != "true":
        try:
            docker(["start", container_name()], what="start the image store")
        except DockerError:
            # Half-made, or its network is gone: it is made anew.
            _remove()
            return None
    deadline = time.monotonic() + _DEADLINE
    while True:
        published = docker(["port", container_name(), "5000/tcp"], what="find the image store's port")
        port = int(published.splitlines()[0].rsplit(":", 1)[1])
        registry = ImageRegistry(f"http://127.0.0.1:{port}")
        if registry.answers():
            return Store(registry=registry, port=port, inside=f"{container_name()}:5000")
        if time.monotonic() > deadline:
            # Killed, Docker's engine may leave a network through which nobody reaches the container; its data stays.
            _remove()
            return None
        time.sleep(0.2)


def _label() -> str:
    template = '{{index .Config.Labels "trivet.inputs"}}'
    return docker(["container", "inspect", "--format", template, container_name()], what="look at the image store")


def _remove() -> None:
    docker(["rm", "--force", container_name()], what="replace the image store")


def _ensure_network() -> None:
    """The network that kind itself would make, with the same options, if it is not there yet."""
    if docker(["network", "ls", "--quiet", "--filter", f"name=^{NETWORK}$"], what="list docker networks"):
        return
    masquerade = "com.docker.network.bridge.enable_ip_masquerade=true"
    docker(
        ["network", "create", "--driver", "bridge", "--opt", masquerade, NETWORK],
        what=f"make the docker network {NETWORK}",
    )


def registry_folder() -> Path:
    """Where the registry keeps its ``blobs``, and the ``repositories`` that name them."""
    return _data() / "docker" / "registry" / "v2"


def _data() -> Path:
    return cache_directory() / "registry"


def _use_file() -> IO[str]:
    images_home().mkdir(parents=True, exist_ok=True)
    return (images_home() / "use.lock").open("a", encoding="utf-8")


def _lock() -> FileLock:
    images_home().mkdir(parents=True, exist_ok=True)
    return FileLock(images_home() / "store.lock")
