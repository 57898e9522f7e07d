"""The parts of the local target that need no process."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from concurrent.futures import Future
from pathlib import Path

import pytest

from trivet.errors import PlatformError, UsageError
from trivet.fixtures.pipelines.data import FEATURES, TARGET, write_dataset
from trivet.host.journal import Run
from trivet.host.processes import Process, Processes, ServerFailed, free_ports
from trivet.host.staging import PARTS, stage
from trivet.model.handover import Download
from trivet.stacks.read import load_stack
from trivet.targets.common.clients import DirectoryStore, checksums, start_serving
from trivet.targets.common.parts import Part, result_or_none, start
from trivet.targets.local.servers import runtime_environment
from trivet.toolkit.logs import first_exception


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    root = tmp_path / "artifacts"
    root.mkdir()
    return DirectoryStore(root, fetch=_not_asked)


def _not_asked(storage_uri: str) -> Download:
    raise AssertionError(storage_uri)


def test_what_is_written_to_the_store_is_found_under_its_uri(store: DirectoryStore) -> None:
    uri = store.write("a b/ü%20", {"MLmodel": b"one", "data/x": b"two"})
    assert uri == f"{store.root}/a b/ü%20"
    assert store.files(uri) == {
        "MLmodel": hashlib.sha256(b"one").hexdigest(),
        "data/x": hashlib.sha256(b"two").hexdigest(),
    }


def test_a_directory_that_does_not_exist_has_no_files(store: DirectoryStore) -> None:
    assert store.files(f"{store.root}/nowhere/") == {}


@pytest.mark.parametrize("relative", ["../outside", "/etc"])
def test_the_store_refuses_to_write_outside_itself(store: DirectoryStore, relative: str) -> None:
    with pytest.raises(UsageError, match="outside the store"):
        store.write(relative, {"x": b""})


def test_the_store_refuses_uris_of_other_stores(store: DirectoryStore) -> None:
    with pytest.raises(UsageError, match="s3://bucket/model"):
        store.files("s3://bucket/model")


def test_checksums_follow_links(tmp_path: Path) -> None:
    (tmp_path / "there/data").mkdir(parents=True)
    (tmp_path / "there/data/x").write_bytes(b"x")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/data").symlink_to(tmp_path / "there/data")
    assert checksums(tmp_path / "here") == {"data/x": hashlib.sha256(b"x").hexdigest()}


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "INFO start\nTraceback (most recent call last):\n    raise OSError(1)\nOSError: No such file\nlater\nTypeError: consequence\n",
            "OSError: No such file",
        ),
        ("    sklearn.exceptions.NotFittedError: call fit\n", "sklearn.exceptions.NotFittedError: call fit"),
        ("INFO one\nERROR killed\n", "ERROR killed"),
        ("", ""),
    ],
)
def test_the_first_exception_of_a_log_is_its_cause_otherwise_its_last_line(log: str, line: str) -> None:
    assert first_exception(log) == line


REQUEST = 'INFO: "GET /v2/models/m/ready HTTP/1.1" 400 Bad Request'
LATE = "timed out after 90 s waiting for runtime to be answering on port 1"


@pytest.mark.parametrize(
    ("message", "log", "failure"),
    [
        (f"{LATE}: last seen log tail:\n{REQUEST}", REQUEST, f"{LATE}; last line of its log: {REQUEST}"),
        (f"{LATE}: last seen log tail:\n(empty)", "", LATE),
        (
            f"{LATE}: last seen log tail:\nError: no\n{REQUEST}",
            f"mlflow.MlflowException: no\n{REQUEST}",
            "mlflow.MlflowException: no",
        ),
        (
            "runtime exited with status -9 before it was answering on port 1; log tail:\nloading",
            "loading",
            "runtime exited with status -9 before it was answering on port 1; last line of its log: loading",
        ),
    ],
)
def test_a_model_that_is_not_ready_is_explained_by_the_logs_exception_otherwise_by_how_the_wait_ended(
    tmp_path: Path, message: str, log: str, failure: str
) -> None:
    file = tmp_path / "runtime.log"
    file.write_text(log, encoding="utf-8")

    def start() -> tuple[Process, str]:
        raise ServerFailed(message, Process("runtime", subprocess.Popen(["true"]), file, "run"))

    serving, process = start_serving("m", start, lambda uri: contextlib.nullcontext(serving))
    process.popen.wait()
    assert not serving.ready
    assert serving.failure == failure


@pytest.mark.parametrize("name", ["2024.11", "2024.11-fixed", "current"])
def test_the_runtime_gets_the_published_environment_with_this_machines_directory_and_ports(name: str) -> None:
    stack = load_stack(name)
    environment = runtime_environment(stack, name="m", directory=Path("/x y"), ports=[11, 12, 13])
    assert environment["MLSERVER_MODEL_NAME"] == "m"
    assert environment["MLSERVER_MODEL_IMPLEMENTATION"] == "mlserver_mlflow.MLflowRuntime"
    assert [environment[f"MLSERVER_{kind}_PORT"] for kind in ("HTTP", "GRPC", "METRICS")] == ["11", "12", "13"]
    assert environment["MLSERVER_MODEL_URI"] == "/x y"
    assert stack.settings["serving"]["model_mount"] not in " ".join(environment.values())


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_a_missing_program_is_an_error_with_a_remedy_for_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    with Run() as run, pytest.raises(PlatformError, match="cannot start trainer job") as caught:
        Processes(run).start("trainer job", [tmp_path / "bin/python"])
    assert "incomplete environment" in caught.value.remedy


def test_no_process_starts_after_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    with Run() as run:
        processes = Processes(run)
        processes.close()
        with pytest.raises(PlatformError, match="the session is ending"):
            processes.start("late", ["true"])


def test_the_dataset_is_the_same_every_time(tmp_path: Path) -> None:
    one, two = write_dataset(tmp_path / "1.csv", rows=30), write_dataset(tmp_path / "2.csv", rows=30)
    assert one.read_bytes() == two.read_bytes()
    lines = one.read_text().splitlines()
    assert lines[0] == ",".join([*FEATURES, TARGET])
    assert {line.rpartition(",")[2] for line in lines[1:]} == {"0", "1"}


def test_staging_copies_every_part_and_nothing_that_needs_trivets_dependencies(tmp_path: Path) -> None:
    root = stage(tmp_path / "python")
    for package in PARTS:
        assert root.joinpath(*package.split("."), "__init__.py").is_file()
    assert not (root / "trivet/engine").exists()


@pytest.fixture
def broken() -> Part[str]:
    made: Future[str] = Future()
    made.set_exception(KeyError("Output"))
    return Part(lambda: made)


@pytest.fixture
def whole() -> Part[str]:
    made: Future[str] = Future()
    made.set_result("here")
    return Part(lambda: made)


def test_the_result_of_a_failed_part_is_none(broken: Part[str], whole: Part[str]) -> None:
    start(broken, whole)
    assert result_or_none(broken) is None
    assert result_or_none(whole) == "here"


def test_a_part_that_nobody_needed_is_not_made_to_be_described(whole: Part[str]) -> None:
    assert result_or_none(whole) is None
    assert not whole.started
    assert not whole.ended


def test_a_part_is_made_once() -> None:
    made: list[Future[str]] = []

    def submit() -> Future[str]:
        made.append(Future())
        made[-1].set_result(f"{len(made)}")
        return made[-1]

    part = Part(submit)
    start(part, part)
    assert (part.result(), part.result(), len(made)) == ("1", "1", 1)
    assert part.ended
