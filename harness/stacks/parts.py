"""The parts of a stack by name, with a digest of each. Decides nothing about who depends on which.

Names are those of the attributes: ``roles.trainer``, ``components.kserve``, ``settings.serving``, ``api_schemas``, ``runtime_image``,
``platform``, ``name`` and ``title``; ``stack`` is everything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from trivet.errors import CannotTell
from trivet.model.partial import PartialMapping
from trivet.model.stack import Role, Stack
from trivet.stacks.platform import platform_content

EVERYTHING = "stack"
"""The part that stands for the whole stack."""


def part_digest(stack: Stack, part: str) -> str:
    """The SHA-256 of a part's content; that of None for a part that the stack does not have, of the reason for one that is unknown.

    Raises LookupError for no part's name.
    """
    try:
        return _known_digest(stack, part)
    except CannotTell as unknown:
        return digest_of(["unknown", unknown.message])


def _known_digest(stack: Stack, part: str) -> str:
    holder, _, key = part.partition(".")
    match holder:
        case "roles" if key:
            return role_digest(stack.roles[key]) if key in stack.roles else digest_of(None)
        case "components" if key:
            return digest_of(stack.components.get(key))
        case "settings" if key:
            return digest_of(stack.settings.get(key))
        case "api_schemas":
            return _file_digest(stack.api_schemas)
        case "runtime_image":
            return _file_digest(stack.runtime_image)
        case "platform":
            return digest_of(platform_content(stack))
        case "name" | "title":
            return digest_of(getattr(stack, holder))
        case "stack":
            return stack.digest
    raise LookupError(f"a stack has no part {part!r}")


def role_digest(role: Role) -> str:
    """The SHA-256 of what a role's processes run with: the lock, the Python version and the environment variables."""
    return digest_of([_file_digest(role.lock), role.python, dict(role.environment)])


def parts_digest(stack: Stack, parts: Iterable[str]) -> str:
    """The SHA-256 of several parts with their names."""
    return digest_of({part: part_digest(stack, part) for part in parts})


def digest_of(value: Any) -> str:
    """The SHA-256 of a value that JSON can represent."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, PartialMapping):
        return [dict(value), value.unknown]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{value!r} has no JSON form")


def _file_digest(file: Path | None) -> str:
    if file is None or not file.exists():
        return digest_of(None)
    status = file.stat()
    return _content_digest(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _content_digest(file: Path, modified: int, size: int) -> str:
    """A file is read once; ``modified`` and ``size`` tell its contents apart."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
