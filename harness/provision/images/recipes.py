"""What images a stack has and what each is made of, read from its platform's tables. Makes nothing.

An image is an ordered list of layers and a configuration. Every layer has a digest over all that decides its content, its ``inputs``;
the tools that make it (Go, apt, uv) are not among them, so that an image built elsewhere is recognised on a machine without them.
"""

from __future__ import annotations

import hashlib
import json
import platform as machine
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trivet.errors import UsageError
from trivet.model.stack import Role, Stack
from trivet.provision.images.names import Reference, parse_reference
from trivet.stacks.layout import Table, Tables, Text, Texts, deviations
from trivet.stacks.platform import PLATFORM_FILE, Platform, common_platform, load_platform

FORMAT = 1
"""Part of every digest: raised when layers are made in another way from the same recipe."""

STORE = "trivet/registry"
"""The path of the image that the store itself runs from."""

NODE = "kindest/node"
"""The path of the image that a cluster's node runs from."""

ROLE_PLACE = "/opt/role"
"""Where a role's environment lies inside an image."""

ROLE_PYTHON = "/usr/bin/python3.11"
_ANY = Text()
_WORDS = Table(others=Text(pattern=r"(?s).*"), meaning="a table of texts")
_IMAGE = Table(
    required={"name": _ANY},
    optional={
        **dict.fromkeys(("rootfs", "role", "wheel", "module", "user", "workdir", "stop_signal", "onto", "note"), _ANY),
        "pull": Text(pattern=".*"),
        **dict.fromkeys(("files", "entrypoint", "command"), Texts()),
        "go": Table(others=_WORDS),
        "environment": _WORDS,
    },
)
_FILE = Table(
    required={"path": _ANY}, optional={"text": Text(pattern=r"(?s).*"), "mode": _ANY, "link": _ANY, "owner": _ANY}
)
SHAPE = Table(
    required={"image": Tables(item=_IMAGE)},
    optional={
        "go": Table(others=Table(required={"folder": _ANY}, optional={"ldflags": _ANY, "tags": _ANY})),
        "rootfs": Table(
            others=Table(required={"suite": _ANY, "packages": Texts()}, optional={"without": Texts(), "run": Texts()})
        ),
        "wheel": Table(others=Table(required={"requirement": _ANY, "sha256": _WORDS, "files": _WORDS})),
        "module": Table(
            others=Table(
                required={"go": _ANY, "name": _ANY, "from": _ANY, "to": _ANY}, optional={"executable": Texts()}
            )
        ),
        "files": Table(others=Tables(item=_FILE)),
    },
)


@dataclass(frozen=True, kw_only=True)
class GoLayer:
    """Programs of a wrapper module in ``folder``; ``programs`` maps packages to absolute paths in the image.

    ``ldflags`` and ``tags`` are what ``go build`` takes under these names.
    """

    name: str
    folder: Path
    programs: Mapping[str, str]
    ldflags: str = ""
    tags: str = ""

    @property
    def facts(self) -> Mapping[str, Any]:
        flags = {"ldflags": self.ldflags, **({"tags": self.tags} if self.tags else {})}
        return {"sums": _sums(self.folder), "programs": self.programs, **flags}


@dataclass(frozen=True, kw_only=True)
class RootfsLayer:
    """A Debian root file system: packages of a suite, paths that dpkg leaves out, shell commands run in it afterwards."""

    name: str
    suite: str
    packages: tuple[str, ...]
    without: tuple[str, ...] = ()
    run: tuple[str, ...] = ()

    @property
    def facts(self) -> Mapping[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class RoleLayer:
    """A role's environment from its lock, at :data:`ROLE_PLACE`, for Debian's Python."""

    name: str
    role: Role

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"lock": _sha256(self.role.lock.read_bytes()), "python": self.role.python, "at": ROLE_PLACE}


