"""Reading YAML of which each line says by itself what it holds: ``key: value``, ``- value``, ``- key: value`` or ``key: [a, "b"]``.

Nearly all manifests are written so, and reading their lines takes a fifth of the time that libyaml's events take in Python. What is read
has the values and lines that :mod:`trivet.toolkit.documents` finds by those events; a document with anything else, such as an anchor, a
tag, a block of text or an error, is left to it whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from trivet.toolkit.scalars import kubernetes_scalar, plain_key

Place = tuple[int, Any]
"""Where a value stands (0-based line), and where its members stand: ``dict[str, Place]``, ``list[Place]`` or None."""

MAX_DEPTH = 50
"""Mappings and lists within one another. What is nested more deeply is left to whoever refuses it, and knows from where on."""

MAX_LINES = 200_000
"""Of one document; for more values, too."""

MAX_LENGTH = 400
"""Characters of a line: longer ones come seldom again, and keys may not be far longer (YAML 1.1, 9.3.2: 1024)."""

_KEY = r"[A-Za-z0-9_./][A-Za-z0-9_./$-]*+"
_ITEM = r"""-*+[A-Za-z0-9_./][A-Za-z0-9_./=@-]*+|"[^"\\]*+"|'[^']*+'"""
_ITEMS = re.compile(_ITEM)
_LINE = re.compile(
    rf"""
    (\ *+)  (-\ ++)?  # the indent, and the dash of an item
    (?: ({_KEY}|"{_KEY}"|'{_KEY}') : (?=\ |$) \ *+ )?
    (?: ( (?: [^\s\-?:,\[\]{{}}\#&*!|>'"%@`] | -(?=\S) ) (?: [^\s:\#]++ | :(?=\S) | (?<=\S)\#++ | \ ++(?=[^\s\#]) )*+
        | "[^"\\]*+" | '[^']*+' | \{{\ *+\}} | \[\ *+ (?: (?:{_ITEM}) \ *+ (?: ,\ *+ (?:{_ITEM}) \ *+ )*+ )? \] )
    )?
    \ *+ (?: (?<=\ )\#.*+ )?
    """,
    re.VERBOSE,
)
_SEPARATOR = re.compile(r"---(?: *| +#.*)")


class _Line(NamedTuple):
    """What a line says: where it begins; where the mapping in an item of a list begins, 0 on a line that is no item; the key, if there is
    one; and the value, of the ``kind`` that it is."""

    indent: int
    inner: int
    key: str | None
    kind: int
    value: Any


_SCALAR, _LATER, _MAPPING, _LIST = range(4)
"""A line's value: one that is here, what the next lines say, an empty mapping, or a list with the items of ``value``."""

_BLANK = _Line(0, 0, None, _SCALAR, None)
_DOCUMENT_END = _Line(0, 0, None, _SCALAR, None)


@lru_cache(maxsize=4096)
def _line(text: str) -> _Line | None:
    """What a line says; None if that depends on others, or on the rest of YAML. Lines of different manifests are often the same."""
    if len(text) > MAX_LENGTH or not text.isprintable():
        return None
    if not (content := text.lstrip(" ")) or content[0] == "#":
        return _BLANK
    if text.startswith("---") and _SEPARATOR.fullmatch(text):
        return _DOCUMENT_END
    found = _LINE.fullmatch(text)
    if found is None:
        return None
    spaces, dash, key, written = found.groups()
    if key is not None:
        key = key[1:-1] if key[0] in "'\"" else plain_key(key)
        if key is None:
            return None
    elif dash is None:
        return None
    indent = len(spaces)
    inner = 0 if dash is None else indent + len(dash)
    if written is None:
        return None if key is None else _Line(indent, inner, key, _LATER, None)
    match written[0]:
        case '"' | "'":
            return _Line(indent, inner, key, _SCALAR, written[1:-1])
        case "{":
            return _Line(indent, inner, key, _MAPPING, ())
        case "[":
            items = (one[1:-1] if one[0] in "'\"" else kubernetes_scalar(one) for one in _ITEMS.findall(written))
            return _Line(indent, inner, key, _LIST, tuple(items))
    return _Line(indent, inner, key, _SCALAR, kubernetes_scalar(written))


