"""A third party's target whose results can be kept: a writer and a reader in this process, each with the version of a role."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trivet.authoring as trivet

trivet.declare_client("writer", "the version that writes")
trivet.declare_client("reader", "the version that reads")

JUDGED = "ACME_JUDGED"
"""The variable with the file to which each check appends its name."""
SECONDS = "ACME_SECONDS"
"""The variable with the seconds that the check of both takes."""


def _note(text: str) -> None:
    if file := os.environ.get(JUDGED):
        with Path(file).open("a", encoding="utf-8") as notes:
            notes.write(f"{text}\n")


class GridSession:
    """What runs: nothing but two versions."""

    def __init__(self, stack: trivet.Stack) -> None:
        self._clients = {
            "writer": stack.roles["trainer"].pins["mlflow"],
            "reader": stack.roles["tracking"].pins["mlflow"],
        }

    def client(self, name: str) -> Any:
        if name not in self._clients:
            raise trivet.NotOffered(f"the grid target has no client {name!r}")
        return self._clients[name]

    def subjects(self, kind: str) -> Sequence[Any]:
        raise trivet.NotOffered(f"the grid target has no {kind}")

    def features(self) -> Mapping[str, str]:
        return {}

    def describe(self) -> Mapping[str, str]:
        return {}

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        return {}


class GridTarget:
    """Where it runs, and what its results rest on."""

    name = "grid"
    clients = ("writer", "reader")

    def plan(self, stack: trivet.Stack) -> Sequence[str]:
        return ["compare two versions"]

    def result_inputs(self, stack: trivet.Stack) -> trivet.ResultInputs:
        return trivet.ResultInputs(
            parts={"writer": ("roles.trainer",), "reader": ("roles.tracking",)}, code=("acme_grid",)
        )

    @contextmanager
    @trivet.uninterruptible
    def start(self, stack: trivet.Stack, emit: trivet.Emit) -> Iterator[GridSession]:
        with trivet.phase(emit, "grid"):
            _note("start")
        yield GridSession(stack)


@trivet.hookimpl
def trivet_targets() -> Mapping[str, trivet.Target]:
    return {"grid": GridTarget()}


_OF_ACME: Any = {"level": trivet.MUST, "seam": ("kfp", "mlflow"), "rationale": "Acme says so.", "remedy": "Upgrade."}


@trivet.contract(title="The writer must have a version", **_OF_ACME)
def writer_has_a_version(writer: str) -> Iterator[trivet.Finding]:
    _note(f"writer {writer}")
    yield trivet.passed(writer)


@trivet.contract(title="The reader must have a version", **_OF_ACME)
def reader_has_a_version(reader: str) -> Iterator[trivet.Finding]:
    _note(f"reader {reader}")
    yield trivet.passed(reader)


@trivet.contract(title="The reader must not be of an older major version than the writer", **_OF_ACME)
def reader_reads_what_the_writer_writes(writer: str, reader: str) -> Iterator[trivet.Finding]:
    time.sleep(float(os.environ.get(SECONDS, "0")))
    _note(f"both {writer} {reader}")
    old, new = int(reader.split(".")[0]), int(writer.split(".")[0])
    if old < new:
        yield trivet.failed(f"version {reader} does not read what version {writer} writes")
    else:
        yield trivet.passed(f"{reader} reads {writer}")
