"""Builds a stack's images into the store. Layers that the store has are reused, found by the digest of their inputs; missing ones are built
in parallel where possible.

Safe against kill -9 and concurrent builds: a layer is built under a file lock, and exists once its blob is in the registry and its record
is on disk; an image exists once its manifest is in the registry.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform as machine
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trivet.errors import PlatformError
from trivet.provision.docker import docker
from trivet.provision.images.layers import BuildContext, compile_programs, make_layer
from trivet.provision.images.recipes import STORE, GoLayer, Image, ImageSet, Layer, RoleLayer, inputs_digest, title_of
from trivet.provision.images.registry import CONFIG, LAYER, MANIFEST, ImageManifest, ImageRegistry
from trivet.provision.images.store import (
    DOCKER_NODE,
    LAYERS,
    Store,
    docker_name,
    images_home,
    open_store,
    running_store,
    shared_lock,
)
from trivet.provision.images.tars import EPOCH, describe_file

INPUTS = "dev.trivet.inputs"
"""The annotation of manifests and layer descriptors with the digest of their inputs."""

MADE_BY = "dev.trivet.made-by"
"""The annotation of layer descriptors with the versions of tools and packages they were built with."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""``platform.machine()`` → the architecture's name in OCI images."""


@dataclass(frozen=True, kw_only=True)
class StepStarted:
    """The build of a layer or an image starts."""

    name: str


@dataclass(frozen=True, kw_only=True)
class StepEnded:
    """The build of a layer or an image ends. ``size`` is in bytes; ``failure`` is one line, empty when the step succeeded."""

    name: str
    seconds: float
    size: int = 0
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class StepNote:
    """A note from inside a step, such as "waiting for another build"."""

    text: str


StepEvent = StepStarted | StepEnded | StepNote
OnStep = Callable[[StepEvent], None]


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """A layer in the store: its blob, and the versions of tools and packages it was built with."""

    digest: str
    size: int
    made_by: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ImageState:
    """An image, whether the store has all of its layers, and their total size in bytes."""

    image: Image
    present: bool
    size: int = 0


def image_states(images: ImageSet) -> list[ImageState]:
    """Which images of the set are in the store. Builds nothing. Raises DockerError when Docker is not available."""
    store = running_store()
    return [_state(image, images.key, store) for image in images.images]


@shared_lock()
def build(
    images: ImageSet,
    *,
    only: Sequence[Image] | None = None,
    on_step: OnStep = lambda _: None,
    stop: threading.Event | None = None,
) -> Store:
    """Build the missing images of the set (or of ``only``) and return the store that has them.

    Raises PlatformError for the first step that fails, with its name and log, after the other steps have been stopped; finished layers
    are kept. Setting ``stop`` stops the build, which then raises PlatformError.
    """
    stop = stop or threading.Event()
    _delete_unfinished()
    store_image = images.image(STORE)

    def make_store_image(tag: str) -> None:
        (layer,) = store_image.layers
        with layer_lock(layer, on_step, stop):
            archive, _ = layer_archive(layer, on_step, stop)
            docker(["import", str(archive), tag], what="import the image store's image into Docker")

    store = open_store(store_image.inputs, make_store_image)
    missing = [image for image in only or images.images if not _current_manifest(image, images.key, store.registry)]
    _build_all(missing, images.key, store, on_step, stop)
    return store


def node_image(images: ImageSet, store: Store, image: Image) -> str:
    """The name of the set's node image in Docker, pulled from the store when Docker does not have it."""
    name = docker_name(DOCKER_NODE, image.inputs)
    if not docker(["image", "ls", "--quiet", name], what="list images"):
        source = f"127.0.0.1:{store.port}/{images.key}/{image.reference.path}:{image.reference.tag}"
        docker(["pull", "--quiet", source], what=f"pull {image.reference} from the image store")
        docker(["tag", source, name], what="tag the node image")
        docker(["rmi", source], what="remove the second tag of the node image")
    return name


def role_images(images: ImageSet) -> dict[str, str]:
    """Role → the name of the built image with its environment."""
    return {
        layer.role.name: str(image.reference)
        for image in images.images
        for layer in image.layers
        if isinstance(layer, RoleLayer)
    }


