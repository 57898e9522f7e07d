"""The rules of ARCHITECTURE.md that a machine can hold: direction of imports, canonical names, light loading."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("model", "integration", "stacks", "targets", "engine", "render")
"""Each may import itself and what stands before it."""

EXCEPTIONS = {("targets", "trivet.engine.events")}
"""Targets tell what they do in the engine's events."""

OPEN_TO_ALL = ("trivet.errors",)
FOLDERS = {
    "harness": "trivet",
    "contracts": "trivet.contracts",
    "scenarios": "trivet.scenarios",
    "fixtures": "trivet.fixtures",
}


def modules() -> Iterator[tuple[str, Path]]:
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT / folder).with_suffix("")
            yield ".".join((package, *(part for part in relative.parts if part != "__init__"))), path


def imported(path: Path) -> Iterator[str]:
    """Names imported at run time: what stands under ``if TYPE_CHECKING`` does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    annotations = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize(("name", "path"), [pytest.param(name, path, id=name) for name, path in modules()])
def test_imports_follow_the_direction(name: str, path: Path) -> None:
    parts = name.split(".")
    layer = parts[1] if len(parts) > 1 and parts[1] in LAYERS else None
    for other in imported(path):
        top, *rest = other.split(".")
        assert top not in FOLDERS, f"{name} imports {other} under a bare name"
        if top != "trivet" or not rest or other in OPEN_TO_ALL:
            continue
        if layer and rest[0] not in ("fixtures", "hookspecs") and (layer, other) not in EXCEPTIONS:
            assert rest[0] in LAYERS[: LAYERS.index(layer) + 1], f"{name} must not import {other}"
        if parts[1:2] == ["contracts"]:
            allowed = ("model", "integration", "stacks", "contracts", "hookspecs", "targets")
            assert rest[0] in allowed or other == "trivet.engine.authoring", f"{name} must not import {other}"
        if parts[1:2] == ["scenarios"]:
            allowed = ("model", "integration", "scenarios", "hookspecs", "targets")
            ours = other == "trivet.engine.authoring" or other.startswith("trivet.engine.scenarios.")
            assert rest[0] in allowed or ours, f"{name} must not import {other}"


def test_the_model_needs_nothing_but_the_standard_library() -> None:
    for name, path in modules():
        if name.startswith("trivet.model"):
            for other in imported(path):
                assert other.split(".")[0] in {"trivet", *sys.stdlib_module_names}, f"{name} imports {other}"


def test_the_core_library_needs_nothing_third_party_but_requests() -> None:
    for name, path in modules():
        if name.startswith("trivet.integration"):
            for other in imported(path):
                assert other.split(".")[0] in {"trivet", "requests", *sys.stdlib_module_names}, (
                    f"{name} imports {other}"
                )


def test_loading_the_plugin_loads_nothing_of_trivet_but_the_plugin() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import trivet.plugin\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "assert {m for m in sys.modules if m.startswith('trivet')} == {'trivet', 'trivet.plugin'}\n"
        "assert new <= {'trivet'} | set(sys.stdlib_module_names), new\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_every_package_is_in_the_distribution() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {name for name, path in modules() if path.name == "__init__.py"}
    assert present == listed
