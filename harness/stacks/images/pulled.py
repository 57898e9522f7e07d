"""The image source `pull`: upstream's own images under the same names, taken by whoever runs them; nothing is built and no store is run.

What upstream does not publish (:attr:`trivet.stacks.images.recipes.Image.pull` is empty) is not needed there or has a stand-in.
"""

from __future__ import annotations

from collections.abc import Mapping

from trivet.errors import UsageError
from trivet.stacks.images.docker import DockerError, docker
from trivet.stacks.images.recipes import NODE, ImageSet, RoleLayer


def role_images(images: ImageSet) -> Mapping[str, str]:
    """Role → the image that pods of it run from."""
    return {
        layer.role.name: image.pull
        for image in images.images
        for layer in image.layers
        if isinstance(layer, RoleLayer) and image.pull
    }


def node_image(images: ImageSet, mirror: str = "") -> str:
    """The name under which Docker has upstream's image of the node, pulled now if need be: through ``mirror``, a URL, if there is one."""
    image = images.one(NODE)
    if not image.pull:
        raise UsageError(
            f"the platform of stack {images.stack} has no node image to pull", remedy="build it: --images build"
        )
    name = through(mirror, image.pull) if mirror else image.pull
    try:
        docker(["image", "inspect", name], what=f"look at image {name}")
    except DockerError as error:
        if "No such image" not in error.words:
            raise
        docker(["pull", "--quiet", name], what=f"pull the node's image {name}")
    return name


def through(mirror: str, image: str) -> str:
    """``image`` as a mirror has it: the path of the mirror's URL in the place of the registry."""
    place = mirror.partition("://")[2].rstrip("/")
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return f"{place}/{rest}"
    return f"{place}/{image}" if slash else f"{place}/library/{image}"