def build_program(layer: GoLayer, *, on_step: OnStep = lambda _: None, stop: threading.Event | None = None) -> Path:
    """The single program of a Go layer as an executable file for this machine, built once and cached."""
    stop = stop or threading.Event()
    (path,) = layer.programs.values()
    cached = images_home() / "programs" / inputs_digest(layer)[:24] / path.rsplit("/", 1)[1]
    with layer_lock(layer, on_step, stop):
        if not cached.is_file():
            with report_step(f"{title_of(layer)} for this machine", on_step) as set_size:
                context = _build_context(layer, on_step, stop)
                (built,) = compile_programs(layer, context.folder, log=context.log, stop=stop).values()
                cached.parent.mkdir(parents=True, exist_ok=True)
                built.replace(cached)
                shutil.rmtree(context.folder)
                set_size(cached.stat().st_size)
    return cached


def _state(image: Image, key: str, store: Store | None) -> ImageState:
    if store is None:
        return ImageState(image=image, present=False)
    if manifest := _current_manifest(image, key, store.registry):
        return ImageState(image=image, present=True, size=sum(layer["size"] for layer in manifest.content["layers"]))
    records = [read_layer_record(inputs_digest(layer)) for layer in image.layers]
    stored = [record for record in records if record and store.registry.has_blob(LAYERS, record.digest)]
    complete = len(stored) == len(records)
    return ImageState(image=image, present=complete, size=sum(record.size for record in stored) if complete else 0)


def _current_manifest(image: Image, key: str, registry: ImageRegistry) -> ImageManifest | None:
    """The manifest of an image in the set; None when there is none, or it was built from another recipe."""
    manifest = registry.manifest(f"{key}/{image.reference.path}", image.reference.tag)
    return manifest if manifest and manifest.content.get("annotations", {}).get(INPUTS) == image.inputs else None


def _build_all(missing: Sequence[Image], key: str, store: Store, on_step: OnStep, stop: threading.Event) -> None:
    layers = {inputs_digest(layer): layer for image in missing for layer in image.layers}
    waiting = list(missing)
    done: dict[str, LayerRecord] = {}
    # One Go build keeps all cores busy. Steps that wait for the network or for dpkg run beside it.
    with ThreadPoolExecutor(1) as compilers, ThreadPoolExecutor(2) as others:
        running: dict[Future[LayerRecord], str] = {
            (compilers if isinstance(layer, GoLayer) else others).submit(
                _ensure_layer, layer, store, on_step, stop
            ): inputs
            for inputs, layer in layers.items()
        }
        try:
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    done[running.pop(future)] = future.result()
                for image in [one for one in waiting if all(inputs_digest(layer) in done for layer in one.layers)]:
                    waiting.remove(image)
                    assemble_image(
                        image, [done[inputs_digest(layer)] for layer in image.layers], key, store.registry, on_step
                    )
        except BaseException:
            stop.set()
            for future in running:
                future.cancel()
            raise


def _ensure_layer(layer: Layer, store: Store, on_step: OnStep, stop: threading.Event) -> LayerRecord:
    """The record of a layer in the store; the layer is built and pushed when the store does not have it."""
    inputs = inputs_digest(layer)
    with layer_lock(layer, on_step, stop):
        if (existing := read_layer_record(inputs)) and store.registry.has_blob(LAYERS, existing.digest):
            return existing
        archive, made_by = layer_archive(layer, on_step, stop)
        descriptor = describe_file(archive)
        store.registry.push_blob(LAYERS, archive, descriptor)
        record = LayerRecord(digest=descriptor.digest, size=descriptor.size, made_by=made_by)
        write_layer_record(inputs, record)
        delete_archive(archive)
        return record


def assemble_image(
    image: Image, records: Sequence[LayerRecord], key: str, registry: ImageRegistry, on_step: OnStep
) -> None:
    """Push the config and manifest of an image whose layers are in the store, under its upstream name in the set ``key``."""
    path = f"{key}/{image.reference.path}"
    with report_step(str(image.reference), on_step) as set_size:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))
        config = {
            "architecture": ARCHITECTURES.get(machine.machine(), machine.machine()),
            "os": "linux",
            "created": created,
            "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": [record.digest for record in records]},
            "history": [{"created": created, "created_by": f"trivet: {title_of(layer)}"} for layer in image.layers],
        }
        raw = json.dumps(config).encode()
        for record in records:
            if not registry.mount_blob(path, record.digest, LAYERS):
                raise PlatformError(
                    f"the image store no longer has a layer of {image.reference}",
                    remedy="build it again: trivet images build",
                )
        config_digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        registry.push_bytes(path, raw, config_digest)
        descriptors = [
            {
                "mediaType": LAYER,
                "digest": record.digest,
                "size": record.size,
                "annotations": {INPUTS: inputs_digest(layer), MADE_BY: json.dumps(record.made_by)},
            }
            for layer, record in zip(image.layers, records, strict=True)
        ]
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config_digest, "size": len(raw)},
            "layers": descriptors,
            "annotations": {INPUTS: image.inputs, **({"dev.trivet.note": image.note} if image.note else {})},
        }
        registry.put_manifest(path, image.reference.tag, json.dumps(manifest).encode())
        set_size(sum(record.size for record in records))


