"""The images of a stack and their recipes, read from the tables of its platform. Builds nothing.

An image is an ordered list of layers and a configuration. The digest of a layer's inputs covers everything that decides its content. The
versions of the tools that build it (Go, apt, uv) are not inputs, so that an image built elsewhere is recognised on a machine without them.
"""

from __future__ import annotations

import hashlib
import json
import platform as machine
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trivet.errors import UsageError, choices
from trivet.model.stack import Role, Stack
from trivet.provision.images.names import Reference, parse_reference, with_inputs
from trivet.provision.images.role_recipes import OF_PLATFORM, recipe_of
from trivet.stacks.platform import PLATFORM_FILE, STORE_IMAGE, Platform, common_platform, load_addon, load_platform
from trivet.stacks.read import pins_of
from trivet.stacks.schema import String, StringArray, Table, TableArray, schema_errors

FORMAT = 1
"""Part of every digest: incremented when the same recipe gives another layer."""

STORE = STORE_IMAGE

NODE = "kindest/node"
"""The path of the cluster's node image."""

ROLE_PATH = "/opt/role"
"""The path of a role's environment in an image."""

ROLE_PYTHON = "/usr/bin/python3.11"
SITE_PACKAGES = f"{ROLE_PATH}/lib/python3.11/site-packages"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ANY = String()
_STRINGS = Table(others=String(pattern=r"(?s).*"), description="a table of strings")
_IMAGE = Table(
    required={"name": _ANY},
    optional={
        **dict.fromkeys(("rootfs", "role", "wheel", "module", "user", "workdir", "stop_signal", "onto", "note"), _ANY),
        "pull": String(pattern=".*"),
        **dict.fromkeys(("files", "entrypoint", "command"), StringArray()),
        "go": Table(others=_STRINGS),
        "environment": _STRINGS,
    },
)
_FILE = Table(
    required={"path": _ANY}, optional={"text": String(pattern=r"(?s).*"), "mode": _ANY, "link": _ANY, "owner": _ANY}
)
SCHEMA = Table(
    required={"image": TableArray(item=_IMAGE)},
    optional={
        "go": Table(
            others=Table(
                required={"folder": _ANY}, optional={"ldflags": _ANY, "tags": _ANY, "links": Table(others=_STRINGS)}
            )
        ),
        "rootfs": Table(
            others=Table(
                required={"suite": _ANY, "packages": StringArray()},
                optional={"without": StringArray(), "run": StringArray()},
            )
        ),
        "wheel": Table(others=Table(required={"requirement": _ANY, "sha256": _STRINGS, "files": _STRINGS})),
        "module": Table(
            others=Table(
                required={"go": _ANY, "name": _ANY, "from": _ANY, "to": _ANY}, optional={"executable": StringArray()}
            )
        ),
        "files": Table(others=TableArray(item=_FILE)),
        "role": Table(others=Table(required={"python": _ANY, "cutoff": _ANY, "requires": StringArray()})),
    },
)


@dataclass(frozen=True, kw_only=True)
class GoLayer:
    """Programs compiled from the wrapper module in ``folder``; ``programs`` maps packages to absolute paths in the image.

    ``ldflags`` and ``tags`` are the flags of ``go build`` of these names. ``links`` are symbolic links of upstream's repositories, which
    module archives leave out, and without which a program does not compile: module → path of the link → its target.
    """

    name: str
    folder: Path
    programs: Mapping[str, str]
    ldflags: str = ""
    tags: str = ""
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def digest_inputs(self) -> Mapping[str, Any]:
        flags: dict[str, Any] = {"ldflags": self.ldflags}
        flags |= {name: value for name, value in (("tags", self.tags), ("links", self.links)) if value}
        return {"sums": _sums(self.folder), "programs": self.programs, **flags}


