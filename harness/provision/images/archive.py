"""Carrying images to another machine: an OCI image layout in one tar archive, out of one store and into another.

What is loaded is known there by its inputs, so that building the same stack afterwards makes nothing.
"""

from __future__ import annotations

import io
import json
import platform as machine
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trivet.errors import PlatformError, UsageError
from trivet.provision.images.build import (
    ARCHITECTURES,
    INPUTS,
    MADE_BY,
    LoadResult,
    Record,
    build,
    states,
    step,
    write_record,
)
from trivet.provision.images.docker import docker
from trivet.provision.images.names import Reference, parse_reference
from trivet.provision.images.recipes import STORE, ImageSet
from trivet.provision.images.registry import MANIFEST, ImageManifest, ImageRegistry
from trivet.provision.images.store import LAYERS, building, images_home, open_store
from trivet.provision.images.tars import EPOCH, digest_of

NAME = "org.opencontainers.image.ref.name"
SET = "dev.trivet.set"
"""The annotation of an archive's index that says which set the images were."""


class _Stream(io.RawIOBase):
    """A blob's pieces as the file that a tar archive copies from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        wanted, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return wanted


@building()
def save(images: ImageSet, archive: Path, *, told: LoadResult = lambda _: None) -> int:
    """Write all images of the set to ``archive`` and return its size in bytes. Raises UsageError when some are not built yet."""
    missing = [str(state.image.reference) for state in states(images) if not state.present]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(images.images)} images are not built, such as {missing[0]}",
            remedy="build them first: trivet images build",
        )
    registry = build(images, told=told).registry
    manifests = {
        image.reference: found
        for image in images.images
        if (found := registry.manifest(f"{images.key}/{image.reference.path}", image.reference.tag))
    }
    unfinished = archive.with_name(f"{archive.name}.unfinished")
    try:
        with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
            _write_layout(tar, images, manifests)
            written: set[str] = set()
            for reference, manifest in manifests.items():
                with step(str(reference), told) as ended:
                    size = 0
                    path = f"{images.key}/{reference.path}"
                    for descriptor in (manifest.content["config"], *manifest.content["layers"]):
                        if descriptor["digest"] not in written:
                            written.add(descriptor["digest"])
                            size += descriptor["size"]
                            content = _Stream(registry.blob(path, descriptor["digest"]))
                            _add(tar, _blob(descriptor["digest"]), content, descriptor["size"])
                    ended(size)
        unfinished.replace(archive)
    except OSError as error:
        raise PlatformError(f"could not write {archive}: {error}", remedy="name a place with more space") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return archive.stat().st_size


@building()
def load(archive: Path, *, told: LoadResult = lambda _: None) -> list[str]:
    """Put the images of ``archive`` into this machine's store and return their names. Raises UsageError for a file that is no such
    archive, is cut off, or holds images for another kind of machine."""
    with _opened(archive) as tar:
        index = _json(tar, "index.json", archive)
        entries = [_Entry.read(tar, descriptor, archive) for descriptor in index["manifests"]]
        keeper = next((entry for entry in entries if entry.reference.path == STORE), None)
        if keeper is None:
            raise UsageError(f"{archive} holds no image store", remedy="make it with: trivet images save")
        _check_machine(tar, keeper, archive)
        (keeper_layer,) = keeper.content["layers"]

        def make_store_image(tag: str) -> None:
            with _extracted(tar, keeper_layer["digest"], archive) as file:
                docker(["import", str(file), tag], what="give Docker the image store's image")

        store = open_store(keeper.content["annotations"][INPUTS], make_store_image)
        for entry in entries:
            with step(str(entry.reference), told) as ended:
                ended(_load_image(tar, entry, index["annotations"][SET], store.registry, archive))
    return [str(entry.reference) for entry in entries]


@dataclass(frozen=True, kw_only=True)
class _Entry:
    reference: Reference
    content: Mapping[str, Any]
    raw: bytes

    @classmethod
    def read(cls, tar: tarfile.TarFile, descriptor: Mapping[str, Any], archive: Path) -> _Entry:
        raw = _read(tar, _blob(descriptor["digest"]), archive)
        return cls(reference=parse_reference(descriptor["annotations"][NAME]), content=json.loads(raw), raw=raw)


def _load_image(tar: tarfile.TarFile, entry: _Entry, key: str, registry: ImageRegistry, archive: Path) -> int:
    path = f"{key}/{entry.reference.path}"
    pushed = 0
    for layer in entry.content["layers"]:
        digest, size = layer["digest"], layer["size"]
        if not registry.has_blob(LAYERS, digest):
            with _extracted(tar, digest, archive) as file:
                registry.push_blob(LAYERS, file, digest_of(file))
            pushed += size
        notes = layer["annotations"]
        write_record(notes[INPUTS], Record(digest=digest, size=size, made_by=json.loads(notes[MADE_BY])))
        registry.mount_blob(path, digest, LAYERS)
    config = entry.content["config"]["digest"]
    registry.push_bytes(path, _read(tar, _blob(config), archive), config)
    registry.put_manifest(path, entry.reference.tag, entry.raw)
    return pushed


def _write_layout(tar: tarfile.TarFile, images: ImageSet, manifests: Mapping[Reference, ImageManifest]) -> None:
    descriptors = [
        {
            "mediaType": MANIFEST,
            "digest": manifest.digest,
            "size": len(manifest.raw),
            "annotations": {NAME: str(reference)},
        }
        for reference, manifest in manifests.items()
    ]
    index = {"schemaVersion": 2, "manifests": descriptors, "annotations": {SET: images.key}}
    for name, content in (
        ("oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode()),
        ("index.json", json.dumps(index).encode()),
        *((_blob(manifest.digest), manifest.raw) for manifest in manifests.values()),
    ):
        _add(tar, name, io.BytesIO(content), len(content))


def _check_machine(tar: tarfile.TarFile, entry: _Entry, archive: Path) -> None:
    held = json.loads(_read(tar, _blob(entry.content["config"]["digest"]), archive))["architecture"]
    here = ARCHITECTURES.get(machine.machine(), machine.machine())
    if held != here:
        raise UsageError(
            f"{archive} holds images for {held}, this machine is {here}", remedy="save them on such a machine"
        )


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, "r:") as tar:
            yield tar
    except FileNotFoundError as error:
        raise UsageError(f"{archive} does not exist", remedy="make it with: trivet images save FILE") from error
    except (tarfile.TarError, EOFError) as error:
        raise UsageError(
            f"{archive} is not an archive of images, or is cut off: {error}", remedy="copy it again, uncompressed"
        ) from error


@contextmanager
def _extracted(tar: tarfile.TarFile, digest: str, archive: Path) -> Iterator[Path]:
    """A blob as a file of its own, for as long as the block."""
    place = images_home() / "work" / f"load-{digest[7:19]}.blob"
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _member(tar, _blob(digest), archive) as content, place.open("wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
        if digest_of(place).digest != digest:
            raise UsageError(f"{archive} is damaged: {digest} is another content", remedy="copy it again")
        yield place
    finally:
        place.unlink(missing_ok=True)


def _member(tar: tarfile.TarFile, name: str, archive: Path) -> IO[bytes]:
    try:
        content = tar.extractfile(name)
    except KeyError:
        content = None
    if content is None:
        raise UsageError(
            f"{archive} is not an archive of images: no {name} in it", remedy="copy it again, uncompressed"
        )
    return content


def _read(tar: tarfile.TarFile, name: str, archive: Path) -> bytes:
    with _member(tar, name, archive) as content:
        return content.read()


def _json(tar: tarfile.TarFile, name: str, archive: Path) -> Any:
    return json.loads(_read(tar, name, archive))


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes] | io.RawIOBase, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, EPOCH
    tar.addfile(info, content)


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