def read_layer_record(inputs: str) -> LayerRecord | None:
    """The record of a layer that was built before; None when there is none, or it is unreadable."""
    try:
        content = json.loads((images_home() / "layers" / f"{inputs}.json").read_bytes())
        return LayerRecord(digest=content["digest"], size=content["size"], made_by=content["made_by"])
    except (OSError, ValueError, KeyError):
        return None


def write_layer_record(inputs: str, record: LayerRecord) -> None:
    """Write the record of a layer in the store."""
    _write(
        images_home() / "layers" / f"{inputs}.json",
        {"digest": record.digest, "size": record.size, "made_by": dict(record.made_by)},
    )


def layer_archive(layer: Layer, on_step: OnStep, stop: threading.Event) -> tuple[Path, Mapping[str, str]]:
    """The archive of a layer, built now unless an earlier run left it complete, and the versions of tools and packages it was built with.

    The caller holds :func:`layer_lock`.
    """
    archive = images_home() / "work" / f"{inputs_digest(layer)}.tar"
    note = archive.with_suffix(".json")
    if not note.is_file():
        with report_step(title_of(layer), on_step) as set_size:
            context = _build_context(layer, on_step, stop)
            fresh, made_by = make_layer(layer, context)
            fresh.replace(archive)
            shutil.rmtree(context.folder)
            _write(note, dict(made_by))
            set_size(archive.stat().st_size)
    return archive, json.loads(note.read_bytes())


def delete_archive(archive: Path) -> None:
    """Delete an archive returned by :func:`layer_archive`."""
    archive.with_suffix(".json").unlink()
    archive.unlink()


def _build_context(layer: Layer, on_step: OnStep, stop: threading.Event) -> BuildContext:
    folder = images_home() / "work" / inputs_digest(layer)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = images_home() / "logs" / f"{re.sub(r'[^a-z0-9.]+', '-', title_of(layer).lower()).strip('-')[:80]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    return BuildContext(folder=folder, log=log, progress=lambda text: on_step(StepNote(text=text)), stop=stop)


@contextmanager
def layer_lock(layer: Layer, on_step: OnStep, stop: threading.Event) -> Iterator[None]:
    """The exclusive lock for building one layer and for using its archive."""
    folder = images_home() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{inputs_digest(layer)}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_step(StepNote(text=f"waiting for another process that builds {title_of(layer)}"))
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0.5)
            except Timeout:
                if stop.is_set():
                    raise PlatformError(
                        f"cannot build {title_of(layer)}: another process is building it, and the run is stopping"
                    ) from None
    try:
        if stop.is_set():
            raise PlatformError(f"cannot build {title_of(layer)}: the run is stopping")
        with shared_lock():
            yield
    finally:
        lock.release()


@contextmanager
def report_step(name: str, on_step: OnStep) -> Iterator[Callable[[int], None]]:
    """Report the start and the end of the block as a step. The block gets a function to set the size of its result in bytes."""
    started = time.monotonic()
    size = 0

    def set_size(value: int) -> None:
        nonlocal size
        size = value

    on_step(StepStarted(name=name))
    try:
        yield set_size
    except BaseException as error:
        message = (str(error) or type(error).__name__).splitlines()[0]
        on_step(StepEnded(name=name, seconds=time.monotonic() - started, failure=message))
        raise
    on_step(StepEnded(name=name, seconds=time.monotonic() - started, size=size))


def _delete_unfinished() -> None:
    """Delete unfinished work of processes that were killed; work in progress is locked."""
    for folder in (images_home() / "work").glob("*/"):
        lock = FileLock(images_home() / "locks" / f"{folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    unfinished.replace(file)
