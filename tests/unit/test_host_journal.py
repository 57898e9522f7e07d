"""Run directories: whose they are, when they count as left behind, and how they go away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trivet.errors import PlatformError
from trivet.host.journal import Run, clean, leftovers, runs_directory


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))


def test_a_run_whose_owner_lives_is_no_leftover() -> None:
    with Run() as run:
        assert run.directory.is_dir()
        assert leftovers() == []


def test_a_run_leaves_neither_directory_nor_lock() -> None:
    with Run() as run:
        pass
    assert list(run.directory.parent.iterdir()) == []


def test_a_directory_whose_lock_nobody_holds_is_a_leftover_and_can_be_cleaned() -> None:
    orphan = runs_directory() / "20240101-000000-1-abcdef00"
    (orphan / "deep").mkdir(parents=True)
    found = leftovers()
    assert [(leftover.run, leftover.processes) for leftover in found] == [(orphan.name, {})]
    clean(found[0])
    assert leftovers() == []
    assert list(runs_directory().iterdir()) == []


def test_cleaning_spares_a_run_whose_owner_lives() -> None:
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
    with pytest.raises(PlatformError, match=r"run directory .*a-file.* cannot be made") as caught, Run():
        pass
    assert "TRIVET_CACHE" in caught.value.remedy


def _orphan_with(command: list[str], what: str = "container x") -> None:
    orphan = runs_directory() / "20240101-000000-1-abcdef00"
    orphan.mkdir(parents=True)
    entry = {"event": "cleanup", "what": what, "command": command}
    (orphan / "journal.jsonl").write_text(json.dumps(entry) + '\n{"event": "und')


def test_what_a_killed_run_made_elsewhere_is_removed_by_its_own_command(tmp_path: Path) -> None:
    made = tmp_path / "made-elsewhere"
    made.touch()
    _orphan_with(["rm", str(made)])
    (found,) = leftovers()
    assert "container x" in str(found)
    assert clean(found) == ""
    assert not made.exists()
    assert leftovers() == []


def test_a_leftover_stays_while_what_it_made_elsewhere_cannot_be_removed() -> None:
    _orphan_with(["sh", "-c", "echo no connection >&2; exit 1"])
    (found,) = leftovers()
    assert clean(found) == "container x: no connection"
    assert leftovers() == [found]


def test_a_place_that_is_gone_has_nothing_left_to_remove() -> None:
    _orphan_with(["sh", "-c", "echo 'error: context \"kind-x\" does not exist' >&2; exit 1"])
    (found,) = leftovers()
    assert clean(found) == ""
    assert leftovers() == []


def test_a_fault_that_cannot_be_reached_is_not_taken_for_reverted(
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


@pytest.mark.parametrize("said", ['Error from server (NotFound): namespaces "x" not found', "error: no such file"])
def test_a_fault_is_gone_with_its_object_and_with_the_cluster_that_trivet_made(said: str, tmp_path: Path) -> None:
    with Run() as run:
        run.add_cleanup(
            "a fault", ["sh", "-c", f"echo '{said}' >&2; exit 1"], required=True, gone_with=tmp_path / "kubeconfig"
        )
    (found,) = leftovers()
    assert clean(found) == ""
    assert leftovers() == []
