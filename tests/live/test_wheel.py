"""The wheel as a stranger installs it: the core library alone, and the harness beside PyPI projects that own the names of our folders."""

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
    """An environment with the harness, and with the distributions that own two of our folders' names."""
    return environment(
        tmp_path_factory.mktemp("installed"),
        f"trivet[harness] @ {wheel.as_uri()}",
        "fixtures==4.3.2",
        "PyContracts==1.8.12",
    )


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which the wheel alone was asked for, as a pipeline step does."""
    return environment(tmp_path_factory.mktemp("core"), f"trivet @ {wheel.as_uri()}")


def environment(folder: Path, *requirements: str) -> Path:
    """The Python of a fresh environment; versions are the lock's where it has them and nothing else is asked for."""
    run(find_uv_bin(), "venv", "--python", sys.executable, folder)
    run(find_uv_bin(), "pip", "install", "-p", folder, "-c", ROOT / "requirements.lock", *requirements)
    return folder / "bin" / "python"


def test_the_wheel_has_one_top_level_name(wheel: Path) -> None:
    names = {entry.split("/")[0] for entry in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"trivet"}


def test_the_wheel_holds_every_stack_platform_manifest_template_and_schema(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    for source in (
        *ROOT.glob("fixtures/stacks/2*/*"),
        *ROOT.glob("fixtures/stacks/current/*"),
        *ROOT.glob("fixtures/jobs/*.lock"),
        *(file for file in ROOT.glob("fixtures/platforms/**/*") if file.is_file()),
        *(file for file in ROOT.glob("fixtures/addons/**/*") if file.is_file()),
        *ROOT.glob("fixtures/manifests/*.yaml"),
        *ROOT.glob("harness/render/*.j2"),
        *ROOT.glob("harness/render/*.json"),
    ):
        name = str(source.relative_to(ROOT)).replace("harness/", "trivet/", 1)
        assert (name if name.startswith("trivet/") else f"trivet/{name}") in held


def test_the_wheel_carries_its_license(wheel: Path) -> None:
    (name,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/licenses/LICENSE"))
    assert b"Apache License" in zipfile.ZipFile(wheel).read(name)


def test_the_core_library_brings_requests_and_nothing_else(core: Path) -> None:
    installed = {line.partition("==")[0] for line in run(find_uv_bin(), "pip", "freeze", "-p", core).splitlines()}
    of_requests = {"certifi", "charset-normalizer", "idna", "urllib3"}
    assert {name.partition(" @")[0] for name in installed} == {"trivet", "requests"} | of_requests


def test_a_pipeline_step_imports_and_uses_the_core_library_alone(core: Path, tmp_path: Path) -> None:
    code = (
        "import trivet.integration as library\n"
        "assert all(hasattr(library, name) for name in library.__all__)\n"
        "service = library.build_inference_service(name='ranker', namespace='ml', storage_uri='s3://models/7/', run_id='7',\n"
        "    pipeline='training', model_name='ranker', model_version='3', exists=False)\n"
        "print(service['kind'], library.quality_gate(0.91, 0.90).passed)\n"
    )
    assert run(core, "-c", code, cwd=tmp_path).strip() == "InferenceService True"


@pytest.mark.parametrize("command", [("trivet", "list"), ("python", "-m", "trivet", "run")])
def test_with_the_core_library_alone_the_command_says_in_one_line_what_to_install(
    core: Path, command: tuple[str, ...], tmp_path: Path
) -> None:
    done = subprocess.run([core.parent / command[0], *command[1:]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "trivet: the command line needs the harness: pip install 'trivet[harness]' (missing: click, "
    )


@pytest.mark.parametrize("version", ["7.0.0", "8.0.0", "9.0.0"])
def test_the_core_library_leaves_a_user_s_pytest_as_it_is(
    wheel: Path, version: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pytest")
    run(find_uv_bin(), "venv", "--python", sys.executable, folder)
    run(find_uv_bin(), "pip", "install", "-p", folder, f"trivet @ {wheel.as_uri()}", f"pytest=={version}")
    python = folder / "bin" / "python"
    (tmp_path / "test_theirs.py").write_text("def test_theirs():\n    pass\n")
    (tmp_path / "ours.py").write_text("from trivet.suite import *\n")
    assert "1 passed" in run(python, "-m", "pytest", "-W", "error", cwd=tmp_path)
    judged = subprocess.run([python, "-m", "pytest", "ours.py"], cwd=tmp_path, capture_output=True, text=True)
    assert "trivet: judging contracts in pytest needs the harness: pip install 'trivet[harness]'" in judged.stdout
    assert "Traceback" not in judged.stdout
    assert judged.returncode == 2


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


def test_trivet_s_own_is_the_only_pytest_plugin_of_the_harness(python: Path, tmp_path: Path) -> None:
    code = "from importlib.metadata import entry_points; print(*(e.value for e in entry_points(group='pytest11')))"
    assert run(python, "-c", code, cwd=tmp_path).strip() == "trivet.plugin"


def test_inputs_are_drawn_though_hypothesis_is_not_installed_beside_trivet(python: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.util import find_spec\n"
        "from trivet.toolkit.drawing import counter_example, directory_names_and_endings\n"
        "print(find_spec('hypothesis'), counter_example(directory_names_and_endings(), lambda drawn: '', examples=7))\n"
    )
    assert run(python, "-c", code, cwd=tmp_path).strip() == "None (7, '')"


def test_the_installed_command_line_lists_and_explains(python: Path, tmp_path: Path) -> None:
    trivet = python.parent / "trivet"
    assert "paths." in run(trivet, "list", cwd=tmp_path)
    assert "2024.11-fixed" in run(trivet, "stack", "list", cwd=tmp_path)
