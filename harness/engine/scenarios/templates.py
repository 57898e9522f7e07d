"""Message templates: the sentences that a scenario's code can produce, read from its source, and which of them a result contains.

A result keeps the templates of its messages. When the code no longer has one of them, the variant's messages would read differently today:
its record is stale. A sentence that the code still has and no longer chooses is not noticed.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from trivet.engine.registry import registry_in_use

PLAYER = "trivet.engine.scenarios.play"
"""The module with the messages that no scenario has: that the steady state did not return, and the marks."""
GATE = "refusal"
"""The function of ``trivet.authoring`` that judges by contracts, whose ids match its argument ``pattern``."""
SLOT = "{}"
"""Stands in a template for a value that an f-string fills in."""
WORDS = 2
"""The fewest words of a template; a single word occurs in quotes of other software too."""
_WORD = re.compile(r"[^\W\d_]{2,}")


def templates(*modules: str) -> frozenset[str]:
    """Every template in the source of ``modules`` and of what these import, directly or not.

    Names are dotted and importable. Followed are imports from trivet and from the modules' own packages; a name that a package only
    re-exports leads to the module that defines it, and a call of a gate to the contracts that it judges by, of the registry in use.
    Docstrings are no templates, and a module without Python source has none.
    """
    found: set[str] = set()
    followed = {"trivet", *(name.partition(".")[0] for name in modules)}
    done: set[str] = set()
    ahead = list(modules)
    while ahead:
        name = ahead.pop()
        if name in done:
            continue
        done.add(name)
        if source := _read(name):
            found |= source.templates
            gated = _modules_of_contracts(source.gates)
            followed |= {module.partition(".")[0] for module in gated}
            ahead += gated
            imported = [(module, of) for module, of in source.imports if module.partition(".")[0] in followed]
            ahead += (_home(module, of) for module, of in imported)
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


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What the source of one module holds: its templates, its imports as (module, name; empty for the whole module), the names that it
    imports, with where they come from, and the patterns of the contracts that its gates judge by."""

    templates: frozenset[str]
    imports: frozenset[tuple[str, str]]
    names: Mapping[str, tuple[str, str]]
    gates: frozenset[str]


@cache
def _read(module: str) -> _Source | None:
    """The source of a module; None where there is no Python source that can be read."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        # A ValueError for what was not imported by its name, such as __main__.
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        # Removed, or being edited, since it was imported.
        return None
    names = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }
    modules = {(alias.name, "") for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return _Source(
        templates=frozenset(_sentences(tree)),
        imports=frozenset({*modules, *names.values()}),
        names=names,
        gates=frozenset(_gates(tree, names)),
    )


def _gates(tree: ast.Module, names: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """The pattern of each call of a gate; every contract where it is not written as a text."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else names.get(getattr(called, "id", ""), ("", ""))[1]
        if name == GATE:
            named = [word.value for word in node.keywords if word.arg == "pattern"]
            pattern = next(iter([*node.args[2:3], *named]), None)
            yield pattern.value if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str) else "*"


def _modules_of_contracts(patterns: Iterable[str]) -> list[str]:
    """The modules of the contracts that a gate judges by."""
    wanted = list(patterns)
    if not wanted:
        return []
    contracts = registry_in_use().contracts
    return sorted(
        {
            one.check.__module__
            for name, one in contracts.items()
            if one.static and any(fnmatchcase(name, pattern) for pattern in wanted)
        }
    )


def _home(module: str, name: str) -> str:
    """The module that ``from module import name`` is about: the submodule of that name, or the one in which the name is defined."""
    visited: set[tuple[str, str]] = set()
    while name and (module, name) not in visited:
        visited.add((module, name))
        if _read(f"{module}.{name}"):
            return f"{module}.{name}"
        source = _read(module)
        if not source or name not in source.names:
            break
        module, name = source.names[name]
    return module


def literals(tree: ast.Module) -> Iterator[str]:
    """The string literals of a module and the templates of its f-strings, with SLOT for each value; docstrings are left out."""
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            parts.add(id(node.value))  # a docstring
        elif id(node) in parts:
            continue
        elif isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            parts |= {id(part.format_spec) for part in node.values if isinstance(part, ast.FormattedValue)}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else SLOT for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _sentences(tree: ast.Module) -> Iterator[str]:
    """The literals of a module as templates, without names: paths, identifiers and single words."""
    for text in literals(tree):
        flat = _flat(text)
        fixed = flat.replace(SLOT, "")
        if " " in fixed.strip() and len(_WORD.findall(fixed)) >= WORDS:
            yield flat


def _flat(text: str) -> str:
    return " ".join(text.split())
