"""The wheel as a stranger installs it: beside PyPI projects that own the names of our folders."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
FOLDERS = ("harness", "contracts", "fixtures", "scenarios")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the checkout, so that the build leaves nothing in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    tracked = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines()
    for name in tracked:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and with the distributions that own two of our folders' names."""
    folder = tmp_path_factory.mktemp("installed")
    run(find_uv_bin(), "venv", "--python", sys.executable, folder)
    constraints = ROOT / "requirements.lock"
    run(
        find_uv_bin(),
        "pip",
        "install",
        "-p",
        folder,
        "-c",
        constraints,
        wheel,
        "fixtures==4.3.2",
        "PyContracts==1.8.12",
    )
    return folder / "bin" / "python"


def test_the_wheel_has_one_top_level_name(wheel: Path) -> None:
    names = {entry.split("/")[0] for entry in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"trivet"}


def test_the_wheel_holds_every_stack_platform_manifest_template_and_schema(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    for source in (
        *ROOT.glob("fixtures/stacks/2*/*"),
        *ROOT.glob("fixtures/stacks/current/*"),
        *(file for file in ROOT.glob("fixtures/platforms/**/*") if file.is_file()),
        *ROOT.glob("fixtures/manifests/*.yaml"),
        *ROOT.glob("harness/render/*.j2"),
        *ROOT.glob("harness/render/*.json"),
    ):
        name = str(source.relative_to(ROOT)).replace("harness/", "trivet/", 1)
        assert (name if name.startswith("trivet/") else f"trivet/{name}") in held


def test_each_name_belongs_to_its_distribution_alone(python: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.metadata import packages_distributions as owners; import trivet.fixtures, trivet.contracts, fixtures\n"
        "print([sorted(set(owners()[name])) for name in ('contracts', 'fixtures', 'trivet')], 'harness' in owners())"
    )
    assert run(python, "-c", code, cwd=tmp_path).strip() == "[['PyContracts'], ['fixtures'], ['trivet']] False"


def test_after_a_whole_session_no_bare_folder_name_is_imported(python: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure():\n"
        f"    print('bare:', sorted(set({FOLDERS!r}) & set(sys.modules)))\n"
        "    print('ours:', 'trivet.contracts.paths' in sys.modules)\n"
    )
    out = run(
        python, "-m", "pytest", "--rootdir", tmp_path, "-c", "/dev/null", "--confcutdir", tmp_path,
        "--pyargs", "trivet.contracts", "--trivet-stack=2024.11-fixed", "-k", "labels_are_valid", "-p", "conftest",
        cwd=tmp_path,
    )  # fmt: skip
    assert "1 passed" in out
    assert "bare: []" in out
    assert "ours: True" in out


def test_in_a_checkout_a_path_is_imported_under_its_canonical_name(tmp_path: Path) -> None:
    (tmp_path / "spy.py").write_text(
        f"import sys\ndef pytest_unconfigure():\n    print('bare:', sorted(set({FOLDERS!r}) & set(sys.modules)))\n"
    )
    out = run(
        sys.executable, "-m", "pytest", "contracts/paths.py", "--collect-only", "-q", "-p", "spy", "-o", f"pythonpath={tmp_path}",
        cwd=ROOT,
    )  # fmt: skip
    assert "contracts/paths.py::" in out
    assert "bare: []" in out


def test_the_installed_command_line_lists_and_explains(python: Path, tmp_path: Path) -> None:
    trivet = python.parent / "trivet"
    assert "paths." in run(trivet, "list", cwd=tmp_path)
    assert "2024.11-fixed" in run(trivet, "stack", "list", cwd=tmp_path)
