"""Reads a stack from its folder: ``stack.toml``, one lock per role, and its tables. Resolves and installs nothing."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from trivet.errors import UsageError, unknown
from trivet.model.detection import Fact
from trivet.model.partial import PartialMapping
from trivet.model.stack import ROLES, Role, Stack
from trivet.model.text_lines import text_lines
from trivet.stacks.schema import stack_errors

STACK_FILE = "stack.toml"
SCHEMAS_FILE = "api_schemas.json"
IMAGE_FILE = "runtime_image.json"
FACTS_FILE = "detected.json"
"""What ``trivet detect`` read of a platform. It is no part of the digest: it says where values come from, and decides nothing."""
SHIPPED = "trivet.fixtures.stacks"

Value = TypeVar("Value")

_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>.*?))?\s*\\?$")


def shipped_stacks() -> list[str]:
    """The names of the stacks that are shipped with trivet."""
    return sorted(file.parent.name for file in _shipped_folder().glob(f"*/{STACK_FILE}"))


def stack_folder(name_or_path: str) -> Path:
    """The folder of a shipped stack, given by name, or of a user's stack, given by its folder or its ``stack.toml``.

    Raises UsageError, with the shipped stacks, when there is no such stack.
    """
    if name_or_path in shipped_stacks():
        return _shipped_folder() / name_or_path
    path = Path(name_or_path).expanduser()
    folder = path.parent if path.name == STACK_FILE else path
    if (folder / STACK_FILE).is_file():
        return folder
    if folder.is_dir():
        raise UsageError(
            f"{folder} is not a stack: it has no {STACK_FILE}",
            remedy=f"add one, for example a copy from {_shipped_folder()}",
        )
    error = unknown("stack", name_or_path, shipped_stacks())
    raise UsageError(error.message, remedy=f"{error.remedy}, or give the path of a folder with a {STACK_FILE}")


def load_stack(name_or_path: str) -> Stack:
    """The stack with this name, folder or ``stack.toml``.

    Raises UsageError for an unknown stack, an invalid ``stack.toml``, and a missing or invalid lock. A role or ``api_schemas.json`` that
    ``[unknown]`` names may be without its file; once the file exists it is known.
    """
    folder = stack_folder(name_or_path)
    table = read_table(folder)
    unknown = table.get("unknown", {})
    unlocked = {name: why for name, why in unknown.get("roles", {}).items() if not (folder / f"{name}.lock").is_file()}
    roles = {name: _role(name, settings, folder) for name, settings in table["roles"].items() if name not in unlocked}
    schemas, image = folder / SCHEMAS_FILE, folder / IMAGE_FILE
    if not schemas.is_file() and "api_schemas" not in unknown:
        raise UsageError(
            f"{folder.name} has no {SCHEMAS_FILE}", remedy=f"generate it: trivet stack lock {name_or_path}"
        )
    return Stack(
        name=folder.resolve().name,
        title=table["title"],
        given=_given(folder),
        folder=folder,
        components=_partial(table["components"], unknown.get("components", {}), "the version of {}"),
        roles=_partial(roles, unlocked, "the environment of the role {}"),
        digest=_digest(
            [
                folder / STACK_FILE,
                *(role.lock for role in roles.values()),
                *(file for file in (schemas, image) if file.is_file()),
            ]
        ),
        api_schemas=schemas,
        runtime_image=image if image.is_file() else None,
        platform=table.get("platform", ""),
        no_platform=unknown.get("platform", ""),
        settings={
            "serving": _partial(table["serving"], unknown.get("serving", {}), "`serving.{}` of the stack"),
            **({"pipelines": table["pipelines"]} if "pipelines" in table else {}),
        },
        facts=_facts(folder / FACTS_FILE),
    )


def _given(folder: Path) -> str:
    """The name of a shipped stack, or the absolute path of a user's."""
    shipped = folder.name in shipped_stacks() and folder.resolve() == (_shipped_folder() / folder.name).resolve()
    return folder.name if shipped else str(folder.resolve())


