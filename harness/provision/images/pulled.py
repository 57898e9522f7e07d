"""The image source `pull`: upstream's own images under the same names, taken by whoever runs them; no store is run and nothing is compiled.

Two roles have no fitting image of upstream: nobody publishes a trainer, and MLflow's image lacks the drivers for PostgreSQL and S3. Their
environments, from the same locks as everywhere, are put onto upstream's Python image by Docker on this machine.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from trivet.errors import UsageError
from trivet.provision.images.build import LoadResult, forget, made, only_builder, step
from trivet.provision.images.docker import DockerError, docker
from trivet.provision.images.recipes import NODE, ROLE_PYTHON, File, FilesLayer, Image, ImageSet, Layer, RoleLayer

_INPUTS = "dev.trivet.inputs"
_HOME = "/home/role"
_FIT = FilesLayer(
    name="python-image",
    files=(File(path=ROLE_PYTHON, link="/usr/local/bin/python3.11"), File(path=f"{_HOME}/", owner="1000")),
)
"""What upstream's Python image lacks of Debian's: the interpreter at its place, and a home for the user with number 1000."""


def role_images(images: ImageSet) -> Mapping[str, str]:
    """Role → the image that pods of it run from."""
    return {
        layer.role.name: str(image.reference) if image.onto else image.pull
        for image in images.images
        for layer in image.layers
        if isinstance(layer, RoleLayer)
    }


def own_images(
    images: ImageSet, mirror: str = "", *, told: LoadResult = lambda _: None, stop: threading.Event | None = None
) -> list[str]:
    """The names of the images that Docker has been given by us, made now if need be: a node must be loaded with them."""
    made_here = [image for image in images.images if image.onto]
    for image in made_here:
        if _label(image) != image.inputs:
            _put_onto(image, through(mirror, image.onto) if mirror else image.onto, told, stop or threading.Event())
    return [str(image.reference) for image in made_here]


def node_image(images: ImageSet, mirror: str = "") -> str:
    """The name under which Docker has upstream's image of the node, pulled now if need be: through ``mirror``, a URL, if there is one."""
    image = images.one(NODE)
    if not image.pull:
        raise UsageError(
            f"the platform of stack {images.stack} has no node image to pull", remedy="build it: --images build"
        )
    name = through(mirror, image.pull) if mirror else image.pull
    _pull(name)
    return name


def through(mirror: str, image: str) -> str:
    """``image`` as a mirror has it: the path of the mirror's URL in the place of the registry."""
    place = mirror.partition("://")[2].rstrip("/")
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return f"{place}/{rest}"
    return f"{place}/{image}" if slash else f"{place}/library/{image}"


def _put_onto(image: Image, base: str, told: LoadResult, stop: threading.Event) -> None:
    """Give Docker ``image``: its layers above the root file system, copied into a container of ``base``."""
    _pull(base)
    with step(str(image.reference), told) as ended:
        container = docker(["create", base], what=f"make a container of {base}")
        try:
            size = sum(
                _copy_into(container, layer, told, stop)
                for layer in (_FIT, *image.layers)
                if isinstance(layer, RoleLayer | FilesLayer)
            )
            changes = [
                *(f"ENV {one}" for one in (*image.config["Env"], f"HOME={_HOME}")),
                f"USER {image.config.get('User', 'root')}",
                f"WORKDIR {image.config['WorkingDir']}",
                f"LABEL {_INPUTS}={image.inputs}",
            ]
            flags = [word for change in changes for word in ("--change", change)]
            docker(["commit", *flags, container, str(image.reference)], what=f"make {image.reference}")
        finally:
            docker(["rm", "--force", container], what="remove a container")
        ended(size)


def _copy_into(container: str, layer: Layer, told: LoadResult, stop: threading.Event) -> int:
    with only_builder(layer, told, stop):
        archive, _ = made(layer, told, stop)
        docker(["cp", "-", f"{container}:/"], what=f"fill an image with {layer.name}", stdin=archive)
        size = archive.stat().st_size
        forget(archive)
        return size


def _label(image: Image) -> str:
    """The inputs of the image that Docker has under this name; empty when it has none."""
    form = f'{{{{index .Config.Labels "{_INPUTS}"}}}}'
    try:
        return docker(["image", "inspect", "--format", form, str(image.reference)], what=f"look at {image.reference}")
    except DockerError as error:
        if "No such image" not in error.words:
            raise
        return ""


def _pull(name: str) -> None:
    try:
        docker(["image", "inspect", name], what=f"look at image {name}")
    except DockerError as error:
        if "No such image" not in error.words:
            raise
        docker(["pull", "--quiet", name], what=f"pull image {name}")
