"""The whole of the library under mypy --strict, laid out under its import names."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.processes
def test_the_library_type_checks_strictly(tmp_path: Path) -> None:
    from mypy import api

    package = tmp_path / "trivet"
    package.mkdir()
    for child in (ROOT / "harness").iterdir():
        (package / child.name).symlink_to(child)
    for folder in ("contracts", "scenarios", "fixtures"):
        (package / folder).symlink_to(ROOT / folder)
    out, err, status = api.run(
        ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"), str(package)]
    )
    assert status == 0, out + err
