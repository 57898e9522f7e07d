"""The whole of the repository's code under mypy --strict: the library laid out under its import names, and its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.processes
def test_the_library_its_tests_and_third_party_modules_type_check_strictly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mypy import api

    package = tmp_path / "trivet"
    package.mkdir()
    for child in (ROOT / "harness").iterdir():
        (package / child.name).symlink_to(child)
    for folder in ("contracts", "scenarios", "fixtures"):
        (package / folder).symlink_to(ROOT / folder)
    top_level = tmp_path / "top_level"
    top_level.mkdir()
    (top_level / "conftest.py").symlink_to(ROOT / "conftest.py")  # beside tests/conftest.py, two modules of one name
    tests = ROOT / "tests"
    monkeypatch.setenv("MYPYPATH", f"{tmp_path}:{tests}")
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    out, err, status = api.run([*options, str(package), str(top_level), str(tests)])
    assert status == 0, out + err
