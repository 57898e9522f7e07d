"""Garbage collection: finds and removes what no stack and no cluster needs of the image store, its cache and Docker.

The registry's own garbage collection is not used: it deletes blobs that no manifest refers to, which includes the layers of a set whose
manifests are not written yet, and it leaves the repositories of deleted sets. Under ``store.exclusive_lock`` nothing writes to the
registry's folder, so it keeps running and clusters can still pull.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from trivet.errors import PlatformError
from trivet.provision.docker import docker
from trivet.provision.images.build import read_layer_record
from trivet.provision.images.recipes import NODE, STORE, GoLayer, ImageSet, inputs_digest
from trivet.provision.images.store import DOCKER_NODE, DOCKER_STORE, LAYERS, docker_name, images_home, registry_folder
from trivet.stacks.environments import environments, remove_environment

Name = TypeVar("Name")


@dataclass(frozen=True, kw_only=True)
class RegistryLink:
    """A link folder of the registry, with which a repository refers to a blob. ``tag`` is set when the tag points to this blob now."""

    path: Path
    repository: str
    digest: str
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Everything that exists. Numbers are bytes.

    ``manifests`` maps a manifest to the blobs that it refers to, ``records`` a digest of inputs to the layer's blob (empty when the record
    is unreadable). ``work`` is unfinished work of builds, ``images`` are trivet's images in Docker, ``used`` the images of all containers.
    """

    links: Sequence[RegistryLink] = ()
    manifests: Mapping[str, frozenset[str]] = field(default_factory=dict)
    blobs: Mapping[str, int] = field(default_factory=dict)
    uploads: Mapping[Path, int] = field(default_factory=dict)
    records: Mapping[str, str] = field(default_factory=dict)
    work: Mapping[Path, int] = field(default_factory=dict)
    programs: Mapping[Path, int] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)
    used: Collection[str] = ()
    environments: Mapping[Path, int] = field(default_factory=dict)
    run_in_progress: bool = False


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What to keep: image sets, further sets by their ``keys`` (of running clusters), programs for this machine, environments."""

    sets: Sequence[ImageSet] = ()
    keys: Collection[str] = ()
    programs: Sequence[GoLayer] = ()
    environments: Collection[Path] = ()

    @property
    def layers(self) -> frozenset[str]:
        """The inputs of every layer of the sets."""
        return frozenset(inputs_digest(layer) for one in self.sets for image in one.images for layer in image.layers)


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """What to remove. ``sets`` are keys of complete sets. While a run is in progress, programs and environments are kept."""

    sets: Sequence[str]
    links: Sequence[RegistryLink]
    blobs: Mapping[str, int]
    records: Sequence[str]
    images: Mapping[str, int]
    environments: Mapping[Path, int]
    uploads: Mapping[Path, int]
    work: Mapping[Path, int]
    programs: Mapping[Path, int]
    run_in_progress: bool

    @property
    def size(self) -> int:
        """Total bytes."""
        parts = (self.blobs, self.images, self.environments, self.uploads, self.work, self.programs)
        return sum(size for part in parts for size in part.values())


def find_garbage(inventory: Inventory, needed: Needed) -> Garbage:
    """What of ``inventory`` is not needed. The caller has held ``store.exclusive_lock`` since before the inventory: every upload counts as
    abandoned.
    """
    names = {(f"{one.key}/{image.reference.path}", image.reference.tag) for one in needed.sets for image in one.images}
    kept: dict[str, set[str]] = defaultdict(set)
    for link in inventory.links:
        if link.tag and ((link.repository, link.tag) in names or _set_key(link.repository) in needed.keys):
            kept[link.repository] |= {link.digest, *inventory.manifests.get(link.digest, ())}
    layers = needed.layers
    built = {digest for inputs, digest in inventory.records.items() if inputs in layers and digest}
    kept[LAYERS] = built.union(*kept.values())
    kept_sets = {*needed.keys, *(one.key for one in needed.sets), _set_key(LAYERS)}
    programs = {inputs_digest(layer)[:24] for layer in needed.programs}
    named = {
        docker_name(name, one.image(path).inputs)
        for one in needed.sets
        for name, path in ((DOCKER_NODE, NODE), (DOCKER_STORE, STORE))
        if any(image.reference.path == path for image in one.images)
    }
    return Garbage(
        sets=sorted({_set_key(link.repository) for link in inventory.links} - kept_sets),
        links=[link for link in inventory.links if link.digest not in kept[link.repository]],
        blobs=_without(inventory.blobs, set().union(*kept.values())),
        records=[
            inputs
            for inputs, digest in inventory.records.items()
            if inputs not in layers and digest not in kept[LAYERS]
        ],
        images=_without(inventory.images, named | set(inventory.used)),
        environments={} if inventory.run_in_progress else _without(inventory.environments, needed.environments),
        uploads=inventory.uploads,
        work={path: size for path, size in inventory.work.items() if path.name.partition(".")[0] not in layers},
        programs={
            path: size
            for path, size in inventory.programs.items()
            if path.name not in programs and not inventory.run_in_progress
        },
        run_in_progress=inventory.run_in_progress,
    )


def take_inventory(*, run_in_progress: bool) -> Inventory:
    """Everything that exists now. Raises DockerError when Docker is not available, PlatformError for unreadable files."""
    try:
        links = list(_links(registry_folder() / "repositories"))
        manifests = {link.digest for link in links if "_manifests" in link.path.parts}
        home = images_home()
        return Inventory(
            links=links,
            manifests={digest: _blobs_of(_blob(digest) / "data") for digest in manifests},
            blobs={
                f"{path.parts[-4]}:{path.parent.name}": path.stat().st_size
                for path in registry_folder().glob("blobs/*/*/*/data")
            },
            uploads=_sizes((registry_folder() / "repositories").rglob("_uploads/*")),
            records={
                file.stem: record.digest if (record := read_layer_record(file.stem)) else ""
                for file in (home / "layers").glob("*.json")
            },
            work=_sizes((home / "work").glob("*")),
            programs=_sizes((home / "programs").glob("*")),
            images=_docker_images(),
            used=set(docker(["ps", "--all", "--format", "{{.Image}}"], what="list containers").splitlines()),
            environments=_sizes(environments()),
            run_in_progress=run_in_progress,
        )
    except OSError as error:
        raise _access_error("read", error) from error


def remove(garbage: Garbage) -> None:
    """Remove it, references before what they refer to, so that after an interruption the next prune finds the rest.

    Raises DockerError, and PlatformError for files that cannot be removed.
    """
    try:
        for key in garbage.sets:
            _delete(registry_folder() / "repositories" / key)
        for path in (*(link.path for link in garbage.links), *garbage.uploads):
            _delete(path)
        for inputs in garbage.records:
            (images_home() / "layers" / f"{inputs}.json").unlink(missing_ok=True)
        for path in (*map(_blob, garbage.blobs), *garbage.work, *garbage.programs):
            _delete(path)
        if garbage.images:
            docker(["rmi", *garbage.images], what="remove images that no stack needs")
        for folder in garbage.environments:
            remove_environment(folder)
    except OSError as error:
        raise _access_error("remove", error) from error


def _set_key(repository: str) -> str:
    return repository.partition("/")[0]


def _without(sizes: Mapping[Name, int], needed: Collection[Name]) -> dict[Name, int]:
    return {name: size for name, size in sizes.items() if name not in needed}


def _links(repositories: Path) -> Iterator[RegistryLink]:
    for file in repositories.rglob("link"):
        match file.relative_to(repositories).parts:
            case [*repository, "_layers", _, _, _] | [*repository, "_manifests", "revisions", _, _, _]:
                tag = ""
            case [*repository, "_manifests", "tags", tag, "current", _]:
                pass
            case [*repository, "_manifests", "tags", _, "index", _, _, _]:
                tag = ""
            case _:
                continue
        digest = file.read_text(encoding="ascii").strip()
        yield RegistryLink(path=file.parent, repository="/".join(repository), digest=digest, tag=tag)


def _blobs_of(manifest: Path) -> frozenset[str]:
    """The blobs that a manifest refers to; none when its file is missing or damaged."""
    try:
        content = json.loads(manifest.read_bytes())
        return frozenset(one["digest"] for one in (content["config"], *content["layers"]))
    except (FileNotFoundError, ValueError, KeyError):
        return frozenset()


def _blob(digest: str) -> Path:
    algorithm, _, name = digest.partition(":")
    return registry_folder() / "blobs" / algorithm / name[:2] / name


def _docker_images() -> dict[str, int]:
    filters = [word for name in (DOCKER_NODE, DOCKER_STORE) for word in ("--filter", f"reference={name}")]
    template = "{{.Repository}}:{{.Tag}}"
    names = docker(["image", "ls", *filters, "--format", template], what="list images").split()
    if not names:
        return {}
    sizes = docker(["image", "inspect", "--format", "{{.Size}}", *names], what="get the sizes of images").split()
    return dict(zip(names, map(int, sizes), strict=True))


def _sizes(paths: Iterator[Path] | Sequence[Path]) -> dict[Path, int]:
    return {path: _size(path) for path in paths}


def _size(path: Path) -> int:
    """Bytes that deleting ``path`` frees. A file with further hard links, such as into uv's cache, frees none."""
    if path.is_dir() and not path.is_symlink():
        return sum(_size(one) for one in path.iterdir())
    status = path.lstat()
    return status.st_size if status.st_nlink == 1 else 0


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _access_error(verb: str, error: OSError) -> PlatformError:
    return PlatformError(
        f"cannot {verb} {error.filename}: {error.strerror}",
        remedy="give this user access (the image store writes as the user who created it), and prune again",
    )
