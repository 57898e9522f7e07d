"""What is printed, where to, and whole outputs as snapshots."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from commandline import ADVICE, BAD, GOOD, PROGRAM, call, environment, run
from snapshots import same_as_file

SNAPSHOTS = Path(__file__).parent / "__snapshots__"

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("list", "list"),
        ("explain", "explain paths.storage_uri_names_the_model_directory"),
        ("plan", "plan --stack 2024.11"),
        ("lint_good", "lint good.yaml"),
        ("lint_bad", "lint bad.yaml good.yaml advice.yaml"),
    ],
)
def test_whole_outputs(here: Path, name: str, command: str) -> None:
    for file, text in {"good": GOOD, "bad": BAD, "advice": ADVICE}.items():
        (here / f"{file}.yaml").write_text(text)
    result = call(*command.split())
    assert result.err == ""
    same_as_file(SNAPSHOTS / f"{name}.txt", result.out)


@pytest.mark.parametrize("command", ["list", "lint many.yaml --format json"])
def test_a_reader_that_leaves_gets_no_traceback(here: Path, command: str) -> None:
    (here / "many.yaml").write_text("---\n".join([BAD] * 500))
    with subprocess.Popen(
        [PROGRAM, *command.split()], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as trivet:
        assert trivet.stdout is not None
        assert trivet.stderr is not None
        trivet.stdout.close()
        assert trivet.stderr.read() == b""
        assert trivet.wait(30) == 141


def test_an_output_that_is_full_is_no_verdict() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([PROGRAM, "list"], env=environment(), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("variables", [{"TERM": "xterm-256color", "COLUMNS": "20"}, {"LC_ALL": "C"}])
def test_there_are_no_control_characters_where_no_terminal_is(
    here: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (here / "bad.yaml").write_text(BAD)
    for command in ("list", "lint bad.yaml", "doctor"):
        result = run(*command.split())
        assert [char for char in result.out + result.err if not char.isprintable() and char != "\n"] == []


@pytest.mark.parametrize(
    "command",
    ["", "run", "plan", "list", "explain", "lint", "stack", "stack lock", "images", "images prune", "doctor"],
)
def test_every_command_has_help(command: str) -> None:
    result = call(*command.split(), "--help")
    assert result.code == 0
    assert result.out.startswith("Usage: ")
