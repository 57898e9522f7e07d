"""The documentation shows the third-party modules that the tests run, word for word, and they are as short as it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THIRD_PARTY = ROOT / "tests" / "thirdparty"


@pytest.mark.parametrize(
    ("page", "name", "lines"),
    [("extending", "acme_contracts", 25), ("extending", "acme_scenarios", 40), ("targets", "acme_target", 90)],
)
def test_the_page_shows_the_module_that_runs_and_it_is_short_and_has_one_import_of_trivet(
    page: str, name: str, lines: int
) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    source = (THIRD_PARTY / f"{name}.py").read_text(encoding="utf-8")
    assert source.rstrip() in re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)
    assert len(source.splitlines()) <= lines
    imports = [
        ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert [line for line in imports if "trivet" in line] == ["import trivet.authoring as trivet"]
