"""What the command line says and returns when a command ends by an interrupt, or by the end of its input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from trivet.cli import _Group
from trivet.host.journal import Run
from trivet.host.signals import Signalled


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))


def ended(work: Callable[[], object]) -> Result:
    """How a command that does ``work`` ends."""

    @click.group(cls=_Group)
    def group() -> None:
        pass

    @group.command()
    def command() -> None:
        work()

    return CliRunner().invoke(group, ["command"])


def interrupt() -> None:
    raise Signalled(15)


def test_an_interrupt_is_reported_with_the_exit_code_of_its_signal() -> None:
    result = ended(interrupt)
    assert (result.exit_code, result.stderr.strip()) == (143, "trivet: interrupted")


def test_an_interrupt_at_a_prompt_is_one() -> None:
    def work() -> None:
        try:
            interrupt()
        except KeyboardInterrupt:
            raise click.Abort from None  # as click.prompt does

    assert ended(work).exit_code == 143


def test_an_interrupt_says_what_could_not_be_cleaned_up_and_how_to_do_it() -> None:
    def work() -> None:
        with Run() as run:
            run.add_cleanup("a fault: stop mlflow", ["false"], required=True)
            interrupt()

    lines = ended(work).stderr.split("\n")
    assert "trivet: interrupted" in lines
    (left,) = [line for line in lines if "left behind" in line]
    assert "a fault: stop mlflow" in left
    assert left.endswith("remedy: trivet doctor --clean")


def test_the_end_of_the_input_is_not_reported_as_an_interrupt() -> None:
    def work() -> None:
        raise EOFError("nothing to read")

    result = ended(work)
    assert result.exit_code == 2
    assert "EOFError: nothing to read" in result.stderr
    assert "trivet: interrupted" not in result.stderr