def stack_files(folder: Path) -> list[Path]:
    """The files that a stack is read from, those of them that exist in ``folder``."""
    names = (STACK_FILE, SCHEMAS_FILE, IMAGE_FILE, FACTS_FILE, *(f"{role}.lock" for role in ROLES))
    return [folder / name for name in names if (folder / name).is_file()]


def read_table(folder: Path) -> Mapping[str, Any]:
    """``stack.toml`` of ``folder`` as a table, checked against :data:`trivet.stacks.schema.STACK`. Raises UsageError when it is invalid."""
    file = folder / STACK_FILE
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{_location(file, str(error))}: invalid TOML: {error}", remedy="correct that line; see https://toml.io"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}", remedy="provide a TOML file in UTF-8") from error
    if errors := list(stack_errors(table)):
        raise UsageError(
            "\n".join(f"{file}: {sentence}" for sentence in errors),
            remedy=f"compare it with a shipped one, {_shipped_folder() / 'current' / STACK_FILE}",
        )
    return table


def read_pins(lock: Path, python: str) -> dict[str, str]:
    """Normalised distribution name → version, for the lines of a hashed lock that apply to this machine and the Python version ``python``.

    Raises UsageError, with the line, for a line that is not a pinned version.
    """
    try:
        return pins_of(lock.read_text(encoding="utf-8"), python, lock)
    except FileNotFoundError as error:
        stack = lock.parent
        raise UsageError(
            f"role {lock.stem!r} of stack {stack.name!r} has no lock: {lock} does not exist",
            remedy=f"create it: trivet stack lock {stack}",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read {lock}: {error}", remedy=f"create it again: trivet stack lock {lock.parent}"
        ) from error


def pins_of(text: str, python: str, lock: Path) -> dict[str, str]:
    """:func:`read_pins` for a lock's text; ``lock`` is used in errors only."""
    pins: dict[str, str] = {}
    for number, line in enumerate(text_lines(text), 1):
        if not line.strip() or line.lstrip().startswith(("#", "--hash=")):
            continue
        pin = _PIN.match(line)
        if pin is None:
            raise UsageError(
                f"{lock}:{number}: {line.strip()!r} is not a pin, expected `name==version`",
                remedy=f"generate the lock again: trivet stack lock {lock.parent}",
            )
        if pin["marker"] is None or Marker(pin["marker"]).evaluate(_marker_environment(python)):
            pins[canonicalize_name(pin["name"])] = pin["version"]
    return pins


def _marker_environment(python: str) -> dict[str, str]:
    full = python if python.count(".") > 1 else f"{python}.0"
    return {"python_version": ".".join(full.split(".")[:2]), "python_full_version": full}


def _partial(known: Mapping[str, Value], unknown: Mapping[str, str], what: str) -> Mapping[str, Value]:
    return PartialMapping(known, unknown, what) if unknown else known


def _facts(file: Path) -> tuple[Fact, ...]:
    if not file.is_file():
        return ()
    try:
        return tuple(Fact(**fact) for fact in json.loads(file.read_bytes())["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{file} does not have the facts of a platform: {type(error).__name__}: {error}",
            remedy="write it again with `trivet detect`, or delete it: it only says where values come from",
        ) from error


def _role(name: str, settings: Mapping[str, Any], folder: Path) -> Role:
    lock = folder / f"{name}.lock"
    return Role(
        name=name,
        python=settings["python"],
        requires=tuple(settings["requires"]),
        constraints=tuple(settings.get("constraints", ())),
        cutoff=settings["cutoff"],
        lock=lock,
        pins=read_pins(lock, settings["python"]),
        image=settings.get("image", ""),
        image_python=settings.get("image_python", ""),
        environment=settings.get("environment", {}),
    )


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        digest.update(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _location(file: Path, message: str) -> str:
    line = re.search(r"at line (\d+)", message)
    return f"{file}:{line[1]}" if line else str(file)


def _shipped_folder() -> Path:
    from importlib.resources import files

    return Path(str(files(SHIPPED)))
