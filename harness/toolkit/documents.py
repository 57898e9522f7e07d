"""Reading YAML and JSON into plain values that know their lines, safely whatever the file holds.

Works on the parser's events instead of PyYAML's nodes: libyaml's composer recurses on the C stack, so that 50,000 nested
brackets end the process, and a line of each value is had for one more dictionary. Resolves no reference and no template.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import yaml

from trivet.model.subjects import Keys
from trivet.model.text_lines import LINE_ENDS, text_lines

MAX_DEPTH = 100
"""Mappings and lists within one another. An InferenceService with a whole pod template has about 15."""

MAX_VALUES = 2_000_000
"""Values of one document once its aliases are written out. A manifest of 100,000 lines has about 200,000."""

MAX_BITS = 1000
"""Of an integer; Python turns larger ones neither into a float (from 1024 on) nor, from 4300 digits on, into a text."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.SafeLoader("")
_TAG = "tag:yaml.org,2002:"
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
    """One document of a stream: its value, of the types that JSON has, and its lines."""

    value: Any
    place: Place

    def line(self, keys: Keys) -> int:
        """The 1-based line of ``value[keys[0]][keys[1]]…``, or of its nearest parent that exists."""
        line, members = self.place
        for key in keys:
            try:
                line, members = members[key]
            except (KeyError, IndexError, TypeError):
                break
        return line + 1


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been read. ``key`` is the mapping's key whose value comes next."""

    value: Any
    members: Any
    line: int
    anchor: str | None
    is_map: bool
    key: str | None = None
    key_line: int = 0
    values: int = 1
    merges: list[tuple[Any, Place]] = field(default_factory=list)


def documents(text: str, scalar: Callable[[str], Any] | None = None, *, before: int = 0) -> Iterator[Document]:
    """Every document of a stream, in order. Raises BrokenDocument at the first that is broken or refused.

    ``scalar`` makes a value of a scalar without quotes and tag: :func:`kubernetes_scalar` by default, :func:`kfp_scalar` or
    :func:`pyyaml_scalar`. ``before`` is the number of lines before ``text``, in a file that holds more.
    """
    numbers = _numbers(text)
    try:
        parser = _Loader(text)
        while (event := parser.get_event()) is not None:
            if type(event) is yaml.DocumentStartEvent:
                yield _document(parser, scalar or kubernetes_scalar, before, numbers)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part) or "not YAML"
        line = 0 if mark is None else mark.line if numbers is None else numbers[mark.line]
        raise BrokenDocument(problem, before + line + 1, mark.column + 1 if mark else 1) from error
    except yaml.reader.ReaderError as error:
        # A parser of libyaml counts bytes, one in Python characters.
        read = text[: error.position] if _Loader is yaml.SafeLoader else text.encode()[: error.position].decode()
        lines = text_lines(f"{read}?")
        raise BrokenDocument(
            f"the character U+{error.character:04X} is not allowed in YAML", before + len(lines), len(lines[-1])
        ) from error


def _numbers(text: str) -> Sequence[int] | None:
    """The editor's number of each line that libyaml counts, both from 0; None when they are the same.

    libyaml 0.2.5 yaml_private.h, IS_BREAK: U+0085, U+2028 and U+2029 end a line too.
    """
    if not any(one in text for one in _YAML_BREAKS):
        return None
    numbers = [0]
    for found in re.finditer(f"\r\n|[\n\r{_YAML_BREAKS}]", text):
        numbers.append(numbers[-1] + (found[0] in LINE_ENDS))
    # The end of the stream begins a line of its own (scanner.c, yaml_parser_fetch_stream_end: Force new line).
    return [*numbers, numbers[-1] + 1]


def _document(parser: Any, scalar: Callable[[str], Any], before: int, numbers: Sequence[int] | None) -> Document:
    anchors: dict[str, tuple[Any, Any, int, int]] = {}
    enclosing: list[_Open] = []
    top: _Open | None = None
    value: Any
    members: Any
    while True:
        event = parser.get_event()
        kind = type(event)
        line = event.start_mark.line
        line = at = before + (line if numbers is None else numbers[line])
        if kind is yaml.ScalarEvent:
            if top is not None and top.is_map and top.key is None:
                _name(top, _key(event, line) if scalar is kubernetes_scalar else event.value, line)
                continue
            value, members, values = scalar(event.value) if event.implicit[0] else _tagged(event), None, 1
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if top is not None and top.is_map and top.key is None:
                raise BrokenDocument("a mapping or list stands where a key is expected", line + 1)
            if len(enclosing) == MAX_DEPTH:
                raise BrokenDocument(f"more than {MAX_DEPTH} mappings and lists within one another", line + 1)
            is_map = kind is yaml.MappingStartEvent
            top = _Open({} if is_map else [], {} if is_map else [], line, event.anchor, is_map)
            enclosing.append(top)
            continue
        elif kind is yaml.AliasEvent:
            if event.anchor not in anchors:
                raise BrokenDocument(f"the alias *{event.anchor} names no anchor that ends before it", line + 1)
            value, members, at, values = anchors[event.anchor]
            if top is not None and top.is_map and top.key is None:
                if not isinstance(value, str):
                    raise BrokenDocument(f"the alias *{event.anchor} stands where a key is expected", line + 1)
                _name(top, value, line)
                continue
        else:  # the end of a mapping or list; the end of the document comes through the return below
            ended = enclosing.pop()
            if ended.merges:
                _merge(ended)
            value, members, at, values = ended.value, ended.members, ended.line, ended.values
            event.anchor = ended.anchor
            top = enclosing[-1] if enclosing else None
        if event.anchor and kind is not yaml.AliasEvent:
            anchors[event.anchor] = value, members, at, values
        if top is None:
            parser.get_event()
            return Document(value, (at, members))
        top.values += values
        if top.values > MAX_VALUES:
            raise BrokenDocument(f"more than {MAX_VALUES:,} values once its aliases are written out", line + 1)
        if not top.is_map:
            top.value.append(value)
            top.members.append((at, members))
        elif top.key == "<<":
            if not isinstance(value, dict | list):
                raise BrokenDocument("<< takes a mapping or a list of mappings", line + 1)
            top.merges.append((value, (at, members)))
        else:
            top.value[top.key] = value
            top.members[top.key] = (top.key_line, members)
        top.key = None


