"""Finds the model that the user names for a check: a directory, a registered version, or a storage URI. Executes nothing of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trivet.errors import PlatformError, UsageError
from trivet.host.journal import Run
from trivet.host.processes import Processes
from trivet.host.staging import stage
from trivet.host.worker import Worker
from trivet.integration import TrackingApi, resolve_storage_uri, uri_scheme
from trivet.integration.model_files import download_files, locate_files
from trivet.model.events import Emit, phase
from trivet.model.stack import Stack
from trivet.model.subjects import ModelDirectory
from trivet.stacks.environments import build_environment
from trivet.targets.common.clients import Downloads
from trivet.targets.common.registered import predecessor_of
from trivet.targets.local.model import Predecessor
from trivet.toolkit.subjects import read_model_directory

_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<version>\d+)|@(?P<alias>[^/@]+))/?")
_OF_MLFLOW = ("models", "runs")

LOCAL = "file://"
"""What the storage initializer takes off a URI to have a path, which it does not percent-decode (kserve v0.20.0
python/storage/kserve_storage/kserve_storage.py, _download_local)."""


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """The model that was named. For a registered version, ``predecessor`` asks for the one before it."""

    directory: ModelDirectory
    predecessor: Predecessor | None = None


@contextmanager
def model_named(name: str, stack: Stack, emit: Emit, *, server: str, max_bytes: int) -> Iterator[NamedModel]:
    """The model that ``name`` names, for the length of the block: what is downloaded for it is removed afterwards.

    A registered version (``models:/NAME/VERSION``, ``models:/NAME@ALIAS``) comes through the tracking server at ``server``; other URIs of
    MLflow are resolved there, and like all storage URIs fetched by the storage initializer of ``stack``, with the user's credentials. What
    it would link into a directory of its own, since it is on this machine, is read where it is.
    Raises UsageError for a name that is none of these, and for a registered version of more than ``max_bytes``; PlatformError when it
    cannot be fetched.
    """
    if not uri_scheme(name):
        yield NamedModel(directory=_read(Path(name)))
        return
    if directory := _on_this_machine(name):
        yield NamedModel(directory=_read(directory))
        return
    if uri_scheme(name) in _OF_MLFLOW and not server:
        raise UsageError(
            f"{name} is a URI of MLflow, and no tracking server is named",
            remedy="pass --mlflow https://…, or set MLFLOW_TRACKING_URI as for MLflow itself",
        )
    predecessor: Predecessor | None = None
    with Run() as run:
        if found := _REGISTERED.fullmatch(name):
            tracking = TrackingApi(server, retries=2)
            with phase(emit, "download"):
                version = _version(found, tracking)
                directory = _registered(version, tracking, run.directory / "model", max_bytes)
            predecessor = partial(predecessor_of, version, tracking, run.directory / "predecessor")
        else:
            uri = (
                resolve_storage_uri(name, tracking=TrackingApi(server, retries=2))
                if uri_scheme(name) in _OF_MLFLOW
                else name
            )
            with phase(emit, "storage initializer"):
                directory = _on_this_machine(uri) or _fetched(uri, stack, run)
        yield NamedModel(directory=_read(directory), predecessor=predecessor)


def _version(found: re.Match[str], tracking: TrackingApi) -> Mapping[str, Any]:
    if found["alias"]:
        return tracking.get_model_version_by_alias(found["name"], found["alias"])
    return tracking.get_model_version(found["name"], found["version"])


def _registered(version: Mapping[str, Any], tracking: TrackingApi, directory: Path, max_bytes: int) -> Path:
    """The directory of a registered version, downloaded unless it is on this machine."""
    files = locate_files(version, tracking)
    if files.directory:
        return files.directory
    if (size := sum(file.size for file in files.listed)) > max_bytes:
        raise UsageError(
            f"models:/{version['name']}/{version['version']} has {size:,} bytes, and at most {max_bytes:,} are downloaded",
            remedy=f"pass --max-size {size // 2**20 + 1}, or the directory of the model",
        )
    directory.mkdir()
    download_files(version, files.listed, directory, tracking)
    return directory


def _on_this_machine(uri: str) -> Path | None:
    """The directory of this machine that a ``file://`` URI names for the storage initializer; None for another URI, or without one."""
    return directory_at(uri.removeprefix(LOCAL)) if uri.startswith(LOCAL) else None


def directory_at(path: str) -> Path | None:
    """The directory of this machine at ``path``; None for what is none, or may not be looked at by this user."""
    return Path(path) if "\0" not in path and os.path.isdir(path) else None  # noqa: PTH112 - Path raises for what may not be looked at


def _fetched(uri: str, stack: Stack, run: Run) -> Path:
    """The directory into which the storage initializer fetched ``uri``."""
    role = stack.roles["initializer"]
    with closing(Processes(run)) as processes:
        python = build_environment(role, stop=processes.closed).python
        environment = {**role.environment, "PYTHONPATH": str(stage(run.directory / "initializer"))}
        command: list[str | Path] = [python, "-m", "trivet.fixtures.jobs.initializer"]
        worker = Worker(processes, "storage initializer", command, environment=environment)
        return Downloads(run.directory / "downloads", worker).fetch(uri).directory


def _read(directory: Path) -> ModelDirectory:
    result = read_model_directory(directory)
    if result.errors:
        raise result.errors[0]
    (model,) = result.subjects
    if not isinstance(model, ModelDirectory):
        raise PlatformError(f"{directory} is no model directory")
    return model
