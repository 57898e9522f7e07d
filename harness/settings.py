"""Settings, in order of precedence: flags, environment variables, ``[tool.trivet]``, defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from trivet.errors import UsageError, choices
from trivet.model.settings import Existing, Lint, Settings
from trivet.model.waiver import Waiver

Table = TypeVar("Table")

PROFILE_ELSEWHERE = "cluster"
"""The default profile on every target but ``local``: every registered contract, of which those that the target supports are judged."""
BACKING_OF_TARGET = {
    "kind": {
        "store": "its cluster has an S3 store of its own",
        "database": "MLflow on its cluster has a PostgreSQL of its own",
    },
    "existing": {
        "store": "artifacts are in the store of your cluster, at artifact_root in [tool.trivet.existing]",
        "database": "MLflow on your cluster has a database already",
    },
}
"""Why the settings store and database apply to the target ``local`` only: target → setting → reason."""


def load_settings(start: Path, environment: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    """The settings that apply in the folder ``start``. Flags that are None or empty count as not given.

    Raises UsageError for an unreadable file, an unknown key, a wrong type, and a flag that the target ignores.
    """
    values: dict[str, Any] = {}
    if found := _table(start):
        path, table = found
        values = _values(Settings, str(path), "tool.trivet", table)
    variables = os.environ if environment is None else environment
    values |= _from_environment(Settings, "TRIVET_", variables)
    for key, kind in (("existing", Existing), ("lint", Lint)):
        theirs = _from_environment(kind, f"TRIVET_{key.upper()}_", variables)
        values[key] = replace(values.get(key, kind()), **theirs)
    if context := flags.pop("context", None):
        values["existing"] = replace(values["existing"], context=context)
    values |= {key: tuple(value) if isinstance(value, list) else value for key, value in flags.items() if value}
    for key, reason in BACKING_OF_TARGET.get(values.get("target", Settings.target), {}).items():
        if value := flags.get(key):
            raise UsageError(
                f"{key} {value!r} is not supported on the target {values['target']}: {reason}",
                remedy=f"omit the option {key}, or use the target local",
            )
    # A command without an option for the target is about clusters of trivet's own.
    if (addons := flags.get("addons")) and "target" in flags and values.get("target", Settings.target) != "kind":
        raise UsageError(
            f"--addon {addons[0]} is not supported on the target {values.get('target', Settings.target)}",
            remedy="omit it, or use the target kind: only there does trivet install anything",
        )
    if flags.get("as_is") and values.get("target", Settings.target) != "kind":
        raise UsageError(
            f"--as-is is not supported on the target {values.get('target', Settings.target)}",
            remedy="omit it, or use the target kind: only there does trivet install anything",
        )
    local = values.get("target", Settings.target) == Settings.target
    values.setdefault("profile", Settings.profile if local else PROFILE_ELSEWHERE)
    if named := values.get("waivers_file"):
        further = _waivers(settings_folder(start) / named)
        if twice := further.keys() & values.get("waivers", {}).keys():
            raise UsageError(
                f"two waivers are called {min(twice)!r}: in {named} and in pyproject.toml", remedy="rename one of them"
            )
        values["waivers"] = {**values.get("waivers", {}), **further}
    return Settings(**values)


def settings_folder(start: Path) -> Path:
    """The folder of the ``pyproject.toml`` that :func:`load_settings` reads, to which patterns in it are relative; else ``start``."""
    found = _table(start)
    return found[0].parent if found else start


def _waivers(path: Path) -> dict[str, Waiver]:
    """The waivers of a file: a table each."""
    return {
        name: _read(Waiver, str(path), name, table)
        for name, table in _toml(path, "waivers", ", or correct waivers_file").items()
    }


def _from_environment(kind: type, prefix: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """The values of the texts and lists of texts among the fields of ``kind``; a list's items are separated by commas."""
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if value := variables.get(f"{prefix}{name.upper()}"):
            if hint is str:
                values[name] = value
            elif hint == tuple[str, ...]:
                values[name] = tuple(value.split(","))
    return values


