"""What the image store, its cache and Docker hold that nobody needs any more: found, and removed.

The registry's own garbage collection is not used. It takes a blob for garbage to which no manifest refers, and the layers of a set that
is not put together yet are just that; and it leaves the names of the sets that are gone. With builders kept away (``store.pruning``)
nothing writes into the registry's folder, so that it may run on: clusters are not disturbed.
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
from trivet.provision.images.build import read_record
from trivet.provision.images.docker import docker
from trivet.provision.images.recipes import NODE, STORE, GoLayer, ImageSet, inputs_of
from trivet.provision.images.store import DOCKER_NODE, DOCKER_STORE, LAYERS, docker_name, images_home, registry_folder
from trivet.stacks.environments import environments
from trivet.stacks.environments import remove as remove_environment

Name = TypeVar("Name")


@dataclass(frozen=True, kw_only=True)
class CacheLink:
    """A folder by which a repository of the registry names a blob; ``tag`` where it is what a tag stands for now."""

    place: Path
    repository: str
    digest: str
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What there is. Numbers are bytes.

    ``manifests`` says which blobs a manifest refers to, ``records`` which blob a layer's inputs came to (none where it cannot be read),
    ``work`` holds what builders left, ``images`` those of Docker that are ours, ``used`` the names of all that containers were made from.
    """

    links: Sequence[CacheLink] = ()
    manifests: Mapping[str, frozenset[str]] = field(default_factory=dict)
    blobs: Mapping[str, int] = field(default_factory=dict)
    uploads: Mapping[Path, int] = field(default_factory=dict)
    records: Mapping[str, str] = field(default_factory=dict)
    work: Mapping[Path, int] = field(default_factory=dict)
    programs: Mapping[Path, int] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)
    used: Collection[str] = ()
    environments: Mapping[Path, int] = field(default_factory=dict)
    run_under_way: bool = False


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What stays: image sets, sets named by their ``keys`` whatever recipes say of them now, programs for this machine, environments."""

    sets: Sequence[ImageSet] = ()
    keys: Collection[str] = ()
    programs: Sequence[GoLayer] = ()
    environments: Collection[Path] = ()

    @property
    def layers(self) -> frozenset[str]:
        """The inputs of every layer of the sets."""
        return frozenset(inputs_of(layer) for one in self.sets for image in one.images for layer in image.layers)


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """What goes. ``sets`` are the keys of those that go as a whole. While a run is under way no program and no environment does."""

    sets: Sequence[str]
    links: Sequence[CacheLink]
    blobs: Mapping[str, int]
    records: Sequence[str]
    images: Mapping[str, int]
    environments: Mapping[Path, int]
    uploads: Mapping[Path, int]
    work: Mapping[Path, int]
    programs: Mapping[Path, int]
    run_under_way: bool

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        parts = (self.blobs, self.images, self.environments, self.uploads, self.work, self.programs)
        return sum(size for part in parts for size in part.values())


def garbage(held: Held, needed: Needed) -> Garbage:
    """What of ``held`` is not needed. Builders must be kept away from before ``held`` was found: their uploads are all left over."""
    names = {(f"{one.key}/{image.reference.path}", image.reference.tag) for one in needed.sets for image in one.images}
    kept: dict[str, set[str]] = defaultdict(set)
    for link in held.links:
        if link.tag and ((link.repository, link.tag) in names or _set(link.repository) in needed.keys):
            kept[link.repository] |= {link.digest, *held.manifests.get(link.digest, ())}
    layers = needed.layers
    built = {digest for inputs, digest in held.records.items() if inputs in layers and digest}
    kept[LAYERS] = built.union(*kept.values())
    stay = {*needed.keys, *(one.key for one in needed.sets), _set(LAYERS)}
    programs = {inputs_of(layer)[:24] for layer in needed.programs}
    ours = {
        docker_name(name, one.one(path).inputs)
        for one in needed.sets
        for name, path in ((DOCKER_NODE, NODE), (DOCKER_STORE, STORE))
        if any(image.reference.path == path for image in one.images)
    }
    return Garbage(
        sets=sorted({_set(link.repository) for link in held.links} - stay),
        links=[link for link in held.links if link.digest not in kept[link.repository]],
        blobs=_without(held.blobs, set().union(*kept.values())),
        records=[
            inputs for inputs, digest in held.records.items() if inputs not in layers and digest not in kept[LAYERS]
        ],
        images=_without(held.images, ours | set(held.used)),
        environments={} if held.run_under_way else _without(held.environments, needed.environments),
        uploads=held.uploads,
        work={path: size for path, size in held.work.items() if path.name.partition(".")[0] not in layers},
        programs={
            path: size for path, size in held.programs.items() if path.name not in programs and not held.run_under_way
        },
        run_under_way=held.run_under_way,
    )


def look(*, run_under_way: bool) -> Held:
    """What there is now. Raises DockerError without Docker, PlatformError for what cannot be read."""
    try:
        links = list(_links(registry_folder() / "repositories"))
        manifests = {link.digest for link in links if "_manifests" in link.place.parts}
        home = images_home()
        return Held(
            links=links,
            manifests={digest: _referred(_blob(digest) / "data") for digest in manifests},
            blobs={
                f"{path.parts[-4]}:{path.parent.name}": path.stat().st_size
                for path in registry_folder().glob("blobs/*/*/*/data")
            },
            uploads=_sizes((registry_folder() / "repositories").rglob("_uploads/*")),
            records={
                file.stem: record.digest if (record := read_record(file.stem)) else ""
                for file in (home / "layers").glob("*.json")
            },
            work=_sizes((home / "work").glob("*")),
            programs=_sizes((home / "programs").glob("*")),
            images=_docker_images(),
            used=set(docker(["ps", "--all", "--format", "{{.Image}}"], what="list containers").splitlines()),
            environments=_sizes(environments()),
            run_under_way=run_under_way,
        )
    except OSError as error:
        raise _no_access("read", error) from error


def remove(gone: Garbage) -> None:
    """Remove it, names before what they stand for: after an interruption the next prune finds the rest."""
    try:
        for key in gone.sets:
            _delete(registry_folder() / "repositories" / key)
        for place in (*(link.place for link in gone.links), *gone.uploads):
            _delete(place)
        for inputs in gone.records:
            (images_home() / "layers" / f"{inputs}.json").unlink(missing_ok=True)
        for place in (*map(_blob, gone.blobs), *gone.work, *gone.programs):
            _delete(place)
        if gone.images:
            docker(["rmi", *gone.images], what="remove images that no stack needs")
        for folder in gone.environments:
            remove_environment(folder)
    except OSError as error:
        raise _no_access("remove", error) from error


def _set(repository: str) -> str:
    return repository.partition("/")[0]


def _without(there: Mapping[Name, int], needed: Collection[Name]) -> dict[Name, int]:
    return {name: size for name, size in there.items() if name not in needed}


def _links(repositories: Path) -> Iterator[CacheLink]:
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
        yield CacheLink(place=file.parent, repository="/".join(repository), digest=digest, tag=tag)


def _referred(manifest: Path) -> frozenset[str]:
    """The blobs of a manifest; none when the registry has lost it."""
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
    form = "{{.Repository}}:{{.Tag}}"
    names = docker(["image", "ls", *filters, "--format", form], what="list Docker's images").split()
    if not names:
        return {}
    sizes = docker(["image", "inspect", "--format", "{{.Size}}", *names], what="ask how large images are").split()
    return dict(zip(names, map(int, sizes), strict=True))


def _sizes(places: Iterator[Path] | Sequence[Path]) -> dict[Path, int]:
    return {place: _size(place) for place in places}


def _size(place: Path) -> int:
    """Bytes that are free once ``place`` is gone: a file with another name elsewhere, such as in uv's cache, frees none."""
    if place.is_dir() and not place.is_symlink():
        return sum(_size(one) for one in place.iterdir())
    found = place.lstat()
    return found.st_size if found.st_nlink == 1 else 0


def _delete(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _no_access(verb: str, error: OSError) -> PlatformError:
    return PlatformError(
        f"could not {verb} {error.filename}: {error.strerror}",
        remedy="let this user have it (the image store writes as the user who made it), and prune again",
    )
