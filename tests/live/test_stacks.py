"""Locking stacks and building their environments with uv, with a lock of one tiny package."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from trivet.errors import PlatformError, UsageError
from trivet.model.stack import Role
from trivet.stacks import runtime_names
from trivet.stacks.api_generator import generate_schemas
from trivet.stacks.environments import (
    MARKER,
    build_environment,
    environments,
    incomplete_environments,
    remove_environment,
)
from trivet.stacks.lock import LockChange, lock_stack, resolve
from trivet.stacks.read import load_stack, stack_folder
from trivet.stacks.runtime_image import load_runtime_image

pytestmark = pytest.mark.processes

TINY = {"python": "3.11", "cutoff": "2024-11-15", "requires": ["six==1.16.0"]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate cache of environments for the test."""
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def tiny_lock() -> str:
    """The text of a lock with six 1.16.0 only."""
    return resolve("trainer", TINY, "2024-11-15", "tiny")


@pytest.fixture
def role(tmp_path: Path, tiny_lock: str) -> Role:
    return tiny_role(tmp_path / "tiny", tiny_lock)


def tiny_role(folder: Path, lock_text: str, name: str = "trainer", python: str = "3.11") -> Role:
    folder.mkdir(exist_ok=True)
    lock = folder / f"{name}.lock"
    lock.write_text(lock_text, encoding="utf-8")
    return Role(name=name, python=python, requires=(), cutoff="2024-11-15", lock=lock, pins={"six": "1.16.0"})


