"""The node containers of kind clusters: find, start and delete them through Docker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trivet.provision.docker import docker

CLUSTER_LABEL = "io.x-k8s.kind.cluster"


@dataclass(frozen=True, kw_only=True)
class NodeContainer:
    """A node container of a kind cluster. ``state`` is as Docker reports it: running, exited, created, restarting, dead …"""

    name: str
    state: str


def node_containers(cluster: str) -> list[NodeContainer]:
    """The node containers of a kind cluster, in any state."""
    chosen = ["--all", "--filter", f"label={CLUSTER_LABEL}={cluster}"]
    output = docker(["ps", *chosen, "--format", "{{.Names}}\t{{.State}}"], what=f"list the nodes of cluster {cluster}")
    return [
        NodeContainer(name=name, state=state)
        for name, state in (line.split("\t") for line in output.splitlines() if line)
    ]


def start_node(node: NodeContainer) -> None:
    """Start or unpause a node container that is not running."""
    if node.state != "running":
        docker(["unpause" if node.state == "paused" else "start", node.name], what=f"start the node {node.name}")


def delete_nodes(nodes: Sequence[NodeContainer]) -> None:
    """Delete node containers with their volumes, running or not."""
    if nodes:
        names = [node.name for node in nodes]
        docker(["rm", "--force", "--volumes", *names], what=f"delete {', '.join(names)}")
