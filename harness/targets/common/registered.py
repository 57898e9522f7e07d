"""Registered versions of a model, as the tracking server has them. Downloads no model, only what describes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trivet.errors import NotOffered
from trivet.integration import TrackingApi
from trivet.integration.model_files import download_files, locate_files
from trivet.integration.tracking import quoted
from trivet.model.handover import RegisteredVersion
from trivet.model.subjects import ModelDirectory
from trivet.toolkit.subjects import read_model_directory
from trivet.toolkit.walking import MLMODEL


def predecessor_of(version: Mapping[str, Any], tracking: TrackingApi, directory: Path) -> RegisteredVersion:
    """The version of the same model before ``version``, whose ``MLmodel`` is downloaded into ``directory``, unless it is on this machine.

    Raises NotOffered when there is none, UsageError and TrackingError when its files cannot be read.
    """
    name, number = version["name"], int(version["version"])
    earlier = [
        one
        for one in tracking.search_model_versions(f"name = {quoted(name)}")
        if int(one["version"]) < number and one.get("status", "READY") == "READY"
    ]
    if not earlier:
        raise NotOffered(f"models:/{name}/{number} is the first registered version")
    before = max(earlier, key=lambda one: int(one["version"]))
    files = locate_files(before, tracking)
    if not files.directory:
        directory.mkdir(exist_ok=True)
        download_files(before, [file for file in files.listed if file.path == MLMODEL], directory, tracking)
    found = read_model_directory(files.directory or directory)
    if found.errors:
        raise found.errors[0]
    (model,) = found.subjects
    assert isinstance(model, ModelDirectory)
    return RegisteredVersion(uri=f"models:/{name}/{before['version']}", mlmodel=model.mlmodel)
