"""What the user asked for, from wherever they said it: defaults < ``[tool.trivet]`` < environment < flag."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from trivet.errors import UsageError, choices
from trivet.model.settings import Existing, Settings

PROFILE_ELSEWHERE = "cluster"
"""The profile on every target but ``local``: all that is registered, for only what a target offers is judged there."""
BACKING_OF_TARGET = {
    "kind": {
        "store": "its cluster has an S3 store of its own",
        "database": "MLflow on its cluster has a PostgreSQL of its own",
    },
    "existing": {
        "store": "artefacts are in the store of your cluster, at artifact_root in [tool.trivet.existing]",
        "database": "MLflow on your cluster has a database already",
    },
}
"""Why a target leaves no choice of what only local can be told."""


def load_settings(start: Path, environment: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    """The settings in force in ``start``. Flags that are None or empty were not given.

    Raises UsageError for what it cannot read, and for a flag of which the target takes no notice.
    """
    known = [one.name for one in fields(Settings)]
    said: dict[str, Any] = {}
    if found := _table(start):
        path, table = found
        for key, value in table.items():
            if key not in known:
                raise UsageError(f"{path}: [tool.trivet] has no key {key!r}", remedy=choices(key, known))
            said[key] = _typed(f"{path}: tool.trivet.{key}", key, value)
    variables = os.environ if environment is None else environment
    for key in known:
        if key != "existing" and (value := variables.get(f"TRIVET_{key.upper()}")):
            said[key] = tuple(value.split(",")) if key == "plugins" else value
    theirs = {
        key.name: value for key in fields(Existing) if (value := variables.get(f"TRIVET_EXISTING_{key.name.upper()}"))
    }
    if context := flags.pop("context", None):
        theirs["context"] = context
    said["existing"] = replace(said.get("existing", Existing()), **theirs)
    said |= {key: tuple(value) if key == "plugins" else value for key, value in flags.items() if value}
    for key, reason in BACKING_OF_TARGET.get(said.get("target", Settings.target), {}).items():
        if value := flags.get(key):
            raise UsageError(
                f"{key} {value!r} cannot be had on the target {said['target']}: {reason}",
                remedy=f"leave the option {key} out, or take the target local",
            )
    local = said.get("target", Settings.target) == Settings.target
    said.setdefault("profile", Settings.profile if local else PROFILE_ELSEWHERE)
    return Settings(**said)


def _table(start: Path) -> tuple[Path, Mapping[str, Any]] | None:
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read: {error.strerror}",
                remedy="allow this user to read it; settings are read from it",
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{path} is not valid TOML: {error}", remedy="correct the file; settings are read from it"
            ) from error
        table = tool.get("trivet") if isinstance(tool, dict) else None
        if table is None:
            return None
        if not isinstance(table, dict):
            raise UsageError(f"{path}: tool.trivet is {table!r}, not a table", remedy="write [tool.trivet]")
        return path, table
    return None


def _typed(place: str, key: str, value: Any) -> Any:
    if key == "existing":
        return _existing(place, value)
    if key == "plugins":
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"{place} is {value!r}", remedy="write a list of module names")
    if isinstance(value, str):
        return value
    raise UsageError(f"{place} is {value!r}", remedy="write a string")


def _existing(place: str, value: Any) -> Existing:
    known = [one.name for one in fields(Existing)]
    if not isinstance(value, dict):
        raise UsageError(f"{place} is {value!r}, not a table", remedy="write [tool.trivet.existing]")
    for key, said in value.items():
        if key not in known:
            raise UsageError(f"{place} has no key {key!r}", remedy=choices(key, known))
        if not isinstance(said, str):
            raise UsageError(f"{place}.{key} is {said!r}", remedy="write a string")
    return Existing(**value)
