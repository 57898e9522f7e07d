"""The image source `pull`: nodes pull upstream's images from their registries; there is no image store, and nothing is compiled.

Two roles have no suitable upstream image: no trainer image is published, and MLflow's image lacks the drivers for PostgreSQL and S3. For
these, Docker on this machine adds the role's environment, from the same lock, to upstream's Python image.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from trivet.errors import UsageError
from trivet.model.stack import Stack
from trivet.provision.docker import DockerError, docker
from trivet.provision.images.build import INPUTS, OnStep, delete_archive, layer_archive, layer_lock, report_step
from trivet.provision.images.recipes import (
    NODE,
    ROLE_PYTHON,
    File,
    FilesLayer,
    Image,
    ImageSet,
    Layer,
    RoleLayer,
    load_images,
)
from trivet.stacks.composed import stack_of, version_of
from trivet.stacks.parts import role_digest

_HOME = "/home/role"
_BASE_FILES = FilesLayer(
    name="python-image",
    files=(File(path=ROLE_PYTHON, link="/usr/local/bin/python3.11"), File(path=f"{_HOME}/", owner="1000")),
)
"""What upstream's Python image lacks: the interpreter at Debian's path, and a home directory of the user with UID 1000."""


def role_images(images: ImageSet) -> Mapping[str, str]:
    """Role → the name of the image that its pods use."""
    return {
        layer.role.name: image.local_name if image.onto else image.pull
        for image in images.images
        for layer in image.layers
        if isinstance(layer, RoleLayer)
    }


def check_composed(stack: Stack, images: ImageSet) -> None:
    """Raise UsageError when no published image of a role of a composed stack is known, or when it is the one that is there anyway."""
    base = stack.composed_from
    before = role_images(load_images(base)) if base and base.platform else {}
    for name, image in role_images(images).items():
        role = stack.roles[name]
        if not image:
            home = stack_of(role)
            reason = f"{home.name}, which it is from, has no platform" if home else "no stack has this version"
            raise UsageError(
                f"no published image of the {name} {version_of(role)} of stack {stack.name} is known: {reason}",
                remedy=f"build its image from its lock: --images build; or take the {name} from a stack with a platform",
            )
        if base and image == before.get(name) and role_digest(role) != role_digest(base.roles[name]):
            raise UsageError(
                f"the stacks {stack.name} and {base.name} have the same published image of the {name}, {image}: with --images pull, the "
                f"{name} of both clusters would be the same",
                remedy=f"build the images from the locks: --images build; or omit --with {name}",
            )


def local_images(
    images: ImageSet, mirror: str = "", *, on_step: OnStep = lambda _: None, stop: threading.Event | None = None
) -> list[str]:
    """The names of the images that no registry has, built in Docker now when missing; they must be loaded into the node."""
    local = [image for image in images.images if image.onto]
    for image in local:
        if _inputs_label(image) != image.inputs:
            base = mirrored(image.onto, mirror) if mirror else image.onto
            _build_on_base(image, base, on_step, stop or threading.Event())
    return [image.local_name for image in local]


def node_image(images: ImageSet, mirror: str = "") -> str:
    """The name of upstream's node image in Docker, pulled when Docker does not have it. ``mirror`` is a URL, empty for none."""
    image = images.image(NODE)
    if not image.pull:
        raise UsageError(
            f"the platform of stack {images.stack} has no node image to pull", remedy="build it: --images build"
        )
    name = mirrored(image.pull, mirror) if mirror else image.pull
    _pull(name)
    return name


def mirrored(image: str, mirror: str) -> str:
    """The name of ``image`` at a mirror: host and path of the mirror's URL in place of the registry."""
    registry = mirror.partition("://")[2].rstrip("/")
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return f"{registry}/{rest}"
    return f"{registry}/{image}" if slash else f"{registry}/library/{image}"


def _build_on_base(image: Image, base: str, on_step: OnStep, stop: threading.Event) -> None:
    """Build ``image`` in Docker: copy its layers, without the root file system, into a container of ``base`` and commit it."""
    _pull(base)
    with report_step(image.local_name, on_step) as set_size:
        container = docker(["create", base], what=f"create a container of {base}")
        try:
            size = sum(
                _copy_into(container, layer, on_step, stop)
                for layer in (_BASE_FILES, *image.layers)
                if isinstance(layer, RoleLayer | FilesLayer)
            )
            changes = [
                *(f"ENV {one}" for one in (*image.config["Env"], f"HOME={_HOME}")),
                f"USER {image.config.get('User', 'root')}",
                f"WORKDIR {image.config['WorkingDir']}",
                f"LABEL {INPUTS}={image.inputs}",
            ]
            flags = [word for change in changes for word in ("--change", change)]
            docker(["commit", *flags, container, image.local_name], what=f"commit {image.local_name}")
        finally:
            docker(["rm", "--force", container], what=f"remove the container of {base}")
        set_size(size)


def _copy_into(container: str, layer: Layer, on_step: OnStep, stop: threading.Event) -> int:
    with layer_lock(layer, on_step, stop):
        archive, _ = layer_archive(layer, on_step, stop)
        docker(["cp", "-", f"{container}:/"], what=f"copy {layer.name} into an image", stdin=archive)
        size = archive.stat().st_size
        delete_archive(archive)
        return size


def _inputs_label(image: Image) -> str:
    """The digest of the inputs of Docker's image of this name; empty when Docker does not have it."""
    template = f'{{{{index .Config.Labels "{INPUTS}"}}}}'
    try:
        arguments = ["image", "inspect", "--format", template, image.local_name]
        return docker(arguments, what=f"inspect image {image.local_name}")
    except DockerError as error:
        if "No such image" not in error.output:
            raise
        return ""


def _pull(name: str) -> None:
    try:
        docker(["image", "inspect", name], what=f"inspect image {name}")
    except DockerError as error:
        if "No such image" not in error.output:
            raise
        docker(["pull", "--quiet", name], what=f"pull image {name}")
