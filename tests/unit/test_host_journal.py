"""Run directories: ownership, leftovers, and clean-up."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from trivet.errors import PlatformError
from trivet.host import journal
from trivet.host.journal import Run, clean, leftovers, make_below, remove_remains, runs_directory


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))


def test_a_run_whose_process_runs_is_not_a_leftover() -> None:
    with Run() as run:
        assert run.directory.is_dir()
        assert leftovers() == []


def test_a_run_leaves_neither_directory_nor_lock() -> None:
    with Run() as run:
        pass
    assert list(run.directory.parent.iterdir()) == []


def test_a_directory_with_a_free_lock_is_a_leftover_and_can_be_cleaned() -> None:
    orphan = runs_directory() / "20240101-000000-1-abcdef00"
    (orphan / "deep").mkdir(parents=True)
    found = leftovers()
    assert [(leftover.run, leftover.processes) for leftover in found] == [(orphan.name, {})]
    clean(found[0])
    assert leftovers() == []
    assert list(runs_directory().iterdir()) == []


def test_cleaning_does_not_affect_a_run_whose_process_runs() -> None:
    with Run() as run:
        stale = next(iter(leftovers()), None)
        assert stale is None
        from trivet.host.journal import Leftover

        clean(Leftover(run=run.id, directory=run.directory, processes={}))
        assert run.directory.is_dir()


def test_a_journal_line_is_on_disk_when_write_returns() -> None:
    with Run() as run:
        run.write(event="start", name="runtime")
        entries = [json.loads(line) for line in (run.directory / "journal.jsonl").read_text().splitlines()]
    assert [entry["event"] for entry in entries] == ["owner", "start"]
    assert entries[1]["name"] == "runtime"


def test_a_cache_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "a-file"
    occupied.write_text("")
    monkeypatch.setenv("TRIVET_CACHE", str(occupied))
    with pytest.raises(PlatformError, match=r"cannot create the run directory .*a-file") as caught, Run():
        pass
    assert "TRIVET_CACHE" in caught.value.remedy


def _orphan_with(command: list[str], what: str = "container x") -> None:
    orphan = runs_directory() / "20240101-000000-1-abcdef00"
    orphan.mkdir(parents=True)
    entry = {"event": "cleanup", "what": what, "command": command}
    (orphan / "journal.jsonl").write_text(json.dumps(entry) + '\n{"event": "und')


def test_clean_up_runs_the_commands_of_a_killed_run(tmp_path: Path) -> None:
    made = tmp_path / "made-elsewhere"
    made.touch()
    _orphan_with(["rm", str(made)])
    (found,) = leftovers()
    assert "container x" in str(found)
    assert clean(found) == ""
    assert not made.exists()
    assert leftovers() == []


def test_a_leftover_is_kept_while_a_cleanup_fails() -> None:
    _orphan_with(["sh", "-c", "echo no connection >&2; exit 1"])
    (found,) = leftovers()
    assert clean(found) == "container x: no connection"
    assert leftovers() == [found]


def test_a_directory_that_cannot_be_deleted_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    _orphan_with(["true"])
    (found,) = leftovers()
    monkeypatch.setattr(journal, "_remove_directory", lambda directory: False)
    assert clean(found).startswith(f"cannot delete {found.directory}: check its permissions")


def test_what_was_reverted_is_not_reverted_again_because_something_else_could_not_be(tmp_path: Path) -> None:
    count = tmp_path / "count"
    with Run() as run:
        run.add_cleanup("unreachable", ["sh", "-c", "echo no connection >&2; exit 1"])
        run.add_cleanup("fault", ["sh", "-c", f"echo once >> {count}"], required=True)
        with (run.directory / "journal.jsonl").open("a", encoding="utf-8") as journal:
            journal.write('{"half a line of a killed wri')
        run.keep()
    for _ in range(2):
        (found,) = leftovers()
        assert clean(found) == "unreachable: no connection"
    assert count.read_text() == "once\n"
    (found,) = leftovers()
    assert (found.cleanups, found.required) == (("unreachable",), ())


def test_a_journal_of_another_version_is_kept_with_what_it_stands_for() -> None:
    orphan = runs_directory() / "20240101-000000-1-abcdef00"
    orphan.mkdir(parents=True)
    (orphan / "journal.jsonl").write_text(
        '{"event": "owner", "pid": 1}\n{"event": "undo", "what": "a fault", "owed": true}\n'
    )
    (found,) = leftovers()
    assert found.required == ("the unknown journal event 'undo'",)
    assert "another version of trivet" in clean(found)
    assert leftovers() == [found]


def test_a_cleanup_in_a_deleted_cluster_is_done() -> None:
    _orphan_with(["sh", "-c", "echo 'error: context \"kind-x\" does not exist' >&2; exit 1"])
    (found,) = leftovers()
    assert clean(found) == ""
    assert leftovers() == []


def test_a_fault_that_cannot_be_reached_does_not_count_as_reverted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "staging")
    monkeypatch.chdir(tmp_path)
    with Run() as run:
        run.add_cleanup(
            "a fault", ["sh", "-c", 'echo "error: no context in $KUBECONFIG: not found" >&2; exit 1'], required=True
        )
    monkeypatch.setenv("KUBECONFIG", "another")
    (found,) = leftovers()
    assert found.required == ("a fault",)
    assert clean(found) == f"a fault: error: no context in {tmp_path}/staging: not found"
    assert leftovers() == [found]


@pytest.mark.parametrize("output", ['Error from server (NotFound): namespaces "x" not found', "error: no such file"])
def test_a_fault_is_gone_with_its_object_and_with_the_cluster_that_trivet_made(output: str, tmp_path: Path) -> None:
    with Run() as run:
        run.add_cleanup(
            "a fault", ["sh", "-c", f"echo '{output}' >&2; exit 1"], required=True, gone_with=tmp_path / "kubeconfig"
        )
    (found,) = leftovers()
    assert clean(found) == ""
    assert leftovers() == []


def test_a_lock_without_a_directory_is_removed_unless_a_run_holds_it() -> None:
    with Run() as run:
        stale = run.directory.with_name("20240101-000000-1-abcdef00.lock")
        stale.touch()
        remove_remains()
        assert sorted(path.name for path in runs_directory().iterdir()) == [run.id, f"{run.id}.lock"]
        run.directory.rename(run.directory.with_name("elsewhere"))
        remove_remains()
        assert run.directory.with_name(f"{run.id}.lock").exists(), "a run that has not made its directory yet"


def test_a_thread_that_outlives_a_run_does_not_create_its_directory_again() -> None:
    with Run() as run:
        assert make_below(run.directory, "store/a/b") == run.directory / "store/a/b"
        assert make_below(run.directory, "store/a").is_dir()
    with pytest.raises(FileNotFoundError):
        make_below(run.directory, "store/c")
    assert not run.directory.exists()


def test_a_run_directory_is_deleted_while_another_thread_writes_to_it() -> None:
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            with suppress(OSError):
                (make_below(run.directory, f"store/{number}") / "file").touch()
            number += 1

    with Run() as run:
        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.05)
    assert not run.directory.exists()
    ended.set()
    writer.join()
    assert list(runs_directory().iterdir()) == []
    assert list((runs_directory().parent / "removed").iterdir()) == []


def test_an_interrupted_deletion_of_a_run_directory_is_completed() -> None:
    half = runs_directory().parent / "removed" / "20240101-000000-1-abcdef00"
    (half / "deep").mkdir(parents=True)
    remove_remains()
    assert not half.exists()
