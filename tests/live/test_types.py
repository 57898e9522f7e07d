"""The whole of the library, and what third parties write against it, under mypy --strict, laid out under its import names."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.processes
def test_the_library_and_third_party_modules_type_check_strictly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mypy import api

    package = tmp_path / "trivet"
    package.mkdir()
    for child in (ROOT / "harness").iterdir():
        (package / child.name).symlink_to(child)
    for folder in ("contracts", "scenarios", "fixtures"):
        (package / folder).symlink_to(ROOT / folder)
    monkeypatch.setenv("MYPYPATH", str(tmp_path))
    third_party = sorted(map(str, (ROOT / "tests" / "thirdparty").glob("*.py")))
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    out, err, status = api.run([*options, str(package), *third_party])
    assert status == 0, out + err