@dataclass(frozen=True, kw_only=True)
class RootfsLayer:
    """A Debian root file system: packages of a suite, paths that dpkg excludes, and shell commands to run in it afterwards."""

    name: str
    suite: str
    packages: tuple[str, ...]
    without: tuple[str, ...] = ()
    run: tuple[str, ...] = ()

    @property
    def digest_inputs(self) -> Mapping[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class RoleLayer:
    """A role's environment from its lock, at ``target``, for Debian's Python."""

    name: str
    role: Role
    target: str = ROLE_PATH

    @property
    def digest_inputs(self) -> Mapping[str, Any]:
        return {"lock": _sha256(self.role.lock.read_bytes()), "python": self.role.python, "at": self.target}


@dataclass(frozen=True, kw_only=True)
class WheelLayer:
    """Files from a PyPI wheel, pinned by hash; ``files`` maps names in the wheel to absolute paths, all executable."""

    name: str
    requirement: str
    sha256: str
    files: Mapping[str, str]

    @property
    def digest_inputs(self) -> Mapping[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ModuleLayer:
    """A folder of files from a Go module that the wrapper module in ``folder`` requires. ``executable`` is a list of globs."""

    name: str
    folder: Path
    module: str
    source: str
    target: str
    executable: tuple[str, ...] = ()

    @property
    def digest_inputs(self) -> Mapping[str, Any]:
        location = {"module": self.module, "from": self.source, "to": self.target, "executable": self.executable}
        return {"sums": _sums(self.folder), **location}


@dataclass(frozen=True, kw_only=True)
class File:
    """A small file, or a symbolic link when ``link`` is not empty, or a directory when the path ends in a slash.

    ``mode`` is octal, ``owner`` is UID and GID.
    """

    path: str
    text: str = ""
    mode: str = "0644"
    link: str = ""
    owner: str = "0"


@dataclass(frozen=True, kw_only=True)
class FilesLayer:
    """Small files whose content is in the recipe."""

    name: str
    files: tuple[File, ...]

    @property
    def digest_inputs(self) -> Mapping[str, Any]:
        return {"files": [asdict(file) for file in self.files]}


@dataclass(frozen=True, kw_only=True)
class PackageLayer:
    """A Python package of this installation: every file below ``folder``, without compiled bytecode, at ``target``."""

    name: str
    folder: Path
    target: str

    @property
    def paths(self) -> list[Path]:
        """Its files, sorted."""
        found = self.folder.rglob("*")
        return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)

    @property
    def digest_inputs(self) -> Mapping[str, Any]:
        files = {str(path.relative_to(self.folder)): _sha256(path.read_bytes()) for path in self.paths}
        return {"files": files, "to": self.target}


Layer = GoLayer | RootfsLayer | RoleLayer | WheelLayer | ModuleLayer | FilesLayer | PackageLayer


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image. ``pull`` is the upstream image that the source `pull` uses; empty when upstream publishes none.

    When ``onto`` is not empty, upstream publishes no suitable image, and the source `pull` adds the role to the upstream image ``onto``.
    ``inputs`` is the digest of the configuration and of all layers' inputs. ``manifest_name`` is what the platform's manifests have in
    place of this image, if a composed stack has another one there.
    """

    reference: Reference
    layers: tuple[Layer, ...]
    config: Mapping[str, Any]
    pull: str
    onto: str = ""
    note: str = ""
    inputs: str = field(default="")
    manifest_name: str = ""

    @property
    def local_name(self) -> str:
        """The name in Docker of the image that is made on ``onto``. It has the digest of its inputs: two stacks may have one reference."""
        return str(with_inputs(self.reference, self.inputs))


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """All images of a stack. ``key`` identifies the set: it changes when any image changes."""

    stack: str
    key: str
    images: tuple[Image, ...]

    def image(self, path: str) -> Image:
        """The image whose path is ``path``, such as ``kindest/node``. Raises UsageError when there is none, and when there are two."""
        found = [image for image in self.images if image.reference.path == path]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(
                f"the platform of stack {self.stack} has {len(found)} images {path!r}: "
                + ", ".join(str(image.reference) for image in found),
                remedy="keep one; to replace an image of an included platform, copy its tables instead of including it",
            )
        raise UsageError(
            f"the platform of stack {self.stack} has no image {path!r}",
            remedy=choices(path, (image.reference.path for image in self.images))
            + "; or add an [[image]] of that name",
        )


def load_images(stack: Stack, platform: Platform | None = None) -> ImageSet:
    """The images of ``stack``. Raises UsageError, with file and key, for an invalid recipe."""
    platform = platform or load_platform(stack)
    file = platform.folder / PLATFORM_FILE
    tables = _checked(platform)
    images = tuple(_of_stack(entry, tables, platform, stack) for entry in tables["image"])
    locations: dict[str, str] = {}
    for image in images:
        location = f"{image.reference.path}:{image.reference.tag}"
        if other := locations.get(location):
            raise UsageError(
                f"{file}: {image.reference} and {other} differ only in the registry"
                if other != str(image.reference)
                else f"{file}: {image.reference} is there twice, counting what the file includes",
                remedy="remove one: the image store can hold only one of them",
            )
        locations[location] = str(image.reference)
    key = _digest([[str(image.reference), image.inputs] for image in images])[:12]
    name = "".join(letter if letter.isalnum() else "-" for letter in stack.name.lower()).strip("-")
    return ImageSet(stack=stack.name, key=f"{name}-{key}", images=images)


def images_of(stack: Stack) -> ImageSet:
    """:func:`load_images`; for a stack without a platform, the images that are common to all platforms."""
    return load_images(stack, None if stack.platform else common_platform())


def addon_images(stack: Stack, name: str) -> ImageSet:
    """The images of the add-on ``name`` for clusters of ``stack``. Their recipes can name roles of the stack, and the add-on's own."""
    addon = load_addon(name)
    return load_images(replace(stack, roles={**stack.roles, **addon_roles(addon)}), addon)


def addon_roles(addon: Platform) -> dict[str, Role]:
    """The Python environments of an add-on: its tables ``role``, each with the lock of its name beside ``platform.toml``."""
    return {
        name: _role(name, table, addon.folder / f"{name}.lock") for name, table in addon.table.get("role", {}).items()
    }


def inputs_digest(layer: Layer) -> str:
    """The digest over everything that decides the content of ``layer``."""
    kind = type(layer).__name__
    return _digest([FORMAT, kind, machine.machine(), layer.digest_inputs])


def title_of(layer: Layer) -> str:
    """The layer's name in progress and in errors."""
    match layer:
        case GoLayer():
            return f"{layer.name}: {', '.join(location.rsplit('/', 1)[1] for location in layer.programs.values())} (Go)"
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
        case PackageLayer():
            return f"{layer.name} (package)"


def rootfs_layer(name: str, table: Mapping[str, Any]) -> RootfsLayer:
    """The root file system of a table ``[rootfs.NAME]``."""
    lists = {key: tuple(table.get(key, ())) for key in ("packages", "without", "run")}
    return RootfsLayer(name=name, suite=table["suite"], **lists)


def image_digest(config: Mapping[str, Any], layers: Iterable[Layer]) -> str:
    """The digest over an image's configuration and the inputs of all its layers."""
    return _digest([FORMAT, config, [inputs_digest(layer) for layer in layers]])


def _role(name: str, table: Mapping[str, Any], lock: Path) -> Role:
    return Role(
        name=name,
        python=table["python"],
        requires=tuple(table["requires"]),
        cutoff=table["cutoff"],
        lock=lock,
        pins=pins_of(lock.read_text(encoding="utf-8"), table["python"], lock),
        title=f"the environment {name} of the add-on {lock.parent.name}",
    )


def _checked(platform: Platform) -> Mapping[str, Any]:
    """The tables of a platform that are about images."""
    known = {key: value for key, value in platform.table.items() if key in {**SCHEMA.required, **SCHEMA.optional}}
    if wrong := list(schema_errors(known, SCHEMA)):
        raise UsageError(
            "\n".join(f"{platform.folder / PLATFORM_FILE}: {sentence}" for sentence in wrong),
            remedy="compare it with a shipped platform",
        )
    return known


def _of_stack(entry: Mapping[str, Any], tables: Mapping[str, Any], platform: Platform, stack: Stack) -> Image:
    """The image of an entry; in a composed stack, that of a role is the image of the stack that the role is from."""
    if not (stack.parts and entry.get("role") in OF_PLATFORM and entry["role"] in stack.roles):
        return _image(entry, tables, stack, platform.folder / PLATFORM_FILE)
    recipe = recipe_of(entry, platform, stack)
    image = _image(recipe.entry, _checked(recipe.platform), stack, recipe.platform.folder / PLATFORM_FILE)
    reference = image.reference if recipe.published else with_inputs(image.reference, image.inputs)
    return replace(image, reference=reference, manifest_name=str(parse_reference(entry["name"])))


def _image(entry: Mapping[str, Any], tables: Mapping[str, Any], stack: Stack, file: Path) -> Image:
    name = entry["name"].replace("{stack}", _tag(stack))
    layers = tuple(_layers(entry, tables, stack, f"{file}: image {name}"))
    if not layers:
        raise UsageError(f"{file}: image {name} has no layers", remedy="name a rootfs, a go module, files …")
    role = stack.roles.get(entry.get("role", ""))
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **({"PATH": f"{ROLE_PATH}/bin:/usr/local/bin:/usr/bin:/bin", "VIRTUAL_ENV": ROLE_PATH} if role else {}),
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
        inputs=image_digest(config, layers),
    )


