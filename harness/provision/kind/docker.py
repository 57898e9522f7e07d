"""What trivet asks of the Docker engine beside kind and images: whether it is there and large enough, and which containers are nodes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivet.errors import PlatformError
from trivet.provision.docker import docker
from trivet.provision.kind import limits

CLUSTER_LABEL = "io.x-k8s.kind.cluster"


@dataclass(frozen=True, kw_only=True)
class NodeContainer:
    """A node container of a kind cluster. ``state`` is Docker's word: running, exited, created, restarting, dead …"""

    name: str
    state: str


def engine() -> Mapping[str, Any]:
    """What ``docker info`` says. Raises PlatformError: no docker, no daemon, no permission."""
    found = json.loads(docker(["info", "--format", "{{json .}}"], what="ask Docker about itself"))
    # The client answers without a daemon too, with the reason in place of the facts.
    if errors := found.get("ServerErrors"):
        raise PlatformError(
            f"the Docker daemon does not answer: {' '.join(errors)}",
            remedy="start the Docker daemon (systemctl start docker, or Docker Desktop), then try again",
        )
    return dict(found)


def nodes(cluster: str) -> list[NodeContainer]:
    """The node containers of a kind cluster, whatever state they are in."""
    chosen = ["--all", "--filter", f"label={CLUSTER_LABEL}={cluster}"]
    said = docker(["ps", *chosen, "--format", "{{.Names}}\t{{.State}}"], what=f"look for the cluster {cluster}")
    return [
        NodeContainer(name=name, state=state)
        for name, state in (line.split("\t") for line in said.splitlines() if line)
    ]


def start(node: NodeContainer) -> None:
    """Have a node container run."""
    if node.state != "running":
        docker(["unpause" if node.state == "paused" else "start", node.name], what=f"start the node {node.name}")


def remove(gone: Sequence[NodeContainer]) -> None:
    """Delete node containers with their volumes, running or not."""
    if gone:
        names = [node.name for node in gone]
        docker(["rm", "--force", "--volumes", *names], what=f"delete {', '.join(names)}")


def room(facts: Mapping[str, Any]) -> tuple[int, int | None]:
    """Bytes of memory that Docker has, and bytes free where it keeps its data; None when that is not on this machine."""
    folder = Path(str(facts.get("DockerRootDir", "")))
    free = None
    with suppress(OSError):
        if folder.is_dir():
            free = shutil.disk_usage(folder).free
    return int(facts.get("MemTotal", 0)), free


def shortages(memory: int, disk: int | None) -> Sequence[tuple[str, str]]:
    """What Docker has too little of for a cluster, each with its remedy."""
    found = []
    if memory < limits.MEMORY:
        found.append(
            (
                f"Docker has {memory / 2**30:.1f} GiB of memory, and a cluster needs {limits.MEMORY / 2**30:.0f}",
                "give Docker more memory (Docker Desktop: Settings, Resources), or use a larger machine",
            )
        )
    if disk is not None and disk < limits.DISK:
        found.append(
            (
                f"{disk / 2**30:.1f} GiB are free where Docker keeps its data, and a cluster needs {limits.DISK / 2**30:.0f}",
                "free some disk space (docker system df shows what takes it), or move Docker's data-root to a larger disk",
            )
        )
    return found
