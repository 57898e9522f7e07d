"""``trivet.authoring`` as an author sees it: every name is there, typed as it is at run time, and importing it stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trivet.authoring as facade

SOURCE = ast.parse(Path(facade.__file__).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", facade.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(facade, name) is not None
    assert name in dir(facade)


def test_what_is_imported_later_is_what_type_checkers_see() -> None:
    typed = {
        (node.module, alias.name)
        for block in SOURCE.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == {(module, name) for module, names in facade._LATER.items() for name in names}
    assert {name for _, name in typed} <= set(facade.__all__)


def test_a_misspelt_name_is_an_import_error_with_the_name() -> None:
    with pytest.raises(ImportError, match="cannot import name 'pased'"):
        from trivet.authoring import pased  # noqa: F401


def test_importing_it_loads_no_toolkit_no_requests_and_no_hypothesis() -> None:
    code = (
        "import sys; from trivet.authoring import contract, scenario, MUST, passed, ClusterClient, Manifest, Target\n"
        "assert not {m for m in sys.modules if m.startswith(('trivet.toolkit', 'trivet.integration', 'trivet.engine'))}\n"
        "assert not {'requests', 'hypothesis', 'yaml', 'pytest'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
