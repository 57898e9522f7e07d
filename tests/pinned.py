"""Messages that tests pin, read from the tests' source, and whether code with given literals can produce them. Runs neither."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from trivet.engine.scenarios.templates import SLOT, literals

LEAST = 2
"""The fewest plain words of a message that is looked up. Fewer are an identifier or a value."""
DEPTH = 3
"""How deep messages may be nested in the values of other messages."""
_PLAIN = re.compile(r"[A-Za-z][a-z]+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_METACHARACTERS = re.compile(
    r"(?<!\\)(?:\[[^\]]*\][*+?]*|\((?:\?[:P!=<])?|\)[*+?]*|\\[bBdDsSwW][*+?]*|\.[*+?]+|\{\d*,?\d*\}|[\^$|*+?])"
)


@dataclass(frozen=True)
class Pinned:
    """A part of a message, without the values of an f-string and what a regular expression leaves open, and the line that pins it."""

    line: int
    text: str


def pinned(tree: ast.Module) -> Iterator[Pinned]:
    """What a test module pins: ``because=`` of an example, ``match=`` of ``pytest.raises``, and what is compared with ``in``, ``not in``
    or ``startswith``. A name in their place stands for what the test, or else the module, calls so: constants, parameters, loops.
    """
    constants = _texts_by_name(one for one in tree.body if isinstance(one, ast.Assign))
    for statement in tree.body:
        named = {**constants, **_texts_by_name(ast.walk(statement))}
        for node in ast.walk(statement):
            for value, is_pattern in _pins(node):
                if is_pattern and isinstance(value, ast.Call) and ast.unparse(value.func) == "re.escape":
                    value, is_pattern = value.args[0], False
                for literal in [value] if _text(value) else named.get(getattr(value, "id", ""), []):
                    for part in _fixed_parts(_text(literal), is_pattern):
                        if len(_plain_words(part)) >= LEAST:
                            yield Pinned(literal.lineno, part)


def names_in(tree: ast.Module) -> frozenset[str]:
    """The literals of a test module that are a single word: names that it gives to what it makes."""
    return frozenset(text for text in literals(tree) if re.fullmatch(r"\S+", text))


def _pins(node: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """The expressions of pinned texts, and whether each is a regular expression."""
    if isinstance(node, ast.Call):
        yield from ((word.value, word.arg == "match") for word in node.keywords if word.arg in ("because", "match"))
        if isinstance(node.func, ast.Attribute) and node.func.attr == "startswith" and node.args:
            yield node.args[0], False
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        yield node.left, False


def _text(node: ast.expr) -> str:
    """A string literal, or the template of an f-string; empty for anything else."""
    return next(literals(ast.Module([ast.Assign([], node)], [])), "") if _is_text(node) else ""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _fixed_parts(text: str, is_pattern: bool) -> Iterator[str]:
    for part in (_METACHARACTERS.sub(SLOT, text) if is_pattern else text).split(SLOT):
        yield _flat(re.sub(r"\\(.)", r"\1", part) if is_pattern else part).strip()


def _texts_by_name(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """Name → the literals that are assigned to it, given as a parameter of that name, or looped over by it."""
    found: dict[str, list[ast.expr]] = defaultdict(list)

    def note(names: Sequence[str], value: ast.expr) -> None:
        values = value.elts if len(names) > 1 and isinstance(value, (ast.Tuple, ast.List)) else [value]
        for name, one in zip(names, values, strict=False):
            if _is_text(one):
                found[name].append(one)

    for node in nodes:
        if isinstance(node, ast.Assign):
            note(_names(node.targets[0]), node.value)
        elif isinstance(node, (ast.For, ast.comprehension)):
            for one in getattr(node.iter, "elts", ()):
                note(_names(node.target), one)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.parametrize":
            for one in getattr(node.args[1], "elts", ()):
                note(_names(node.args[0]), one)
    return found


def _names(node: ast.expr) -> list[str]:
    """The names of a target of an assignment, or of the parameters that ``parametrize`` names."""
    if isinstance(node, (ast.Tuple, ast.List)):
        return [name for one in node.elts for name in _names(one)]
    return [node.id] if isinstance(node, ast.Name) else [name.strip() for name in _text(node).split(",")]


class Messages:
    """The messages that code with these string literals and f-string templates can produce."""

    def __init__(self, texts: Iterable[str]) -> None:
        flat = {_flat(text) for text in texts}
        self.whole = {text.strip() for text in flat}
        self.templates = sorted(tuple(text.split(SLOT)) for text in flat if _WORD.search(text))
        self._with_word: dict[str, set[int]] = defaultdict(set)
        self._with_end: dict[str, set[int]] = defaultdict(set)
        for number, parts in enumerate(self.templates):
            for part in parts:
                words = _WORD.findall(part)
                for word in words:
                    self._with_word[word].add(number)
                for word in (*words[:1], *words[-1:]):
                    self._with_end[word].add(number)

    def have(self, text: str, names: Collection[str] = ()) -> bool:
        """Whether ``text`` can be part of a message.

        All of it stands in one template in this order. Where the template has a value, the text has what is no plain word, one of
        ``names``, a literal of the code, a list of single words, or in turn part of a message.
        """
        needed = min(LEAST, sum(word not in names for word in _plain_words(text)))
        found = _Fit(self, names).words(_flat(text).strip(), DEPTH)
        return found is not None and found >= needed

    def near(self, text: str) -> list[tuple[str, ...]]:
        """The templates that may fit: those that hold every word, then those of which a part begins or ends with a word of the text."""
        words = set(_WORD.findall(text))
        if not words:
            return []
        complete = set.intersection(*(self._with_word[word] for word in words))
        return [self.templates[number] for number in (*complete, *set().union(*(self._with_end[one] for one in words)))]


class _Fit:
    """One look-up. What it counts are the words of a text that are words of templates; None where no template fits."""

    def __init__(self, messages: Messages, names: Collection[str]) -> None:
        self._messages = messages
        self._names = names
        self._known: dict[tuple[str, int], int | None] = {}

    def words(self, text: str, depth: int) -> int | None:
        key = (text, depth)
        if key not in self._known:
            best: int | None = None
            for count in (count for parts in self._messages.near(text) for count in self._within(text, parts, depth)):
                best = max(count, best or 0)
                if best >= LEAST:
                    break
            self._known[key] = best
        return self._known[key]

    def _within(self, text: str, parts: Sequence[str], depth: int) -> Iterator[int]:
        for number, part in enumerate(parts):
            if text in part:
                yield _count(text)
            for tail in _tails(part):
                if text.startswith(tail):
                    yield from self._onward(text, len(tail), parts, number, _count(tail), depth)
            if number:
                yield from self._value_and_part(text, 0, parts, number, 0, depth)

    def _onward(
        self, text: str, position: int, parts: Sequence[str], number: int, count: int, depth: int
    ) -> Iterator[int]:
        """Counts for a text of which everything before ``position`` fits, to the end of the part ``number``."""
        if position == len(text):
            yield count
        elif number + 1 < len(parts):
            if (value := self._value(text[position:], depth)) is not None:
                yield count + value
            yield from self._value_and_part(text, position, parts, number + 1, count, depth)

    def _value_and_part(
        self, text: str, position: int, parts: Sequence[str], number: int, count: int, depth: int
    ) -> Iterator[int]:
        """Counts for a value at ``position`` and the part ``number`` after it, or the beginning of that part at the text's end."""
        part = parts[number]
        found = text.find(part, position) if part else -1
        while found >= 0:
            if (value := self._value(text[position:found], depth)) is not None:
                counted = count + value + _count(part)
                yield from self._onward(text, found + len(part), parts, number, counted, depth)
            found = text.find(part, found + 1)
        for head in _heads(part):
            end = len(text) - len(head)
            if (
                end >= position
                and text.endswith(head)
                and (value := self._value(text[position:end], depth)) is not None
            ):
                yield count + value + _count(head)

    def _value(self, text: str, depth: int) -> int | None:
        """The count of what stands where a template has a value."""
        value = text.strip()
        listed = re.split(r",\s*|; | and ", value)
        if value in self._messages.whole:
            return _count(value)
        if all(one in self._names for one in _plain_words(value)):
            return 0
        if (len(listed) > 2 or value.endswith(",")) and not any(" " in one for one in listed):
            return 0
        if depth and (found := self.words(value, depth - 1) or 0) >= LEAST:
            return found
        if len(listed) == 1:
            return None
        first, others = self._value(listed[0], depth), self._value(value[len(listed[0]) :].lstrip(",; "), depth)
        return None if first is None or others is None else first + others


def _plain_words(text: str) -> list[str]:
    stripped = (token.strip(",;:.()") for token in text.split())
    return [token for token in stripped if _PLAIN.fullmatch(token)]


def _count(text: str) -> int:
    return len(_WORD.findall(text))


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@cache
def _tails(part: str) -> tuple[str, ...]:
    """The ends of a part that begin at the boundary of a word, with the whole."""
    starts = {0, *(match.start() for match in re.finditer(r"\b", part))} - {len(part)}
    return tuple(part[start:] for start in starts)


@cache
def _heads(part: str) -> tuple[str, ...]:
    """The beginnings of a part that end at the boundary of a word, without the whole."""
    ends = {match.start() for match in re.finditer(r"\b", part)} - {0, len(part)}
    return tuple(part[:end] for end in ends)