def _key(event: yaml.ScalarEvent, line: int) -> str:
    """What kubectl and the API server make of a key: ``on`` is ``true``, and ``1e3`` is ``1000``.

    Source: sigs.k8s.io/yaml 1.4.0 yaml.go, convertToJSONableObject.
    """
    if event.tag == f"{_TAG}null":
        raise BrokenDocument(f"{event.value!r} stands where a key is expected, and is no text", line + 1)
    if not event.implicit[0] or event.value == "<<":
        return str(event.value)
    value = kubernetes_scalar(event.value)
    if value is None or (isinstance(value, int) and value >= 2**63):
        raise BrokenDocument(f"{event.value!r} stands where a key is expected, and is no text", line + 1)
    if isinstance(value, bool):
        return str(value).lower()
    return _float_key(value) if isinstance(value, float) else str(value)


def _float_key(value: float) -> str:
    """The shortest text of a number of 32 bits, as Go's strconv.FormatFloat(value, 'g', -1, 32) writes it."""
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    try:
        stored = struct.pack("<f", value)
    except OverflowError:
        return ".inf" if value > 0 else "-.inf"
    digits = next(n for n in range(10) if struct.pack("<f", float(f"{value:.{n}e}")) == stored)
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    if -4 <= int(exponent) < 6:
        return f"{value:.{max(digits - int(exponent), 0)}f}"
    return f"{mantissa}e{int(exponent):+03d}"


def _name(mapping: _Open, key: str, line: int) -> None:
    if key in mapping.value:
        first = mapping.members[key][0] + 1
        raise BrokenDocument(f"the key {key!r} stands here a second time, after line {first}", line + 1)
    mapping.key, mapping.key_line = key, line


def _merge(mapping: _Open) -> None:
    """Take over what ``<<`` names; what the mapping says itself wins (https://yaml.org/type/merge.html)."""
    for value, place in mapping.merges:
        sources = [(value, place)] if isinstance(value, dict) else list(zip(value, place[1], strict=True))
        for source, (line, members) in sources:
            if not isinstance(source, dict):
                raise BrokenDocument("<< takes a mapping or a list of mappings", line + 1)
            for key, member in source.items():
                if key not in mapping.value:
                    mapping.value[key] = member
                    mapping.members[key] = members[key]


def _tagged(event: yaml.ScalarEvent) -> Any:
    """A scalar that is quoted, a block, or has a tag."""
    if event.tag in (None, "!", f"{_TAG}str"):
        return event.value
    return _typed(event.tag, event.value)


_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{f"{sign}.{inf}": float(f"{sign}inf") for sign in ("", "+", "-") for inf in ("inf", "Inf", "INF")},
}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@lru_cache(maxsize=4096)
def kubernetes_scalar(text: str) -> Any:
    """What kubectl and the API server make of a scalar without quotes: ``y`` is true, ``1e3`` a number, a date a text.

    Source: sigs.k8s.io/yaml 1.4.0 goyaml.v2/resolve.go, resolve; a date becomes text in decode.go, scalar.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[:1] not in "+-.0123456789":
        return text
    digits = text if text[0] == "." else text.replace("_", "")
    if _INTEGER.fullmatch(digits) and len(digits) <= 66:
        base = 0 if digits.lstrip("+-")[1:2] in tuple("xXbBoO") else 8 if digits.lstrip("+-")[0] == "0" else 10
        number = int(digits, base)
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.fullmatch(digits) and not math.isinf(value := float(digits)):
        return value
    return text


def kfp_scalar(text: str) -> Any:
    """What KFP's API server makes of a scalar without quotes: as ``kubernetes_scalar``, but of words only true and false are booleans.

    Source: gopkg.in/yaml.v3 3.0.1 resolve.go, by which backend/src/apiserver/template/v2_template.go of KFP 2.17.0 and 2.0.5 reads.
    """
    value = kubernetes_scalar(text)
    return text if isinstance(value, bool) and text.casefold() not in ("true", "false") else value


@lru_cache(maxsize=4096)
def pyyaml_scalar(text: str) -> Any:
    """What PyYAML makes of a scalar without quotes, save that dates are texts."""
    return _typed(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)), text)


def _typed(tag: str, text: str) -> Any:
    """The value of a scalar by its tag; dates, numbers to the base of 60 and integers that no float holds are texts."""
    kind = tag.removeprefix(_TAG)
    if kind not in ("null", "bool", "int", "float") or ":" in text:
        return text
    try:
        value = getattr(_RESOLVER, f"construct_yaml_{kind}")(yaml.ScalarNode(tag, text))
    except (ValueError, LookupError):  # a tag that the text belies, such as !!int "" and !!bool maybe
        return text
    return text if kind == "int" and value.bit_length() > MAX_BITS else value
