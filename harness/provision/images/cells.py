"""The recipe of the image in which cells of a matrix run as pods: trivet, and the environments of the roles that are needed.

Nothing is installed in the pod, so that it needs no package index. The recipe depends on the roles of the cells, and on no platform.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from trivet.errors import UsageError
from trivet.model.stack import Role
from trivet.provision.images.names import parse_reference
from trivet.provision.images.operations import USER, operations_image
from trivet.provision.images.recipes import (
    ROLE_PYTHON,
    SITE_PACKAGES,
    File,
    FilesLayer,
    Image,
    Layer,
    PackageLayer,
    RoleLayer,
    image_digest,
)
from trivet.stacks.drawing import drawing_role
from trivet.stacks.environments import MARKER, cache_directory, environment_folder
from trivet.stacks.parts import digest_of
from trivet.stacks.read import shipped_stacks, stack_files, stack_folder

CELLS = "trivet/cells"
"""The path of the image."""

HOME = "/opt/trivet"
"""The cache directory in the image."""

PYTHON = "3.11"
"""The image's Python, Debian's."""

_PACKAGES = ("contracts", "scenarios", "fixtures")
_ENTRY_POINTS = "[trivet]\nbuiltin = trivet.builtin\ncontracts = trivet.contracts\nscenarios = trivet.scenarios\n"


def cells_image(needed: Iterable[Role], composed: Iterable[Role] = (), own: Iterable[Path] = ()) -> Image:
    """The image for cells that run the roles ``needed``, and Hypothesis.

    ``composed`` are all roles of the cells' stacks: a pod composes them again, and locks nothing for that. ``own`` are the folders of
    stacks that trivet does not ship.

    The tag is the digest of the recipe. Raises UsageError for a role that needs another Python than the image's.
    """
    roles = {environment_folder(role).name: role for role in needed}
    if other := next((role for role in roles.values() if role.python != PYTHON), None):
        raise UsageError(
            f"cells in pods have Python {PYTHON}, and the {other.name} of stack {other.lock.parent.name} has {other.python}",
            remedy="run this matrix on this machine: omit --on",
        )
    drawing = drawing_role()
    # Its folder's name has the path of the Python that runs trivet, which is another one in the image.
    drawing_folder = environment_folder(replace(drawing, python=ROLE_PYTHON)).name
    roles[drawing_folder] = replace(drawing, python=PYTHON)
    base = operations_image()
    layers: tuple[Layer, ...] = (
        *base.layers,
        *(
            PackageLayer(name=name, folder=Path(str(files(f"trivet.{name}"))), target=f"{SITE_PACKAGES}/trivet/{name}")
            for name in _PACKAGES
        ),
        *(
            RoleLayer(name=role.name, role=role, target=f"{HOME}/environments/{name}")
            for name, role in sorted(roles.items())
        ),
        FilesLayer(name="cells", files=tuple(_files(roles, drawing_folder, composed, own))),
    )
    config = {
        **{name: value for name, value in base.config.items() if name != "Entrypoint"},
        "Entrypoint": ["python", "-m", "trivet.cell_in_pod"],
        "Env": [*base.config["Env"], f"TRIVET_CACHE={HOME}", "HOME=/tmp"],
    }
    inputs = image_digest(config, layers)
    return Image(
        reference=parse_reference(f"docker.io/{CELLS}:{inputs[:12]}"),
        layers=layers,
        config=config,
        pull="",
        note="trivet with the environments of a matrix; no registry has it",
        inputs=inputs,
    )


def name_in_image(value: str) -> str:
    """The name of a stack, or a version, for a command in the image: a stack of the user's own has another folder there."""
    folder = own_stack(value)
    return _place(folder) if folder else value


def own_stack(value: str) -> Path | None:
    """The folder of a stack that trivet does not ship; None for a shipped one, and for a version."""
    if value in shipped_stacks():
        return None
    try:
        return stack_folder(value)
    except UsageError:
        return None  # a version


def _place(folder: Path) -> str:
    """The folder's place in the image: by its contents, since folders of two stacks may have the same name."""
    return f"{HOME}/stacks/{digest_of(_contents(folder))[:12]}/{folder.resolve().name}"


def _contents(folder: Path) -> dict[str, str]:
    """The files of a stack by name. Other files of the folder do not go into an image, which is pushed to registries."""
    # Line ends stay as they are: the digest of the stack is that of its bytes.
    return {file.name: file.read_bytes().decode("utf-8") for file in stack_files(folder)}


def _files(roles: Mapping[str, Role], drawing: str, composed: Iterable[Role], own: Iterable[Path]) -> Iterator[File]:
    """The markers of complete environments, locks that no stack has, stacks of the user's own, and folders that a run writes to."""
    for below in ("", "environments/", "locks/", f"environments/{drawing}/hypothesis/"):
        yield File(path=f"{HOME}/{below}", owner=USER)
    metadata = f"{SITE_PACKAGES}/trivet-{version('trivet')}.dist-info"
    yield File(path=f"{metadata}/entry_points.txt", text=_ENTRY_POINTS)
    for name in sorted(roles):
        yield File(path=f"{HOME}/environments/{name}/{MARKER}", text="{}")
    locked = {role.lock.parent for role in composed if role.lock.is_relative_to(cache_directory() / "locks")}
    for folder in sorted(locked):
        for file in sorted(folder.glob("*.*")):
            yield File(path=f"{HOME}/locks/{folder.name}/{file.name}", text=file.read_text(encoding="utf-8"))
    for folder in sorted(set(own)):
        for name, text in _contents(folder).items():
            yield File(path=f"{_place(folder)}/{name}", text=text)
