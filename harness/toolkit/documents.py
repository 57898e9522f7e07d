"""Reading YAML and JSON into plain values that know their lines, safely whatever the file holds.

Works on the parser's events instead of PyYAML's nodes: libyaml's composer recurses on the C stack, so that 50,000 nested
brackets end the process, and a line of each value is had for one more dictionary. Resolves no reference and no template.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from trivet.model.subjects import Keys
from trivet.model.text_lines import LINE_ENDS, text_lines
from trivet.toolkit.scalars import TAG, kubernetes_scalar, plain_key, typed

MAX_DEPTH = 100
"""Mappings and lists within one another. An InferenceService with a whole pod template has about 15."""

MAX_VALUES = 2_000_000
"""Values of one document once its aliases are written out. A manifest of 100,000 lines has about 200,000."""

MAX_SHARED = 500
"""Keys of a document that are kept for later ones, which often have the same. An InferenceService has about 30."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_BREAKS = "\x85\u2028\u2029"
"""What ends a line in YAML 1.1 and not in an editor."""


class BrokenDocument(ValueError):
    """A document that is not YAML or is refused. ``line`` and ``column`` count from 1."""

    def __init__(self, problem: str, line: int, column: int = 1) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


Place = tuple[int, Any]
"""Where a value stands (0-based line), and where its members stand: ``dict[str, Place]``, ``list[Place]`` or None."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream: its value, of the types that JSON has, its lines, and the keys of all mappings in it.

    ``fields`` also has ``<<``, and keys that stand below a merged value which another one takes the place of.
    """

    value: Any
    place: Place
    fields: frozenset[str]

    def line(self, keys: Keys) -> int:
        """The 1-based line of ``value[keys[0]][keys[1]]…``, or of its nearest parent that exists."""
        line, members = self.place
        for key in keys:
            try:
                line, members = members[key]
            except (KeyError, IndexError, TypeError):
                break
        return line + 1


def documents(text: str, scalar: Callable[[str], Any] = kubernetes_scalar, *, before: int = 0) -> Iterator[Document]:
    """Every document of a stream, in order. Raises BrokenDocument at the first that is broken or refused.

    ``scalar`` makes a value of a scalar without quotes and tag: as kubectl does it by default, or another function of
    :mod:`trivet.toolkit.scalars`. ``before`` is the number of lines before ``text``, in a file that holds more.
    """
    lines = _lines(text, before)
    try:
        parser = _Loader(text)
        while (event := parser.get_event()) is not None:
            if type(event) is yaml.DocumentStartEvent:
                yield _document(parser.get_event, scalar, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part) or "not YAML"
        line = before if mark is None else lines[mark.line]
        raise BrokenDocument(problem, line + 1, mark.column + 1 if mark else 1) from error
    except yaml.reader.ReaderError as error:
        # A parser of libyaml counts bytes, one in Python characters.
        read = text[: error.position] if _Loader is yaml.SafeLoader else text.encode()[: error.position].decode()
        read_lines = text_lines(f"{read}?")
        raise BrokenDocument(
            f"the character U+{error.character:04X} is not allowed in YAML",
            before + len(read_lines),
            len(read_lines[-1]),
        ) from error


def _lines(text: str, before: int) -> Sequence[int]:
    """The editor's number of each line that libyaml counts, both from 0, with ``before`` lines before the text.

    libyaml 0.2.5 yaml_private.h, IS_BREAK: U+0085, U+2028 and U+2029 end a line too.
    """
    if not any(one in text for one in _YAML_BREAKS):
        return range(before, sys.maxsize)
    numbers = [before]
    for found in re.finditer(f"\r\n|[\n\r{_YAML_BREAKS}]", text):
        numbers.append(numbers[-1] + (found[0] in LINE_ENDS))
    # The end of the stream begins a line of its own (scanner.c, yaml_parser_fetch_stream_end: Force new line).
    return [*numbers, numbers[-1] + 1]