def _tag(stack: Stack) -> str:
    """The stack's name as the tag of an image. That of a composed stack has its digest: a node keeps the image that it has of a name."""
    if _TAG.fullmatch(stack.name):
        return stack.name
    return f"{re.sub(r'[^A-Za-z0-9_.]+', '-', stack.name).strip('-.')[:100]}-{stack.digest[:12]}"


def _layers(entry: Mapping[str, Any], tables: Mapping[str, Any], stack: Stack, location: str) -> Iterator[Layer]:
    def table(kind: str, name: str) -> Any:
        if name not in tables.get(kind, {}):
            known = sorted(tables.get(kind, {}))
            raise UsageError(
                f"{location}: there is no [{kind}.{name}]",
                remedy=f"{choices(name, known)}; or add it" if known else f"add it; there is no {kind} to choose from",
            )
        return tables[kind][name]

    if name := entry.get("rootfs"):
        yield rootfs_layer(name, table("rootfs", name))
    if name := entry.get("wheel"):
        found = table("wheel", name)
        here = machine.machine()
        if here not in found["sha256"]:
            raise UsageError(
                f"{location}: [wheel.{name}] has no sha256 for {here}",
                remedy=f"build on a machine with {', '.join(found['sha256']) or 'another architecture'}",
            )
        yield WheelLayer(
            name=name, requirement=found["requirement"], sha256=found["sha256"][here], files=found["files"]
        )
    if name := entry.get("role"):
        if name not in stack.roles:
            raise UsageError(f"{location}: stack {stack.name} has no role {name!r}", remedy=choices(name, stack.roles))
        role = stack.roles[name]
        if not role.python.startswith("3.11"):
            raise UsageError(
                f"{location}: role {name} of stack {stack.name} needs Python {role.python}, and images have Debian's 3.11",
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
        yield GoLayer(name=name, folder=Path(found["folder"]), programs=programs, links=found.get("links", {}), **flags)
    for name in entry.get("files", ()):
        yield FilesLayer(name=name, files=tuple(File(**file) for file in table("files", name)))


def _sums(folder: Path) -> list[str]:
    """The digests of a wrapper module: go.mod, go.sum, and the files of the modules in it that replace others."""
    replacements = sorted(path for path in folder.glob("*/**/*") if path.is_file())
    return [_sha256(path.read_bytes()) for path in (folder / "go.mod", folder / "go.sum", *replacements)]


def _digest(content: Any) -> str:
    return _sha256(json.dumps(content, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
