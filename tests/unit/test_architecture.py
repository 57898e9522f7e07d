"""The rules of ARCHITECTURE.md that a machine can hold: direction of imports, canonical names, light loading."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("model", "integration", "operations", "stacks", "toolkit", "host", "provision", "targets", "engine", "render")
"""Each may import itself and what stands before it."""

GROUND = ("trivet.errors", "trivet.hookspecs", "trivet.host.signals")
"""Modules that import nothing of trivet but the model, and that every layer may import."""

AUTHORS: Mapping[str, tuple[str, ...]] = {
    "authoring": ("model", "integration", "toolkit", "stacks", "engine", "authoring"),
    "contracts": ("authoring", "integration", "stacks", "contracts"),
    "scenarios": ("authoring", "integration", "scenarios"),
}
"""What stands beside the layers, and what each may import."""

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
    """Names imported anywhere in a module: in functions and under ``if TYPE_CHECKING`` too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                (f"{node.module}.{alias.name}" for alias in node.names) if node.module == "trivet" else (node.module,)
            )


def allowed(place: str) -> tuple[str, ...] | None:
    """What a module below ``trivet.{place}`` may import of trivet; None where it may import everything."""
    if place in LAYERS:
        return LAYERS[: LAYERS.index(place) + 1]
    return AUTHORS.get(place)


@pytest.mark.parametrize(("name", "path"), [pytest.param(name, path, id=name) for name, path in modules()])
def test_imports_follow_the_direction(name: str, path: Path) -> None:
    place = [*name.split("."), ""][1]
    for other in imported(path):
        top, *rest = other.split(".")
        assert top not in FOLDERS, f"{name} imports {other} under a bare name"
        permitted = ("model",) if name in GROUND else allowed(place)
        if top != "trivet" or not rest or other in GROUND or permitted is None:
            continue
        assert rest[0] in (*permitted, "fixtures"), f"{name} must not import {other}"


def test_the_model_needs_nothing_but_the_standard_library() -> None:
    for name, path in modules():
        if name.startswith("trivet.model"):
            for other in imported(path):
                assert other.split(".")[0] in {"trivet", *sys.stdlib_module_names}, f"{name} imports {other}"


EXTRAS: Mapping[str, set[str]] = {"trivet.integration.kubernetes_api": {"kubernetes", "urllib3"}}
"""What modules of the core library import in functions: an extra installs it, and an error names the extra."""


def test_the_core_library_needs_nothing_third_party_but_requests() -> None:
    for name, path in modules():
        if name.startswith("trivet.integration"):
            for other in imported(path):
                permitted = {"trivet", "requests", *sys.stdlib_module_names, *EXTRAS.get(name, ())}
                assert other.split(".")[0] in permitted, f"{name} imports {other}"


def test_loading_the_plugin_loads_nothing_of_trivet_but_the_plugin() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import trivet.plugin\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "assert {m for m in sys.modules if m.startswith('trivet')} == {'trivet', 'trivet.plugin'}\n"
        "assert new <= {'trivet'} | set(sys.stdlib_module_names), new\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_loading_the_command_line_loads_nothing_that_only_one_command_needs() -> None:
    code = (
        "import sys, trivet.cli\n"
        "loaded = {m for m in sys.modules if m.startswith(('trivet.engine', 'trivet.render', 'trivet.targets', 'trivet.host.kubectl'))}\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_benchmarks_import_what_there_is() -> None:
    subprocess.run([sys.executable, "-c", "import run"], cwd=ROOT / "benchmarks", check=True, timeout=30)


def test_every_package_is_in_the_distribution() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {name for name, path in modules() if path.name == "__init__.py"}
    assert present == listed
