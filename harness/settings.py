"""Settings, in order of precedence: flags, environment variables, ``[tool.trivet]``, defaults."""

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
"""The default profile on every target but ``local``: every registered contract, of which those that the target supports are judged."""
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
"""Why the settings store and database apply to the target ``local`` only: target → setting → reason."""


def load_settings(start: Path, environment: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    """The settings that apply in the folder ``start``. Flags that are None or empty count as not given.

    Raises UsageError for an unreadable file, an unknown key, a wrong type, and a flag that the target ignores.
    """
    known = [one.name for one in fields(Settings)]
    values: dict[str, Any] = {}
    if found := _table(start):
        path, table = found
        for key, value in table.items():
            if key not in known:
                raise UsageError(f"{path}: [tool.trivet] has no key {key!r}", remedy=choices(key, known))
            values[key] = _typed(f"{path}: tool.trivet.{key}", key, value)
    variables = os.environ if environment is None else environment
    for key in known:
        if key != "existing" and (value := variables.get(f"TRIVET_{key.upper()}")):
            values[key] = tuple(value.split(",")) if key == "plugins" else value
    theirs = {
        key.name: value for key in fields(Existing) if (value := variables.get(f"TRIVET_EXISTING_{key.name.upper()}"))
    }
    if context := flags.pop("context", None):
        theirs["context"] = context
    values["existing"] = replace(values.get("existing", Existing()), **theirs)
    values |= {key: tuple(value) if key == "plugins" else value for key, value in flags.items() if value}
    for key, reason in BACKING_OF_TARGET.get(values.get("target", Settings.target), {}).items():
        if value := flags.get(key):
            raise UsageError(
                f"{key} {value!r} is not supported on the target {values['target']}: {reason}",
                remedy=f"omit the option {key}, or use the target local",
            )
    local = values.get("target", Settings.target) == Settings.target
    values.setdefault("profile", Settings.profile if local else PROFILE_ELSEWHERE)
    return Settings(**values)


def _table(start: Path) -> tuple[Path, Mapping[str, Any]] | None:
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
        except OSError as error:
            raise UsageError(
                f"cannot read {path}: {error.strerror}",
                remedy="make it readable for this user; trivet reads its settings from it",
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{path} is not valid TOML: {error}", remedy="correct the file; trivet reads its settings from it"
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
    for key, text in value.items():
        if key not in known:
            raise UsageError(f"{place} has no key {key!r}", remedy=choices(key, known))
        if not isinstance(text, str):
            raise UsageError(f"{place}.{key} is {text!r}", remedy="write a string")
    return Existing(**value)
