"""The files of a registered version: lists and downloads them through the tracking server, or finds them on this machine.

The server reads its own artifact store, so that nobody else needs the store's address and credentials. Where a version is served from is
:mod:`trivet.integration.artifacts`' question.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trivet.errors import UsageError
from trivet.integration.tracking import Json, TrackingApi

MAX_FILES = 5_000
"""Files of one model that are listed; a packed environment or a sharded transformer has some hundred."""


MAX_COPIES = 10
"""Copies of copies that are followed."""

_COPY = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>\d+)")
"""The source of a version that was copied (mlflow 2.17.2 mlflow/store/model_registry/abstract_store.py, copy_model_version)."""

DOWNLOADS = 8
"""Files of one model that are downloaded side by side."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A file of a model: its path in the model's directory, and its size in bytes."""

    path: str
    size: int


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Where the files of a registered version are: a ``directory`` of this machine, or what the server lists.

    ``source`` is where the registry has them, for a copy where it has those of the version that was copied.
    """

    source: str
    directory: Path | None = None
    listed: tuple[ModelFile, ...] = ()


def locate_files(version: Json, tracking: TrackingApi) -> ModelFiles:
    """The files of a registered version, as ``model-versions/search`` or ``get`` describes it, or of the one that it copies.

    Raises UsageError for a version whose files the server cannot list, because they are in no run and no logged model, or which has more
    than MAX_FILES of them; and TrackingError.
    """
    original = version
    for _ in range(MAX_COPIES):
        if not (copied := _COPY.fullmatch(str(original.get("source") or ""))):
            break
        original = tracking.get_model_version(copied["name"], copied["version"])
    source = str(original.get("source") or "")
    model_id = str(original.get("model_id") or "") or _logged_model(source)
    if found := _on_this_machine(source):
        return ModelFiles(source=source, directory=found)
    if model_id:
        if found := _on_this_machine(str(tracking.get_logged_model(model_id).get("artifact_uri") or "")):
            return ModelFiles(source=source, directory=found)
        listed = _listed(version, "", lambda path: tracking.list_logged_model_artifacts(model_id, path))
        return ModelFiles(source=source, listed=listed)
    run_id = str(original.get("run_id") or "")
    root = str(tracking.get_run(run_id)["info"]["artifact_uri"]).rstrip("/") if run_id else ""
    if not root or not f"{source.rstrip('/')}/".startswith(f"{root}/"):
        where = f"run {run_id}, whose artifacts are at {root}" if root else "no run"
        raise UsageError(
            f"the files of models:/{version['name']}/{version['version']} cannot be listed: its source {source!r} is not below {where}",
            remedy="judge its directory itself: trivet lint DIRECTORY",
        )
    below = source.rstrip("/")[len(root) :].strip("/")
    listed = _listed(version, below, lambda path: tracking.list_artifacts(run_id, path))
    return ModelFiles(source=source, listed=listed)


def download_file(version: Json, file: ModelFile, directory: Path, tracking: TrackingApi) -> None:
    """Download one listed file of a registered version into ``directory``. Raises TrackingError."""
    target = directory / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as opened:
        tracking.download_model_version_file(version["name"], version["version"], file.path, opened)


def download_files(version: Json, files: Iterable[ModelFile], directory: Path, tracking: TrackingApi) -> None:
    """Download the listed files of a registered version into ``directory``, side by side. Raises TrackingError."""
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        for done in [pool.submit(download_file, version, file, directory, tracking) for file in files]:
            done.result()


def _listed(version: Json, root: str, listing: Callable[[str], Iterable[Json]]) -> tuple[ModelFile, ...]:
    found: list[ModelFile] = []
    waiting = [root]
    while waiting:
        for entry in listing(waiting.pop()):
            path = str(entry["path"])
            if entry.get("is_dir"):
                waiting.append(path)
                continue
            found.append(
                ModelFile(path=_safe(version, path[len(root) :].lstrip("/")), size=int(entry.get("file_size") or 0))
            )
        if len(found) + len(waiting) > MAX_FILES:
            raise UsageError(
                f"models:/{version['name']}/{version['version']} has more than {MAX_FILES:,} files",
                remedy="judge its directory itself: trivet lint DIRECTORY",
            )
    return tuple(sorted(found, key=lambda file: file.path))


def _safe(version: Json, path: str) -> str:
    """``path``, which the server gave: it becomes a path of this machine, and must not lead out of its directory."""
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or "\0" in path:
        raise UsageError(
            f"models:/{version['name']}/{version['version']}: the server lists {path!r}, which is no path in a model's directory",
            remedy="check what answers at the tracking URI, and the artifact store",
        )
    return path


def _logged_model(source: str) -> str:
    """The id in ``models:/m-…``; empty for another source."""
    identifier = source.removeprefix("models:/")
    return identifier if identifier != source and identifier.startswith("m-") and "/" not in identifier else ""


def _on_this_machine(uri: str) -> Path | None:
    """The directory that a ``file:`` URI or an absolute path names, if it is on this machine and holds a model."""
    if uri.startswith("file:"):
        path = unquote(urlsplit(uri).path)
    elif uri.startswith("/"):
        path = uri
    else:
        return None
    return Path(path) if "\0" not in path and os.path.isfile(f"{path}/MLmodel") else None  # noqa: PTH113 - answers also for what may not be looked at
