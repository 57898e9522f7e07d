"""Message templates: the sentences that a scenario's code can produce, read from its source, and which of them a result contains.

A result keeps the templates of its messages. When the code no longer has one of them, the variant's messages would read differently today:
its record is stale. A sentence that the code still has and no longer chooses is not noticed.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PLAYER = "trivet.engine.scenarios.play"
"""The module with the messages that no scenario has: that the steady state did not return, and the marks."""
SLOT = "{}"
"""Stands in a template for a value that an f-string fills in."""
WORDS = 2
"""The fewest words of a template; a single word occurs in quotes of other software too."""
_WORD = re.compile(r"[^\W\d_]{2,}")


def templates(*modules: str) -> frozenset[str]:
    """Every template in the source of ``modules`` and of what these import, directly or not.

    Names are dotted and importable. Followed are imports from trivet and from the modules' own packages. Docstrings are no templates,
    and a module without Python source has none.
    """
    found: set[str] = set()
    followed = {"trivet", *(name.partition(".")[0] for name in modules)}
    done: set[str] = set()
    ahead = list(modules)
    while ahead:
        name = ahead.pop()
        if name not in done and name.partition(".")[0] in followed:
            done.add(name)
            texts, imports = _read(name)
            found |= texts
            ahead += imports
    return frozenset(found)


def used(sentences: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Those of the templates ``known`` whose fixed parts occur in one of ``sentences``, in their order. Sorted."""
    texts = [_flat(sentence) for sentence in sentences]
    return tuple(sorted(one for one in known if any(_occurs(one, text) for text in texts)))


def _occurs(template: str, text: str) -> bool:
    start = 0
    for part in template.split(SLOT):
        found = text.find(part, start)
        if found < 0:
            return False
        start = found + len(part)
    return True


@cache
def _read(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """The templates of one module, and every name that it may import: of ``from a import b``, both ``a`` and ``a.b``."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        # A ValueError for what was not imported by its name, such as __main__.
        return frozenset(), frozenset()
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return frozenset(), frozenset()
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return frozenset(_templates(tree)), frozenset(_imports(tree))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _templates(tree: ast.Module) -> Iterator[str]:
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            parts.add(id(node.value))  # a docstring
        elif id(node) in parts:
            continue
        elif isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            parts |= {id(part.format_spec) for part in node.values if isinstance(part, ast.FormattedValue)}
            yield from _sentence(
                "".join(str(part.value) if isinstance(part, ast.Constant) else SLOT for part in node.values)
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _sentence(node.value)


def _sentence(text: str) -> Iterator[str]:
    """The text as a template, unless it is a name: a path, an identifier or a single word."""
    flat = _flat(text)
    fixed = flat.replace(SLOT, "")
    if " " in fixed.strip() and len(_WORD.findall(fixed)) >= WORDS:
        yield flat


def _flat(text: str) -> str:
    return " ".join(text.split())
