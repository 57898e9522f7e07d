"""Saves the images of a stack to an archive, an OCI image layout in one tar file, and loads such an archive into another machine's store.

Loaded layers keep the digests of their inputs, so a later build of the same stack has nothing to build.
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
from trivet.provision.docker import docker
from trivet.provision.images.build import (
    ARCHITECTURES,
    INPUTS,
    MADE_BY,
    LayerRecord,
    OnStep,
    build,
    image_states,
    report_step,
    write_layer_record,
)
from trivet.provision.images.names import Reference, parse_reference
from trivet.provision.images.recipes import STORE, ImageSet
from trivet.provision.images.registry import MANIFEST, ImageManifest, ImageRegistry
from trivet.provision.images.store import LAYERS, images_home, open_store, shared_lock
from trivet.provision.images.tars import EPOCH, describe_file

NAME = "org.opencontainers.image.ref.name"
SET = "dev.trivet.set"
"""The annotation of an archive's index with the key of the image set."""


class _Stream(io.RawIOBase):
    """A blob's chunks as a readable file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._buffer) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._buffer += chunk
        content, self._buffer = (self._buffer, b"") if size < 0 else (self._buffer[:size], self._buffer[size:])
        return content


@shared_lock()
def save(images: ImageSet, archive: Path, *, on_step: OnStep = lambda _: None) -> int:
    """Write all images of the set to ``archive`` and return its size in bytes.

    Raises UsageError when an image is not built yet, PlatformError when the file cannot be written.
    """
    missing = [str(state.image.reference) for state in image_states(images) if not state.present]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(images.images)} images are not built, such as {missing[0]}",
            remedy="build them: trivet images build",
        )
    registry = build(images, on_step=on_step).registry
    manifests = {
        image.reference: manifest
        for image in images.images
        if (manifest := registry.manifest(f"{images.key}/{image.reference.path}", image.reference.tag))
    }
    unfinished = archive.with_name(f"{archive.name}.unfinished")
    try:
        with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
            _write_layout(tar, images, manifests)
            written: set[str] = set()
            for reference, manifest in manifests.items():
                with report_step(str(reference), on_step) as set_size:
                    size = 0
                    path = f"{images.key}/{reference.path}"
                    for descriptor in (manifest.content["config"], *manifest.content["layers"]):
                        if descriptor["digest"] not in written:
                            written.add(descriptor["digest"])
                            size += descriptor["size"]
                            content = _Stream(registry.blob(path, descriptor["digest"]))
                            _add(tar, _blob(descriptor["digest"]), content, descriptor["size"])
                    set_size(size)
        unfinished.replace(archive)
    except OSError as error:
        raise PlatformError(
            f"cannot write {archive}: {error}", remedy="write to a disk with more free space"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return archive.stat().st_size


@shared_lock()
def load(archive: Path, *, on_step: OnStep = lambda _: None) -> list[str]:
    """Load the images of ``archive`` into this machine's store and return their names.

    Raises UsageError for a file that is not such an archive, is truncated, or has images of another architecture.
    """
    with _opened(archive) as tar:
        index = _json(tar, "index.json", archive)
        entries = [_Entry.read(tar, descriptor, archive) for descriptor in index["manifests"]]
        store_image = next((entry for entry in entries if entry.reference.path == STORE), None)
        if store_image is None:
            raise UsageError(f"{archive} has no image store", remedy="create it with: trivet images save")
        _check_machine(tar, store_image, archive)
        (store_layer,) = store_image.content["layers"]

        def make_store_image(tag: str) -> None:
            with _extracted(tar, store_layer["digest"], archive) as file:
                docker(["import", str(file), tag], what="import the image store's image into Docker")

        store = open_store(store_image.content["annotations"][INPUTS], make_store_image)
        for entry in entries:
            with report_step(str(entry.reference), on_step) as set_size:
                set_size(_load_image(tar, entry, index["annotations"][SET], store.registry, archive))
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
                registry.push_blob(LAYERS, file, describe_file(file))
            pushed += size
        annotations = layer["annotations"]
        record = LayerRecord(digest=digest, size=size, made_by=json.loads(annotations[MADE_BY]))
        write_layer_record(annotations[INPUTS], record)
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
    images = json.loads(_read(tar, _blob(entry.content["config"]["digest"]), archive))["architecture"]
    here = ARCHITECTURES.get(machine.machine(), machine.machine())
    if images != here:
        raise UsageError(
            f"{archive} has images for {images}, and this machine is {here}",
            remedy=f"save them on a machine with {here}",
        )


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, "r:") as tar:
            yield tar
    except FileNotFoundError as error:
        raise UsageError(f"{archive} does not exist", remedy="create it with: trivet images save FILE") from error
    except (tarfile.TarError, EOFError) as error:
        raise UsageError(
            f"{archive} is not an archive of images, or is truncated: {error}", remedy="copy it again, uncompressed"
        ) from error


@contextmanager
def _extracted(tar: tarfile.TarFile, digest: str, archive: Path) -> Iterator[Path]:
    """A blob as a temporary file, deleted after the block."""
    path = images_home() / "work" / f"load-{digest[7:19]}.blob"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _member(tar, _blob(digest), archive) as content, path.open("wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
        if (actual := describe_file(path).digest) != digest:
            raise UsageError(f"{archive} is damaged: the digest of {digest} is {actual}", remedy="copy it again")
        yield path
    finally:
        path.unlink(missing_ok=True)


def _member(tar: tarfile.TarFile, name: str, archive: Path) -> IO[bytes]:
    try:
        content = tar.extractfile(name)
    except KeyError:
        content = None
    if content is None:
        raise UsageError(
            f"{archive} is not an archive of images: it has no {name}", remedy="copy it again, uncompressed"
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
