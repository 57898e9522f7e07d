"""Building a stack's images into the store: what is there is found by its inputs, what is missing is made, side by side where possible.

Safe against kill -9 and against a second builder: a layer is made under a file lock, and counts once its blob is in the registry and its
record in place; an image counts once its manifest is.
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
from trivet.provision.images.docker import docker
from trivet.provision.images.layers import Bench, build_programs, make_layer
from trivet.provision.images.recipes import STORE, GoLayer, Image, ImageSet, Layer, inputs_of, title_of
from trivet.provision.images.registry import CONFIG, LAYER, MANIFEST, ImageManifest, ImageRegistry
from trivet.provision.images.store import (
    DOCKER_NODE,
    LAYERS,
    Store,
    building,
    docker_name,
    images_home,
    open_store,
    running_store,
)
from trivet.provision.images.tars import EPOCH, digest_of

INPUTS = "dev.trivet.inputs"
"""The annotation of manifests and of layers in them that says what they were made from."""

MADE_BY = "dev.trivet.made-by"
"""The annotation of layers that says by which versions of tools and packages they were made."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Python's words for machines in those of images."""


@dataclass(frozen=True, kw_only=True)
class StepStarted:
    """A layer or an image begins to be made."""

    name: str


@dataclass(frozen=True, kw_only=True)
class StepEnded:
    """It is made, of so many bytes; ``failure`` is empty, or says in one line why it is not."""

    name: str
    seconds: float
    size: int = 0
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Said:
    """A sentence from inside a step, such as that it waits for another builder."""

    text: str


LoadResult = Callable[[StepStarted | StepEnded | Said], None]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A layer in the store."""

    digest: str
    size: int
    made_by: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ImageState:
    """An image and whether the store has all of its layers, of so many bytes together."""

    image: Image
    present: bool
    size: int = 0


def states(images: ImageSet) -> list[ImageState]:
    """Which images of the set are in the store. Builds nothing. Raises DockerError without Docker."""
    store = running_store()
    return [_state(image, images.key, store) for image in images.images]


@building()
def build(
    images: ImageSet,
    *,
    only: Sequence[Image] | None = None,
    told: LoadResult = lambda _: None,
    stop: threading.Event | None = None,
) -> Store:
    """Make what is missing of the set (or of ``only``) and return the store that has it all.

    Raises PlatformError for the first step that fails, naming it and its log, once the others have been ended; what was finished is
    kept. Setting ``stop`` makes it raise soon.
    """
    stop = stop or threading.Event()
    _sweep()
    keeper = images.one(STORE)

    def make_store_image(tag: str) -> None:
        (layer,) = keeper.layers
        with only_builder(layer, told, stop):
            archive, _ = made(layer, told, stop)
            docker(["import", str(archive), tag], what="give Docker the image store's image")

    store = open_store(keeper.inputs, make_store_image)
    wanted = [image for image in only or images.images if not _assembled(image, images.key, store.registry)]
    _make_all(wanted, images.key, store, told, stop)
    return store


def node_image(images: ImageSet, store: Store, image: Image) -> str:
    """The name under which Docker has the node's image of the set, pulled from the store if need be."""
    name = docker_name(DOCKER_NODE, image.inputs)
    if not docker(["image", "ls", "--quiet", name], what="list Docker's images"):
        source = f"127.0.0.1:{store.port}/{images.key}/{image.reference.path}:{image.reference.tag}"
        docker(["pull", "--quiet", source], what=f"take {image.reference} from the image store")
        docker(["tag", source, name], what="name the node's image")
        docker(["rmi", source], what="name the node's image")
    return name


def program(layer: GoLayer, *, told: LoadResult = lambda _: None, stop: threading.Event | None = None) -> Path:
    """The one program of a Go layer as an executable file for this machine, built once."""
    stop = stop or threading.Event()
    (place,) = layer.programs.values()
    done = images_home() / "programs" / inputs_of(layer)[:24] / place.rsplit("/", 1)[1]
    with only_builder(layer, told, stop):
        if not done.is_file():
            with step(f"{title_of(layer)} for this machine", told) as ended:
                bench = _bench(layer, told, stop)
                (built,) = build_programs(layer, bench.folder, log=bench.log, stop=stop).values()
                done.parent.mkdir(parents=True, exist_ok=True)
                built.replace(done)
                shutil.rmtree(bench.folder)
                ended(done.stat().st_size)
    return done


def _state(image: Image, key: str, store: Store | None) -> ImageState:
    if store is None:
        return ImageState(image=image, present=False)
    if found := _assembled(image, key, store.registry):
        return ImageState(image=image, present=True, size=sum(layer["size"] for layer in found.content["layers"]))
    records = [read_record(inputs_of(layer)) for layer in image.layers]
    there = [record for record in records if record and store.registry.has_blob(LAYERS, record.digest)]
    complete = len(there) == len(records)
    return ImageState(image=image, present=complete, size=sum(record.size for record in there) if complete else 0)


def _assembled(image: Image, key: str, registry: ImageRegistry) -> ImageManifest | None:
    """The manifest of an image that is in the set, made from what its recipe says now."""
    found = registry.manifest(f"{key}/{image.reference.path}", image.reference.tag)
    return found if found and found.content.get("annotations", {}).get(INPUTS) == image.inputs else None


