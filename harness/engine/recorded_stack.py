"""A stack that records which of its parts a check reads, by the names of ``trivet.stacks.parts``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.model.stack import Stack
from trivet.stacks.parts import EVERYTHING

_TABLES = ("components", "roles", "settings")
_SINGLE = ("api_schemas", "runtime_image", "platform", "name", "title")


class RecordedStack(Stack):
    """``stack`` for one check. What is neither a single part nor an entry of a table counts as the whole stack."""

    parts_read: set[str]

    def __init__(self, stack: Stack) -> None:
        object.__setattr__(self, "_stack", stack)
        object.__setattr__(self, "parts_read", set())

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name == "parts_read":
            return object.__getattribute__(self, name)
        value = getattr(self._stack, name)
        if name in _TABLES:
            return _RecordedTable(name, value, self.parts_read)
        self.parts_read.add(name if name in _SINGLE else EVERYTHING)
        return value


class _RecordedTable(Mapping[str, Any]):
    def __init__(self, name: str, table: Mapping[str, Any], parts_read: set[str]) -> None:
        self._name = name
        self._table = table
        self._parts_read = parts_read

    def __getitem__(self, key: str) -> Any:
        self._parts_read.add(f"{self._name}.{key}")
        return self._table[key]

    def __iter__(self) -> Iterator[str]:
        self._parts_read.add(EVERYTHING)
        return iter(self._table)

    def __len__(self) -> int:
        self._parts_read.add(EVERYTHING)
        return len(self._table)
