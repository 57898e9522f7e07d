"""Digests of code: of the modules that a check's module imports, and of packages. What a check computes cannot change without them.

Modules count as a whole, with those that they import, of trivet and of the package of the check; other distributions do not. A name that a
package passes on from another module (``trivet.authoring``, ``trivet.integration``) counts as that module.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from trivet.stacks.parts import digest_of

_DATA = (".py", ".lock")
"""The files of a package that count: its modules, and the locks of jobs."""


@lru_cache(maxsize=1024)
def code_digest(module: str) -> str:
    """The SHA-256 of a module, by its import name, and of all modules that it imports, directly or not.

    Files are read once in a process.
    """
    return digest_of({name: _content(name) for name in sorted(_closure(module))})


@lru_cache(maxsize=16)
def package_digest(names: tuple[str, ...]) -> str:
    """The SHA-256 of all files of packages, and of single modules, without what they import. Files are read once in a process."""
    found = {}
    for name in names:
        file = _file(name)
        if file is None:
            raise LookupError(f"there is no module {name!r}")
        files = sorted(file.parent.rglob("*")) if file.name == "__init__.py" else [file]
        for one in files:
            if one.suffix in _DATA:
                found[f"{name}/{one.relative_to(file.parent).as_posix()}"] = _sha256(one)
    return digest_of(found)


@lru_cache(maxsize=1024)
def _closure(module: str) -> frozenset[str]:
    own = frozenset({"trivet", module.partition(".")[0]})
    found: set[str] = set()
    pending = {module}
    while pending:
        name = pending.pop()
        found.add(name)
        pending |= _imports(name, own) - found
    return frozenset(found)


@lru_cache(maxsize=1024)
def _imports(module: str, own: frozenset[str]) -> frozenset[str]:
    """The modules of the packages ``own`` that a module imports when it runs, in functions too; none for what has no source."""
    tree = _tree(module)
    return frozenset(_imported(tree, module, own)) if tree else frozenset()


def _imported(tree: ast.AST, module: str, own: frozenset[str]) -> Iterator[str]:
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in own:
                    yield from _attributes(tree, alias.asname, alias.name) if alias.asname else (alias.name,)
        elif isinstance(node, ast.ImportFrom):
            package = _absolute(node, module)
            if package.partition(".")[0] in own:
                for alias in node.names:
                    yield from _origin(package, alias.name)


def _attributes(tree: ast.AST, alias: str, module: str) -> Iterator[str]:
    """What a module's code uses of ``import module as alias``."""
    if not _is_package(module):
        yield module
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == alias:
            yield from _origin(module, node.attr)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, without those that only type checkers read."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending += node.orelse
        else:
            pending += ast.iter_child_nodes(node)


def _origin(package: str, name: str) -> Iterator[str]:
    """The module in which ``name`` of ``package`` is defined: a submodule, a module that the package has it from, or the package."""
    if _file(f"{package}.{name}"):
        yield f"{package}.{name}"
    elif _is_package(package) and name in (passed_on := _passed_on(package)):
        yield from _origin(*passed_on[name])
    elif _file(package):
        yield package


@lru_cache(maxsize=256)
def _passed_on(package: str) -> dict[str, tuple[str, str]]:
    """Name → the module and name from which a package imports it, for type checkers too: it may be loaded at its first use."""
    tree = _tree(package)
    return {
        alias.asname or alias.name: (_absolute(node, package), alias.name)
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    parents = module.split(".")
    depth = node.level - 1 if _is_package(module) else node.level
    return ".".join([*parents[: len(parents) - depth], *([node.module] if node.module else [])])


def _tree(module: str) -> ast.Module | None:
    file = _file(module)
    return ast.parse(file.read_bytes()) if file else None


def _content(module: str) -> str:
    file = _file(module)
    return _sha256(file) if file else ""


def _is_package(module: str) -> bool:
    file = _file(module)
    return file is not None and file.name == "__init__.py"


@lru_cache(maxsize=4096)
def _file(module: str) -> Path | None:
    """The source file of a module; None when there is no such module, or no source."""
    loaded = sys.modules.get(module)
    try:
        spec = None if loaded else importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    file = getattr(loaded, "__file__", None) or (spec and spec.origin)
    return Path(file) if file and file.endswith(".py") else None


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
