"""Add-ons of a cluster: their images, and their installation on a cluster whose platform is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from trivet.errors import UsageError
from trivet.host.kubectl import Kubectl
from trivet.model.events import Emit, phase
from trivet.model.settings import BUILD, PULL
from trivet.model.stack import Stack
from trivet.provision.access import BACKEND_NAMESPACE, PIPELINES, PipelinesAccess
from trivet.provision.images import pulled
from trivet.provision.images.build import build, role_images
from trivet.provision.images.progress import steps_as_phases
from trivet.provision.images.recipes import STORE, ImageSet, addon_images
from trivet.provision.images.store import hosts_toml
from trivet.provision.kind import limits
from trivet.provision.kind.cluster import add_mirror, load_images
from trivet.provision.kind.install import Installation, listed, not_ready
from trivet.provision.kind.state import AddonState, ClusterFolder
from trivet.provision.kind.steps import InstallStep, TemplateValues, objects_of, read_steps
from trivet.stacks.platform import Platform, load_addon


@dataclass(frozen=True, kw_only=True)
class PreparedAddon:
    """An add-on for one stack.

    ``release`` is that of its software. ``roles`` maps a role to the image with its environment, ``hosts`` is containerd's mirror that has
    the images, ``local_images`` are those that no registry has, to be loaded into the node from this machine's Docker. ``note`` is for
    reports: the versions, and what is in images in place of upstream's programs.
    """

    platform: Platform
    release: str
    steps: Sequence[InstallStep]
    digest: str
    roles: Mapping[str, str]
    note: str
    hosts: str = ""
    local_images: Sequence[str] = ()

    @property
    def access(self) -> PipelinesAccess | None:
        """How to reach Kubeflow Pipelines; None for another add-on."""
        if self.platform.name != PIPELINES:
            return None
        return PipelinesAccess(
            namespace=BACKEND_NAMESPACE, service="ml-pipeline", port=8888, step_image=self.roles["trainer"]
        )

    def is_outdated(self, folder: ClusterFolder) -> bool:
        """Whether the cluster has the add-on from other recipes or manifests: its node then has the earlier images under the same names."""
        found = folder.read_addon(self.platform.name)
        return found is not None and found.digest != self.digest


def describe_addon(stack: Stack, name: str, source: str, mirror: str = "") -> PreparedAddon:
    """The add-on ``name`` for the image source ``source``. Builds nothing. Raises UsageError when it has no release for the stack."""
    addon, images = load_addon(name), addon_images(stack, name)
    release = addon.table["release"] if source == BUILD else _pulled_release(stack, addon)
    steps = read_steps(addon, source)
    content = [
        sorted(f"{image.reference}={image.inputs}" for image in images.images),
        [source, mirror, *([release, sorted(roles_of(images, source).items())] if source == PULL else [])],
        [asdict(step) for step in steps],
        [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(addon.folder.glob("*.yaml"))],
    ]
    differences = [
        f"{image.reference.path.rpartition('/')[2]}: {image.note}"
        for image in images.images
        if image.note and image.reference.path != STORE and source == BUILD
    ]
    if node := addon.table.get("node"):
        differences.append(
            f"the node has {', '.join(f'{amount} {name}' for name, amount in node.items())} without a device"
        )
    return PreparedAddon(
        platform=addon,
        release=release,
        steps=steps,
        digest=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        roles=roles_of(images, source),
        note="; ".join([f"{addon.table['title']} {release}", *differences]),
    )


def _pulled_release(stack: Stack, addon: Platform) -> str:
    releases: Mapping[str, str] = addon.table["pulled"]
    sdk = stack.version("kfp")
    if sdk not in releases:
        raise UsageError(
            f"the add-on {addon.name} has no release to pull for the KFP SDK {sdk} of stack {stack.name}",
            remedy=f"use a stack with one of the SDKs {', '.join(releases)}, or build it: --images build",
        )
    return releases[sdk]


def prepare_addon(stack: Stack, name: str, source: str, mirror: str, emit: Emit) -> PreparedAddon:
    """The add-on ``name`` with its images, built where they are missing. Raises PlatformError when a build fails."""
    described, images = describe_addon(stack, name, source, mirror), addon_images(stack, name)
    with phase(emit, f"images of the add-on {name}"):
        if source == BUILD:
            build(images, on_step=steps_as_phases(emit))
            return replace(described, hosts=hosts_toml(images.key))
        return replace(described, local_images=pulled.local_images(images, mirror, on_step=steps_as_phases(emit)))


def ensure_addon(addon: PreparedAddon, folder: ClusterFolder, kind: Path, kubectl: Kubectl, emit: Emit) -> str:
    """Install the add-on, unless the cluster has it, and return what was done, for messages. The caller holds the folder's lock.

    Raises PlatformError, with state and logs, when a part of it does not become ready.
    """
    name = addon.platform.name
    _advertise(kubectl, addon.platform.table.get("node", {}))
    if addon.hosts:
        add_mirror(folder, addon.hosts)
    found = folder.read_addon(name)
    lacking = not_ready(kubectl, found.workloads) if found else {}
    if found and found.workloads and not lacking:
        return f"as found: {len(found.workloads)} workloads ready"
    done = f"repaired in this run: {listed(lacking)}" if lacking else "installed in this run"
    folder.write_addon(name, AddonState(digest=addon.digest, workloads=[], images=dict(addon.roles)))
    with phase(emit, f"add-on {name} {done}"):
        load_local_images(folder, kind, addon.local_images, emit)

        def kustomize(kustomization: str) -> str:
            return kubectl.run("kustomize", kustomization, seconds=limits.APPLY)

        values = TemplateValues(values={"release": addon.release})
        installation = Installation(kubectl, lambda step: objects_of(step, addon.platform, values, kustomize), emit)
        workloads = installation.run(addon.steps)
        folder.write_addon(name, AddonState(digest=addon.digest, workloads=workloads, images=dict(addon.roles)))
    return done


def _advertise(kubectl: Kubectl, resources: Mapping[str, int]) -> None:
    """Let every node have these extended resources. A restarted kubelet forgets them.

    Source: kubernetes.io/docs/tasks/administer-cluster/extended-resource-node.
    """
    if not resources:
        return
    nodes = json.loads(kubectl.run("get", "nodes", "-o", "json"))["items"]
    for node in nodes:
        present = node["status"].get("capacity") or {}
        patch = [
            {"op": "add", "path": f"/status/capacity/{name.replace('/', '~1')}", "value": str(amount)}
            for name, amount in resources.items()
            if present.get(name) != str(amount)
        ]
        if patch:
            name = node["metadata"]["name"]
            kubectl.run("patch", "node", name, "--subresource=status", "--type=json", "-p", json.dumps(patch))


def load_local_images(folder: ClusterFolder, kind: Path, images: Sequence[str], emit: Emit) -> None:
    """Load images from this machine's Docker into the cluster's node."""
    if images:
        with phase(emit, "image loading"):
            load_images(folder, kind, images)


def roles_of(images: ImageSet, source: str) -> Mapping[str, str]:
    """Role → the name of the image with its environment, from the image source ``source``."""
    return role_images(images) if source == BUILD else pulled.role_images(images)