class Read(NamedTuple):
    """A document that was read; ``fields`` are the keys of all its mappings, one set for documents that have the same."""

    value: Any
    place: Place
    fields: frozenset[str]


class Unread(NamedTuple):
    """A document that is left to another reader: its first line, and the one behind its last, or that of the separator that ends it."""

    start: int
    end: int


def block_documents(lines: Sequence[str], before: int) -> list[Read | Unread]:
    """The documents of a stream in order, with ``before`` added to the lines of those that are read; comments alone are no document."""
    found: list[Read | Unread] = []
    start = 0
    while start < len(lines):
        first = start + (_line(lines[start]) is _DOCUMENT_END)
        read, end = _document(lines, first, before)
        if read is None and end < 0:
            end = next((n for n in range(start + 1, len(lines)) if _ends(lines[n])), len(lines))
            found.append(Unread(start, end))
        elif read is not None:
            found.append(read)
        elif first > start:  # an empty document: its separator says that there is one
            found.append(Unread(start, end))
        start = end
    return found


def _ends(text: str) -> bool:
    """Whether a document ends before this line, whatever it holds (YAML 1.2.2, 9.1.2)."""
    return text.startswith("---") and text[3:4] in ("", " ", "\t")


def _document(lines: Sequence[str], first: int, before: int) -> tuple[Read | None, int]:
    """The document that begins at the line ``first``, and the number of the line behind it, which is -1 if it cannot be read here; None for
    one without content.

    One loop with the innermost open collection in local variables, since lint spends a tenth of its time here.
    """
    whole: dict[str, Any] = {}  # as if the document were the value of a key
    whole_members: dict[str, Place] = {}
    top: Any = whole
    members: Any = whole_members
    at = -1  # the indent of the innermost open collection
    is_list = False
    enclosing: list[tuple[Any, Any, int, bool]] = []
    opened: str | None = ""  # the key of the innermost mapping whose value the next lines may say
    opened_line = 0
    new: Any
    places: Any
    fields: set[str | None] = set()
    end = first
    for end in range(first, len(lines)):
        line = _line(lines[end])
        if line is None:
            return None, -1
        if line is _BLANK:
            continue
        if line is _DOCUMENT_END:
            break
        indent, inner, key, kind, value = line
        number = before + end
        if opened is not None and (indent > at or (inner and indent == at)):
            if len(enclosing) == MAX_DEPTH:
                return None, -1
            new, places = ([], []) if inner else ({}, {})
            top[opened] = new
            members[opened] = (number if at < 0 else opened_line, places)
            enclosing.append((top, members, at, is_list))
            top, members, at, is_list = new, places, indent, bool(inner)
        else:
            while at > indent or (at == indent and is_list is not bool(inner)):
                top, members, at, is_list = enclosing.pop()
            if at != indent:
                return None, -1
        opened = None
        fields.add(key)
        if inner:
            if key is None:
                top.append(value if kind == _SCALAR else [*value] if kind == _LIST else {})
                members.append(
                    (number, None if kind == _SCALAR else [(number, None)] * len(value) if kind == _LIST else {})
                )
                continue
            enclosing.append((top, members, at, True))
            new, places = {}, {}
            top.append(new)
            members.append((number, places))
            top, members, at, is_list = new, places, inner, False
        elif key is None or key in top:
            return None, -1
        if kind == _SCALAR:
            top[key] = value
            members[key] = (number, None)
        elif kind == _LATER:
            top[key] = None
            members[key] = (number, None)
            opened, opened_line = key, number
        else:
            top[key] = [*value] if kind == _LIST else {}
            members[key] = (number, [(number, None)] * len(value) if kind == _LIST else {})
    else:
        end = len(lines)
    if end - first > MAX_LINES:
        return None, -1
    if not whole:
        return None, end
    fields.discard(None)
    return Read(whole[""], whole_members[""], _shared(frozenset(fields))), end


@lru_cache(maxsize=1024)
def _shared(fields: frozenset[Any]) -> frozenset[str]:
    """The first set that equals ``fields``: what is looked up by one object need not be compared."""
    return fields