@dataclass(frozen=True, kw_only=True)
class WheelLayer:
    """Files out of a wheel of PyPI, pinned by hash; ``files`` maps names in the wheel to absolute paths, all executable."""

    name: str
    requirement: str
    sha256: str
    files: Mapping[str, str]

    @property
    def facts(self) -> Mapping[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ModuleLayer:
    """A folder of files out of a Go module that the wrapper module in ``folder`` requires. ``executable`` holds globs."""

    name: str
    folder: Path
    module: str
    source: str
    target: str
    executable: tuple[str, ...] = ()

    @property
    def facts(self) -> Mapping[str, Any]:
        place = {"module": self.module, "from": self.source, "to": self.target, "executable": self.executable}
        return {"sums": _sums(self.folder), **place}


@dataclass(frozen=True, kw_only=True)
class File:
    """A small file, or a symbolic link when ``link`` is not empty, or a directory when the path ends in a slash.

    ``mode`` is octal, ``owner`` a number that stands for user and group.
    """

    path: str
    text: str = ""
    mode: str = "0644"
    link: str = ""
    owner: str = "0"


@dataclass(frozen=True, kw_only=True)
class FilesLayer:
    """Small files that the recipe itself holds."""

    name: str
    files: tuple[File, ...]

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"files": [asdict(file) for file in self.files]}