def _table(start: Path) -> tuple[Path, Mapping[str, Any]] | None:
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        tool = _toml(path, "settings").get("tool", {})
        table = tool.get("trivet") if isinstance(tool, dict) else None
        if table is None:
            return None
        if not isinstance(table, dict):
            raise UsageError(f"{path}: tool.trivet is {table!r}, not a table", remedy="write [tool.trivet]")
        return path, table
    return None


def _toml(path: Path, content: str, otherwise: str = "") -> dict[str, Any]:
    """The document in a TOML file, in which trivet reads ``content``; ``otherwise`` continues the remedy for a file that cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            remedy=f"make it readable for this user{otherwise}; trivet reads its {content} from it",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not valid TOML: {error}", remedy=f"correct the file; trivet reads its {content} from it"
        ) from error


def _read(kind: type[Table], file: str, place: str, table: Any) -> Table:
    """The dataclass ``kind`` from a table of the file; ``place`` is its name, such as ``tool.trivet.lint``."""
    if not isinstance(table, dict):
        raise UsageError(f"{file}: {place} is {table!r}, not a table", remedy=f"write [{place}]")
    values = _values(kind, file, place, table)
    for one in fields(kind):  # type: ignore[arg-type]
        if one.default is MISSING and one.default_factory is MISSING and one.name not in values:
            form = one.metadata.get("form", "…")
            raise UsageError(f"{file}: {place} lacks the key {one.name!r}", remedy=f"write {one.name} = '{form}' in it")
    try:
        return kind(**values)
    except UsageError as error:
        raise UsageError(f"{file}: {place}: {error.message}", remedy=error.remedy) from error


def _values(kind: type, file: str, place: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a table by the fields of ``kind``, with their types checked."""
    known = {one.name: one for one in fields(kind)}
    hints = get_type_hints(kind)
    shown = f"[{place}]" if place == "tool.trivet" else place
    for key in table:
        if key not in known:
            raise UsageError(f"{file}: {shown} has no key {key!r}", remedy=choices(key, known))
    return {key: _typed(file, f"{place}.{key}", known[key], hints[key], value) for key, value in table.items()}


def _typed(file: str, place: str, declared: Field[Any], hint: Any, value: Any) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return _read(hint, file, place, value)
    if get_origin(hint) is Mapping:
        if not isinstance(value, dict):
            raise UsageError(f"{file}: {place} is {value!r}, not a table", remedy=f"write [{place}.NAME]")
        return {key: _read(get_args(hint)[1], file, f"{place}.{key}", one) for key, one in value.items()}
    if hint is date:
        return _date(file, place, declared, value)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if is_dataclass(item) and isinstance(item, type):
            if isinstance(value, list):
                return tuple(_read(item, file, place, one) for one in value)
            raise UsageError(f"{file}: {place} is {value!r}, not an array of tables", remedy=f"write [[{place}]]")
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        raise UsageError(
            f"{file}: {place} is {value!r}", remedy=f"write a list of {declared.metadata.get('items', 'strings')}"
        )
    if hint is bool:
        if isinstance(value, bool):
            return value
        raise UsageError(f"{file}: {place} is {value!r}", remedy="write true or false")
    kind, remedy = (int, "write a number from 0 on") if hint is int else (str, "write a string")
    if isinstance(value, kind) and not isinstance(value, bool) and (isinstance(value, str) or value >= 0):
        return value
    raise UsageError(f"{file}: {place} is {value!r}", remedy=remedy)


def _date(file: str, place: str, declared: Field[Any], value: Any) -> date:
    """A date of TOML, or a string with one."""
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        day = None
    if isinstance(day, date) and not isinstance(day, datetime):
        return day
    raise UsageError(f"{file}: {place} is {value!r}, not a date", remedy=f"write '{declared.metadata['form']}'")
