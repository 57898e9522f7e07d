"""The names in a pickle, read from its opcodes. Executes nothing of it, and needs none of the packages that it names."""

from __future__ import annotations

import mmap
import os
import pickletools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAX_OPCODES = 3_000_000
"""A pickle is read up to here, in some seconds. Arrays are one opcode each, so that a forest of 500 trees has some 100,000."""

LARGE = 1024 * 1024
"""Bytes that are not copied when they are one value."""

_VERSION = "_sklearn_version"
"""scikit-learn sklearn/base.py, BaseEstimator.__getstate__: each estimator's state has the version that wrote it."""

_STRINGS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}


@dataclass(frozen=True, kw_only=True)
class PickleContent:
    """What a pickle refers to.

    ``names`` are pairs of module and qualified name, ``strings`` those that were looked for, ``sklearn_versions`` the versions that its
    estimators state. ``broken`` says why it cannot be unpickled, and ``unread`` why it was not read to its end; empty otherwise.
    """

    names: frozenset[tuple[str, str]] = frozenset()
    strings: frozenset[str] = frozenset()
    sklearn_versions: frozenset[str] = frozenset()
    broken: str = ""
    unread: str = ""


def read_pickle(path: Path, *, strings: Collection[str] = ()) -> PickleContent:
    """The content of the pickle in ``path``, and which of ``strings`` are in it.

    A file that is no pickle is ``broken``, and so is a file of joblib with arrays in it, which only joblib reads. Raises OSError when the
    file cannot be read.
    """
    with path.open("rb") as file:
        content = _content(_Bounded(file), frozenset(strings))
        if not content.broken:
            return content
        # Only what is broken is read with positions, which its message has: to ask for that of each opcode takes a seventh of the time.
        file.seek(0)
        return _content(_Positioned(file), frozenset(strings))


def _content(file: _Bounded, strings: frozenset[str]) -> PickleContent:
    found: dict[str, set[Any]] = {"name": set(), "string": set(), "version": set()}
    broken = unread = ""
    try:
        for number, (kind, fact) in enumerate(_facts(file, strings)):
            if number == MAX_OPCODES:
                unread = f"it has more than {MAX_OPCODES:,} opcodes"
                break
            if kind:
                found[kind].add(fact)
    except (ValueError, IndexError, OverflowError) as error:
        broken = str(error)
    return PickleContent(
        names=frozenset(found["name"]),
        strings=frozenset(found["string"]),
        sklearn_versions=frozenset(found["version"]),
        broken=broken,
        unread=unread,
    )


class _Bounded:
    """A file of which large values are views, and none is larger than the file: an opcode may claim 2**60 bytes.

    pickletools copies a bytearray, so that a NumPy array under protocol 5 still takes its size in memory, one at a time.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b""
        self.readline = file.readline

    def read(self, count: int) -> bytes | memoryview:
        """Up to ``count`` bytes."""
        if count <= LARGE:
            return self._file.read(count)
        start = self._file.tell()
        end = min(start + count, len(self._content))
        self._file.seek(end)
        return memoryview(self._content)[start:end]


class _Positioned(_Bounded):
    """One that also says where it is, so that pickletools asks for it at each opcode."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.tell = file.tell


def _facts(file: Any, strings: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """For each opcode what it shows: ``("name", (module, name))``, ``("string", text)``, ``("version", version)`` or ``("", None)``.

    The stack is followed as far as names need it: both operands of STACK_GLOBAL are strings that were pushed right before.
    """
    memo: dict[int, str | None] = {}
    before: str | None = None
    last: str | None = None
    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name == "MEMOIZE":
            memo[len(memo)] = last
        elif name in _PUT:
            memo[int(argument)] = last
        elif name == "FRAME":
            pass  # it may stand between any two opcodes, and leaves the stack as it is
        elif name in ("GLOBAL", "INST"):
            module, _, qualified = argument.partition(" ")
            yield "name", (module, qualified)
            before, last = last, None
        elif name == "STACK_GLOBAL":
            if before is not None and last is not None:
                yield "name", (before, last)
            before, last = last, None
        else:
            text = argument if name in _STRINGS else memo.get(int(argument)) if name in _GET else None
            before, last = last, text
            if before == _VERSION and text is not None:
                yield "version", text
            if text in strings:
                yield "string", text
        yield "", None