Layer = GoLayer | RootfsLayer | RoleLayer | WheelLayer | ModuleLayer | FilesLayer


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image. ``pull`` names what the pull source takes instead; empty where upstream has nothing of the kind.

    Where ``onto`` is not empty, the pull source puts the role onto that image of upstream instead: none that fits is published.
    """

    reference: Reference
    layers: tuple[Layer, ...]
    config: Mapping[str, Any]
    pull: str
    onto: str = ""
    note: str = ""
    inputs: str = field(default="")


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """All images of a stack. ``key`` names the set as a whole: another one when any image is another."""

    stack: str
    key: str
    images: tuple[Image, ...]

    def one(self, path: str) -> Image:
        """The image whose path is ``path``, such as ``kindest/node``."""
        for image in self.images:
            if image.reference.path == path:
                return image
        raise UsageError(
            f"the platform of stack {self.stack} has no image {path!r}", remedy="add an [[image]] of that name to it"
        )


def load_images(stack: Stack, platform: Platform | None = None) -> ImageSet:
    """The images of ``stack``. Raises UsageError, with file and key, for a recipe that is not one."""
    platform = platform or load_platform(stack)
    known = {key: value for key, value in platform.table.items() if key in {**SHAPE.required, **SHAPE.optional}}
    file = platform.folder / PLATFORM_FILE
    if wrong := list(deviations(known, SHAPE)):
        raise UsageError(
            "\n".join(f"{file}: {sentence}" for sentence in wrong), remedy="compare it with a shipped platform"
        )
    images = tuple(_image(entry, known, stack, file) for entry in known["image"])
    places: dict[str, str] = {}
    for image in images:
        place = f"{image.reference.path}:{image.reference.tag}"
        if other := places.get(place):
            raise UsageError(
                f"{file}: {image.reference} and {other} differ in nothing but the registry",
                remedy="a store keeps one of them: take one out",
            )
        places[place] = str(image.reference)
    key = _digest([[str(image.reference), image.inputs] for image in images])[:12]
    name = "".join(letter if letter.isalnum() else "-" for letter in stack.name.lower()).strip("-")
    return ImageSet(stack=stack.name, key=f"{name}-{key}", images=images)


def images_of(stack: Stack) -> ImageSet:
    """:func:`load_images`; for a stack without a platform, the images that all platforms share."""
    return load_images(stack, None if stack.platform else common_platform())


def inputs_of(layer: Layer) -> str:
    """The digest over everything that decides what is in ``layer``."""
    kind = type(layer).__name__
    return _digest([FORMAT, kind, machine.machine(), layer.facts])


def title_of(layer: Layer) -> str:
    """What the layer is called in progress and in errors."""
    match layer:
        case GoLayer():
            return f"{layer.name}: {', '.join(place.rsplit('/', 1)[1] for place in layer.programs.values())} (Go)"
        case RootfsLayer():
            return f"{layer.name} (Debian {layer.suite})"
        case RoleLayer():
            return f"{layer.role.name} of {layer.role.lock.parent.name} (Python)"
        case WheelLayer():
            return f"{layer.name} (wheel {layer.requirement})"
        case ModuleLayer():
            return f"{layer.name} (files of {layer.module})"
        case FilesLayer():
            return f"{layer.name} (files)"


def _image(entry: Mapping[str, Any], tables: Mapping[str, Any], stack: Stack, file: Path) -> Image:
    name = entry["name"].replace("{stack}", stack.name)
    layers = tuple(_layers(entry, tables, stack, f"{file}: image {name}"))
    if not layers:
        raise UsageError(f"{file}: image {name} is made of nothing", remedy="name a rootfs, a go module, files …")
    role = stack.roles.get(entry.get("role", ""))
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **({"PATH": f"{ROLE_PLACE}/bin:/usr/local/bin:/usr/bin:/bin", "VIRTUAL_ENV": ROLE_PLACE} if role else {}),
        **entry.get("environment", {}),
        **(role.environment if role else {}),
    }
    config = {
        "Entrypoint": entry.get("entrypoint", []),
        "Cmd": entry.get("command", []),
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "User": entry.get("user", ""),
        "WorkingDir": entry.get("workdir", "/"),
        "StopSignal": entry.get("stop_signal", ""),
    }
    return Image(
        reference=parse_reference(name),
        layers=layers,
        config={key: value for key, value in config.items() if value},
        pull=entry.get("pull", name),
        onto=entry.get("onto", ""),
        note=entry.get("note", ""),
        inputs=_digest([FORMAT, config, [inputs_of(layer) for layer in layers]]),
    )


def _layers(entry: Mapping[str, Any], tables: Mapping[str, Any], stack: Stack, place: str) -> Iterator[Layer]:
    def table(kind: str, name: str) -> Any:
        if name not in tables.get(kind, {}):
            raise UsageError(f"{place}: there is no [{kind}.{name}]", remedy=f"add it, or name another {kind}")
        return tables[kind][name]

    if name := entry.get("rootfs"):
        found = table("rootfs", name)
        lists = {key: tuple(found.get(key, ())) for key in ("packages", "without", "run")}
        yield RootfsLayer(name=name, suite=found["suite"], **lists)
    if name := entry.get("wheel"):
        found = table("wheel", name)
        here = machine.machine()
        if here not in found["sha256"]:
            raise UsageError(f"{place}: [wheel.{name}] has no sha256 for {here}", remedy="build on another machine")
        yield WheelLayer(
            name=name, requirement=found["requirement"], sha256=found["sha256"][here], files=found["files"]
        )
    if name := entry.get("role"):
        if name not in stack.roles:
            raise UsageError(f"{place}: stack {stack.name} has no role {name!r}", remedy="name one of its roles")
        role = stack.roles[name]
        if not role.python.startswith("3.11"):
            raise UsageError(
                f"{place}: role {name} of stack {stack.name} wants Python {role.python}, images have Debian's 3.11",
                remedy='set its python to "3.11", or use the image source `pull`',
            )
        yield RoleLayer(name=name, role=role)
    if name := entry.get("module"):
        found = table("module", name)
        yield ModuleLayer(
            name=name,
            folder=Path(table("go", found["go"])["folder"]),
            module=found["name"],
            source=found["from"],
            target=found["to"],
            executable=tuple(found.get("executable", ())),
        )
    for name, programs in entry.get("go", {}).items():
        found = table("go", name)
        flags = {key: found.get(key, "") for key in ("ldflags", "tags")}
        yield GoLayer(name=name, folder=Path(found["folder"]), programs=programs, **flags)
    for name in entry.get("files", ()):
        yield FilesLayer(name=name, files=tuple(File(**file) for file in table("files", name)))


def _sums(folder: Path) -> list[str]:
    return [_sha256((folder / name).read_bytes()) for name in ("go.mod", "go.sum")]


def _digest(facts: Any) -> str:
    return _sha256(json.dumps(facts, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