def _make_all(wanted: Sequence[Image], key: str, store: Store, told: LoadResult, stop: threading.Event) -> None:
    layers = {inputs_of(layer): layer for image in wanted for layer in image.layers}
    waiting = list(wanted)
    done: dict[str, Record] = {}
    # Go keeps every core busy by itself; what waits for the network and for dpkg goes beside it.
    with ThreadPoolExecutor(1) as compilers, ThreadPoolExecutor(2) as others:
        running: dict[Future[Record], str] = {
            (compilers if isinstance(layer, GoLayer) else others).submit(_ensure, layer, store, told, stop): inputs
            for inputs, layer in layers.items()
        }
        try:
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    done[running.pop(future)] = future.result()
                for image in [one for one in waiting if all(inputs_of(layer) in done for layer in one.layers)]:
                    waiting.remove(image)
                    assemble(image, [done[inputs_of(layer)] for layer in image.layers], key, store.registry, told)
        except BaseException:
            stop.set()
            for future in running:
                future.cancel()
            raise


def _ensure(layer: Layer, store: Store, told: LoadResult, stop: threading.Event) -> Record:
    """The record of a layer that is in the store, made now if it is not."""
    inputs = inputs_of(layer)
    with only_builder(layer, told, stop):
        if (found := read_record(inputs)) and store.registry.has_blob(LAYERS, found.digest):
            return found
        archive, made_by = made(layer, told, stop)
        written = digest_of(archive)
        store.registry.push_blob(LAYERS, archive, written)
        record = Record(digest=written.digest, size=written.size, made_by=made_by)
        write_record(inputs, record)
        forget(archive)
        return record


def assemble(image: Image, records: Sequence[Record], key: str, registry: ImageRegistry, told: LoadResult) -> None:
    """Put an image whose layers are in the store into a set, under its upstream name."""
    path = f"{key}/{image.reference.path}"
    with step(str(image.reference), told) as ended:
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
                    f"the image store lost a layer of {image.reference}", remedy="build again: trivet images build"
                )
        config_digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        registry.push_bytes(path, raw, config_digest)
        descriptors = [
            {
                "mediaType": LAYER,
                "digest": record.digest,
                "size": record.size,
                "annotations": {INPUTS: inputs_of(layer), MADE_BY: json.dumps(record.made_by)},
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
        ended(sum(record.size for record in records))


def read_record(inputs: str) -> Record | None:
    """What is known of a layer that was made once."""
    try:
        content = json.loads((images_home() / "layers" / f"{inputs}.json").read_bytes())
        return Record(digest=content["digest"], size=content["size"], made_by=content["made_by"])
    except (OSError, ValueError, KeyError):
        return None


def write_record(inputs: str, record: Record) -> None:
    """Remember a layer that is in the store."""
    _write(
        images_home() / "layers" / f"{inputs}.json",
        {"digest": record.digest, "size": record.size, "made_by": dict(record.made_by)},
    )


def made(layer: Layer, told: LoadResult, stop: threading.Event) -> tuple[Path, Mapping[str, str]]:
    """The finished archive of a layer, made now unless an earlier run left one; whoever holds :func:`only_builder` may use it."""
    archive = images_home() / "work" / f"{inputs_of(layer)}.tar"
    note = archive.with_suffix(".json")
    if not note.is_file():
        with step(title_of(layer), told) as ended:
            bench = _bench(layer, told, stop)
            fresh, made_by = make_layer(layer, bench)
            fresh.replace(archive)
            shutil.rmtree(bench.folder)
            _write(note, dict(made_by))
            ended(archive.stat().st_size)
    return archive, json.loads(note.read_bytes())


def forget(archive: Path) -> None:
    """Delete an archive that :func:`made` gave."""
    archive.with_suffix(".json").unlink()
    archive.unlink()


def _bench(layer: Layer, told: LoadResult, stop: threading.Event) -> Bench:
    folder = images_home() / "work" / inputs_of(layer)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = images_home() / "logs" / f"{re.sub(r'[^a-z0-9.]+', '-', title_of(layer).lower()).strip('-')[:80]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    return Bench(folder=folder, log=log, progress=lambda text: told(Said(text=text)), stop=stop)


@contextmanager
def only_builder(layer: Layer, told: LoadResult, stop: threading.Event) -> Iterator[None]:
    """Held by one process per layer, while it makes the layer or uses its archive."""
    folder = images_home() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{inputs_of(layer)}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        told(Said(text=f"waiting for another builder of {title_of(layer)}"))
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0.5)
            except Timeout:
                if stop.is_set():
                    raise PlatformError(f"another process builds {title_of(layer)}, and the run is ending") from None
    try:
        if stop.is_set():
            raise PlatformError(f"{title_of(layer)} was not begun: the run is ending")
        with building():
            yield
    finally:
        lock.release()


@contextmanager
def step(name: str, told: LoadResult) -> Iterator[Callable[[int], None]]:
    """Tells of the block as a step; the block calls what it is given with the number of bytes that came of it."""
    started = time.monotonic()
    size = 0

    def ended(bytes_made: int) -> None:
        nonlocal size
        size = bytes_made

    told(StepStarted(name=name))
    try:
        yield ended
    except BaseException as error:
        words = (str(error) or type(error).__name__).splitlines()[0]
        told(StepEnded(name=name, seconds=time.monotonic() - started, failure=words))
        raise
    told(StepEnded(name=name, seconds=time.monotonic() - started, size=size))


def _sweep() -> None:
    """Delete what killed builders left half-made; what is being made now is locked."""
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
    fresh = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    fresh.write_text(json.dumps(content), encoding="utf-8")
    fresh.replace(file)