def six_version(python: Path) -> str:
    return subprocess.run(
        [python, "-c", "import six; print(six.__version__)"], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """uv with an empty cache and an index on a loopback port without a listener."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{address}/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    return address


def test_an_environment_holds_the_lock_and_is_built_once(role: Role) -> None:
    messages: list[str] = []
    first = build_environment(role, progress=messages.append)
    second = build_environment(role, progress=messages.append)
    assert messages == ["building the trainer of stack tiny, 1 packages"]
    assert first.built
    assert not second.built
    assert first.python == second.python
    assert second.seconds < 0.1
    assert six_version(first.python) == "1.16.0"
    assert environments() == [first.folder]
    assert incomplete_environments() == []
    assert list(first.folder.rglob("__pycache__/six.*.pyc")), "compiled beforehand, not by the first import"


def test_roles_with_the_same_lock_share_one_environment(role: Role, tmp_path: Path, tiny_lock: str) -> None:
    other = tiny_role(tmp_path / "other", tiny_lock, name="tracking")
    assert build_environment(role).folder == build_environment(other).folder


def test_another_lock_gets_another_environment(role: Role, tmp_path: Path, tiny_lock: str) -> None:
    other = tiny_role(tmp_path / "other", f"# another\n{tiny_lock}")
    assert build_environment(role).folder != build_environment(other).folder


def test_an_incomplete_environment_is_found_and_built_again(role: Role) -> None:
    environment = build_environment(role)
    (environment.folder / MARKER).unlink()
    shutil.rmtree(next(environment.folder.rglob("six-*.dist-info")))
    assert incomplete_environments() == [environment.folder]
    assert environments() == []
    again = build_environment(role)
    assert again.built
    assert six_version(again.python) == "1.16.0"
    assert incomplete_environments() == []


def test_an_environment_without_its_interpreter_is_built_again(role: Role) -> None:
    environment = build_environment(role)
    environment.python.unlink()
    assert build_environment(role).built


def test_a_removed_environment_is_gone(role: Role) -> None:
    folder = build_environment(role).folder
    remove_environment(folder)
    assert not folder.exists()
    assert environments() == incomplete_environments() == []


REALISE = """
import sys
from pathlib import Path
from trivet.model.stack import Role
from trivet.stacks.environments import build_environment
role = Role(name="trainer", python="3.11", requires=(), cutoff="2024-11-15", lock=Path(sys.argv[1]), pins={})
print(build_environment(role).built)
"""


def test_of_concurrent_processes_one_builds_and_all_get_the_environment(role: Role) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", REALISE, role.lock], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    messages = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sorted(messages) == ["False", "False", "True"]


def test_of_concurrent_threads_one_builds(role: Role) -> None:
    with ThreadPoolExecutor(3) as pool:
        built = [environment.built for environment in pool.map(build_environment, [role] * 3)]
    assert sorted(built) == [False, False, True]


def test_a_killed_build_does_not_affect_the_next_one(role: Role, cache: Path) -> None:
    builder = subprocess.Popen([sys.executable, "-c", REALISE, role.lock], start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(cache.glob("environments/*/bin")):
        assert time.monotonic() < deadline, "the builder made no environment"
        time.sleep(0.002)
    os.killpg(builder.pid, signal.SIGKILL)
    builder.wait(timeout=10)
    assert len(incomplete_environments()) == 1
    environment = build_environment(role)
    assert environment.built
    assert six_version(environment.python) == "1.16.0"


def test_the_uv_of_a_killed_build_is_ended_before_the_environment_is_built_again(role: Role, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(60)
        environment = {
            **os.environ,
            "UV_DEFAULT_INDEX": f"http://127.0.0.1:{mute.getsockname()[1]}/simple",
            "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
        }
        builder = subprocess.Popen([sys.executable, "-c", REALISE, role.lock], env=environment)
        connection, _ = mute.accept()
        with connection:
            (uv,) = psutil.Process(builder.pid).children()
            builder.kill()
            builder.wait(timeout=10)
            assert uv.is_running()
            assert six_version(build_environment(role).python) == "1.16.0"
            assert not uv.is_running()


def test_an_environment_that_is_being_built_does_not_count_as_incomplete(role: Role) -> None:
    from filelock import FileLock

    folder = build_environment(role).folder
    (folder / MARKER).unlink()
    with FileLock(f"{folder}.lock"):
        assert incomplete_environments() == []
    assert incomplete_environments() == [folder]


def test_a_wrong_hash_is_refused_with_the_remedy_and_leaves_nothing(tmp_path: Path, tiny_lock: str) -> None:
    wrong = "".join(
        line[: line.index("sha256:") + 7] + "0" * 64 + line[line.index("sha256:") + 71 :] if "sha256:" in line else line
        for line in tiny_lock.splitlines(keepends=True)
    )
    with pytest.raises(PlatformError, match="cannot install the trainer of stack tiny") as error:
        build_environment(tiny_role(tmp_path / "tiny", wrong))
    assert "trivet stack lock" in error.value.remedy
    assert environments() == []
    assert incomplete_environments() == []


@pytest.mark.usefixtures("no_registry")
def test_without_a_registry_the_error_names_role_stack_and_remedy(role: Role, no_registry: str) -> None:
    with pytest.raises(PlatformError, match="cannot install the trainer of stack tiny") as error:
        build_environment(role)
    assert no_registry in error.value.message, "uv's own words"
    assert "registry is reachable" in error.value.remedy


def test_a_build_of_an_environment_stops_when_its_stop_event_is_set(
    role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, ThreadPoolExecutor(1) as pool:
        mute.settimeout(60)
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{mute.getsockname()[1]}/simple")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
        stop = threading.Event()
        building = pool.submit(build_environment, role, stop=stop)
        connection, _ = mute.accept()
        with connection:
            stop.set()
            with pytest.raises(PlatformError, match="the run is stopping"):
                building.result(timeout=5)
    assert incomplete_environments() == []


def test_a_missing_python_is_an_error_with_a_remedy(
    tmp_path: Path, tiny_lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(PlatformError, match=r"Python 3\.99 for the trainer of stack tiny") as error:
        build_environment(tiny_role(tmp_path / "tiny", tiny_lock, python="3.99"))
    assert "install that Python" in error.value.remedy


def test_a_cache_that_cannot_be_written_is_an_error_with_a_remedy(
    role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "file"))
    with pytest.raises(PlatformError, match="cannot build the environment of the trainer of stack tiny") as error:
        build_environment(role)
    assert "TRIVET_CACHE" in error.value.remedy


@pytest.fixture
def tiny_stack(tmp_path: Path) -> Path:
    """A stack whose trainer needs one tiny package; the other roles are those of a shipped one."""
    folder = Path(shutil.copytree(stack_folder("2024.11"), tmp_path / "mine"))
    text = (folder / "stack.toml").read_text(encoding="utf-8")
    start, end = text.index("[roles.trainer]"), text.index("[roles.tracking]")
    trainer = '[roles.trainer]\npython = "3.11"\ncutoff = "2021-06-01"  # before 1.17\nrequires = ["six"]\n\n'
    (folder / "stack.toml").write_text(text[:start] + trainer + text[end:], encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_locking_a_role_writes_its_pins_as_of_the_cutoff_and_returns_the_changes(tiny_stack: Path) -> None:
    before = contents(tiny_stack)
    changes = lock_stack(tiny_stack, roles=["trainer"])
    assert "six" not in {change.package for change in changes}, "it was 1.16.0 before"
    assert LockChange(role="trainer", package="kfp", before="2.9.0", after="") in changes
    assert load_stack(str(tiny_stack)).roles["trainer"].pins == {"six": "1.16.0"}
    assert {name for name, content in contents(tiny_stack).items() if content != before[name]} == {"trainer.lock"}
    assert lock_stack(tiny_stack, roles=["trainer"]) == []


def test_a_new_cutoff_is_written_back_and_decides_the_pins(tiny_stack: Path) -> None:
    lock_stack(tiny_stack, roles=["trainer"])
    changes = lock_stack(tiny_stack, cutoff="2024-12-31", roles=["trainer"])
    assert changes == [LockChange(role="trainer", package="six", before="1.16.0", after="1.17.0")]
    stack = load_stack(str(tiny_stack))
    assert stack.roles["trainer"].cutoff == "2024-12-31"
    assert stack.roles["tracking"].cutoff == "2024-11-15"
    assert 'cutoff = "2024-12-31"  # before 1.17' in (tiny_stack / "stack.toml").read_text(encoding="utf-8")


def test_requirements_that_contradict_each_other_leave_everything_as_it_was(tiny_stack: Path) -> None:
    description = tiny_stack / "stack.toml"
    description.write_text(
        description.read_text(encoding="utf-8").replace(
            'requires = ["six"]', 'requires = ["six==1.16.0", "six==1.15.0"]'
        ),
        encoding="utf-8",
    )
    before = contents(tiny_stack)
    with pytest.raises(PlatformError, match="cannot resolve the trainer of stack mine as of 2024-12-31") as error:
        lock_stack(tiny_stack, cutoff="2024-12-31", roles=["tracking", "trainer"])
    assert "six==1.15.0" in error.value.message
    assert "stack.toml" in error.value.remedy
    assert contents(tiny_stack) == before


@pytest.mark.usefixtures("no_registry")
def test_locking_without_a_registry_is_a_platform_error(tiny_stack: Path) -> None:
    with pytest.raises(PlatformError, match="cannot resolve the trainer of stack mine") as error:
        lock_stack(tiny_stack, roles=["trainer"])
    assert "registry is reachable" in error.value.remedy


def test_a_requirement_by_url_is_refused(tiny_stack: Path, tmp_path: Path) -> None:
    package = tmp_path / "local"
    package.mkdir()
    (package / "pyproject.toml").write_text('[project]\nname = "local"\nversion = "1"\n', encoding="utf-8")
    description = tiny_stack / "stack.toml"
    description.write_text(
        description.read_text(encoding="utf-8").replace(
            'requires = ["six"]', f'requires = ["local @ {package.as_uri()}"]'
        ),
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match=r"cannot lock the trainer of stack .* to a URL"):
        lock_stack(tiny_stack, roles=["trainer"])


@pytest.mark.parametrize("name", ["2024.11", "current"])
def test_the_schemas_that_are_shipped_are_those_that_locking_generates(name: str) -> None:
    stack = load_stack(name)
    assert generate_schemas(stack.components) == stack.api_schemas.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["2024.11", "current"])
def test_the_names_of_the_runtime_are_those_that_are_shipped(name: str, tmp_path: Path) -> None:
    stack = load_stack(name)
    assert stack.runtime_image is not None
    image = load_runtime_image(stack.runtime_image)
    output = tmp_path / "names.json"
    subprocess.run(
        [build_environment(stack.roles["runtime"]).python, "-I", runtime_names.__file__, output],
        check=True,
        timeout=300,
    )
    listed = json.loads(output.read_text(encoding="utf-8"))
    assert listed["loaders"] == image.loaders
    assert {module: frozenset(names) for module, names in listed["names"].items()} == image.names
