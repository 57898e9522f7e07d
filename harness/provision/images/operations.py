"""The recipe of the image in which a platform runs trivet: Debian's Python, the dependencies of the extra ``operations``, and trivet.

It is of no stack: a stack's images, their digests and the key of their set do not depend on it. It is built into a stack's set when it is
named, so that the nodes of that stack's cluster can pull it.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from trivet.model.stack import Role
from trivet.provision.images.names import parse_reference
from trivet.provision.images.recipes import (
    ROLE_PATH,
    SITE_PACKAGES,
    File,
    FilesLayer,
    Image,
    PackageLayer,
    RoleLayer,
    RootfsLayer,
    image_digest,
    rootfs_layer,
)
from trivet.stacks.platform import common_platform

OPERATIONS = "trivet/operations"
"""The path of the image."""

USER = "1000"


@cache
def operations_image() -> Image:
    """The image, tagged with trivet's version."""
    layers = (_rootfs(), RoleLayer(name="operations", role=_role()), _package(), _program())
    config = {
        "Entrypoint": ["trivet"],
        "Env": [f"PATH={ROLE_PATH}/bin:/usr/local/bin:/usr/bin:/bin", f"VIRTUAL_ENV={ROLE_PATH}"],
        "User": USER,
        "WorkingDir": "/tmp",
    }
    return Image(
        reference=parse_reference(f"docker.io/{OPERATIONS}:{version('trivet')}"),
        layers=layers,
        config=config,
        pull="",
        note="trivet itself; no registry has it",
        inputs=image_digest(config, layers),
    )


def _rootfs() -> RootfsLayer:
    return rootfs_layer("python", common_platform().table["rootfs"]["python"])


def _role() -> Role:
    lock = Path(str(files("trivet.fixtures"))) / "operations" / "operations.lock"
    return Role(
        name="operations",
        python="3.11",
        requires=("trivet[operations]",),
        cutoff="",
        lock=lock,
        pins={},
        title="trivet's operations",
    )


def _package() -> PackageLayer:
    return PackageLayer(name="trivet", folder=Path(str(files("trivet"))), target=f"{SITE_PACKAGES}/trivet")


def _program() -> FilesLayer:
    """What an installer makes beside the package: the program, and the metadata by which it knows its version."""
    text = f"#!{ROLE_PATH}/bin/python\nfrom trivet.__main__ import main\n\nmain()\n"
    metadata = f"Metadata-Version: 2.1\nName: trivet\nVersion: {version('trivet')}\n"
    return FilesLayer(
        name="trivet-program",
        files=(
            File(path=f"{ROLE_PATH}/bin/trivet", text=text, mode="0755"),
            File(path=f"{SITE_PACKAGES}/trivet-{version('trivet')}.dist-info/METADATA", text=metadata),
        ),
    )