def _document(next_event: Callable[[], Any], scalar: Callable[[str], Any], lines: Sequence[int]) -> Document:
    """The document that begins. ``lines`` has the editor's number of each line of the parser, both from 0.

    One loop with the innermost open collection in local variables, since lint spends a fifth of its time here.
    """
    scalar_event, alias_event = yaml.ScalarEvent, yaml.AliasEvent
    mapping_start, sequence_start = yaml.MappingStartEvent, yaml.SequenceStartEvent
    is_kubernetes = scalar is kubernetes_scalar
    fields: set[str] = set()
    anchors: dict[str, tuple[Any, Any, int, int]] = {}
    enclosing: list[tuple[Any, ...]] = []
    top: Any = None  # a mapping or list whose end has not been read, with what it holds so far
    top_members: Any = None
    top_line = top_values = 0
    top_anchor: str | None = None
    merges: list[tuple[Any, Place]] = []
    is_map = False
    key: str | None = None  # of a mapping, whose value comes next
    key_line = 0
    value: Any
    members: Any

    while True:
        event = next_event()
        kind = event.__class__
        if kind is scalar_event:
            if is_map and key is None:
                key_line = lines[event.start_mark.line]
                key = _key(event, key_line) if is_kubernetes else str(event.value)
                if key in top:
                    raise _repeated(key, top_members, key_line)
                fields.add(key)
                continue
            value = scalar(event.value) if event.implicit[0] else _tagged(event)
            members, values, anchor, at = None, 1, event.anchor, None
        elif kind is mapping_start or kind is sequence_start:
            if is_map and key is None:
                raise _refused("a mapping or list stands where a key is expected", event, lines)
            if len(enclosing) == MAX_DEPTH:
                raise _refused(f"more than {MAX_DEPTH} mappings and lists within one another", event, lines)
            enclosing.append((top, top_members, top_line, top_values, top_anchor, merges, is_map, key, key_line))
            is_map = kind is mapping_start
            top, top_members, merges = ({}, {}, []) if is_map else ([], [], [])
            top_line, top_values, top_anchor, key = lines[event.start_mark.line], 1, event.anchor, None
            continue
        elif kind is alias_event:
            if event.anchor not in anchors:
                raise _refused(f"the alias *{event.anchor} names no anchor that ends before it", event, lines)
            value, members, at, values = anchors[event.anchor]
            if is_map and key is None:
                key_line = lines[event.start_mark.line]
                if not isinstance(value, str):
                    raise _refused(f"the alias *{event.anchor} stands where a key is expected", event, lines)
                key = value
                if key in top:
                    raise _repeated(key, top_members, key_line)
                fields.add(key)
                continue
            anchor = None
        else:  # the end of a mapping or list; the end of the document comes through the return below
            if merges:
                _merge(top, top_members, merges)
            value, members, at, values, anchor = top, top_members, top_line, top_values, top_anchor
            top, top_members, top_line, top_values, top_anchor, merges, is_map, key, key_line = enclosing.pop()
        if anchor:
            anchors[anchor] = value, members, lines[event.start_mark.line] if at is None else at, values
        if not enclosing:
            next_event()
            place = (lines[event.start_mark.line] if at is None else at, members)
            found = frozenset(fields)
            return Document(value, place, _shared(found) if len(found) <= MAX_SHARED else found)
        top_values += values
        if top_values > MAX_VALUES:
            raise _refused(f"more than {MAX_VALUES:,} values once its aliases are written out", event, lines)
        if not is_map:
            top.append(value)
            top_members.append((lines[event.start_mark.line] if at is None else at, members))
        elif key == "<<":
            if not isinstance(value, dict | list):
                raise _refused("<< takes a mapping or a list of mappings", event, lines)
            merges.append((value, (lines[event.start_mark.line] if at is None else at, members)))
        else:
            top[key] = value
            top_members[key] = (key_line, members)
        key = None


@lru_cache(maxsize=1024)
def _shared(fields: frozenset[str]) -> frozenset[str]:
    """The first set that equals ``fields``: what is looked up by one object need not be compared."""
    return fields


def _refused(problem: str, event: Any, lines: Sequence[int]) -> BrokenDocument:
    return BrokenDocument(problem, lines[event.start_mark.line] + 1)


def _repeated(key: str, members: dict[str, Place], line: int) -> BrokenDocument:
    return BrokenDocument(f"the key {key!r} stands here a second time, after line {members[key][0] + 1}", line + 1)


def _key(event: yaml.ScalarEvent, line: int) -> str:
    """What kubectl and the API server make of a key. What is quoted, a block or has a tag is a text, but for a null."""
    text: str = event.value
    plain = event.implicit[0] and text != "<<"
    key = plain_key(text) if plain else None if event.tag == f"{TAG}null" else text
    if key is None:
        raise BrokenDocument(f"{text!r} stands where a key is expected, and is no text", line + 1)
    return key


def _merge(mapping: dict[str, Any], places: dict[str, Place], merges: Sequence[tuple[Any, Place]]) -> None:
    """Take over what ``<<`` names; what the mapping says itself wins (https://yaml.org/type/merge.html)."""
    for value, place in merges:
        sources = [(value, place)] if isinstance(value, dict) else list(zip(value, place[1], strict=True))
        for source, (line, members) in sources:
            if not isinstance(source, dict):
                raise BrokenDocument("<< takes a mapping or a list of mappings", line + 1)
            for key, member in source.items():
                if key not in mapping:
                    mapping[key] = member
                    places[key] = members[key]


def _tagged(event: yaml.ScalarEvent) -> Any:
    """A scalar that is quoted, a block, or has a tag."""
    if event.tag in (None, "!", f"{TAG}str"):
        return event.value
    return typed(event.tag, event.value)
