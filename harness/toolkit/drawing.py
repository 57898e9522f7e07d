"""Drawing inputs for contracts that hold for all of a kind: rows, names of directories; and the search for a counter-example.

Hypothesis draws and shrinks, in a process of its own (``trivet.fixtures.jobs.drawing``): the examples are the same
on every machine, whatever else is installed, and no pytest session pays for its plugin.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from trivet.errors import CannotTell, PlatformError
from trivet.integration import Signature
from trivet.stacks.drawing import JOB, drawing_role
from trivet.stacks.environments import build_environment

T = TypeVar("T")

DRAWN = ("boolean", "integer", "long", "float", "double", "string")
"""Types of MLflow's column signatures that rows are drawn of."""


@dataclass(frozen=True, kw_only=True)
class Strategy(Generic[T]):
    """What is drawn: a strategy of the job by its name, its arguments as JSON, and what makes a value of the JSON that comes back."""

    name: str
    arguments: Mapping[str, Any]
    read: Callable[[Any], T]


def rows_of(signature: Signature, *, most: int = 12) -> Strategy[list[dict[str, Any]]]:
    """Batches of 1 to ``most`` rows that satisfy a column signature. Raises CannotTell for arrays and for other types."""
    columns = {column.name: column.type for column in signature.columns}
    foreign = sorted({kind for kind in columns.values() if kind not in DRAWN})
    if signature.tensors:
        arrays = ", ".join(f"{one.dtype} of the shape {list(one.shape)}" for one in signature.tensors)
        raise CannotTell(f"arrays ({arrays}) are not drawn; drawn are columns of the types {', '.join(DRAWN)}")
    if foreign or not columns:
        raise CannotTell(
            f"inputs of type {', '.join(foreign) or 'none at all'} are not drawn; drawn are {', '.join(DRAWN)}"
        )
    return Strategy(name="rows", arguments={"columns": columns, "most": most}, read=list)


def directory_names_and_endings() -> Strategy[tuple[str, str]]:
    """A relative directory of one to three levels, awkward names among them, and what a user puts behind it: "", "/" or "//"."""
    return Strategy(name="directory_names_and_endings", arguments={}, read=lambda pair: (pair[0], pair[1]))


def counter_example(strategy: Strategy[T], deviation: Callable[[T], str], *, examples: int) -> tuple[int, str]:
    """Try ``deviation`` on up to ``examples`` drawn values: how many were tried, and the smallest deviation found or ''.

    A deviation that does not repeat on the same value counts as well: the first one is given then, with a word about that. What
    ``deviation`` raises, such as CannotTell, ends the search, and is raised as it is unless a deviation was found before. Raises CannotTell
    when nothing can be drawn, because Hypothesis cannot be installed or ends.
    """
    tried = 0
    first = ""
    with _hypothesis() as ask:
        answer = ask({"strategy": strategy.name, "arguments": strategy.arguments, "examples": examples})
        while "value" in answer:
            tried += 1
            try:
                found = deviation(strategy.read(answer["value"]))
            except Exception as error:
                if not first:
                    raise
                return tried, f"{first} (after that the search ended: {error})"
            first = first or found
            answer = ask({"deviation": found})
    if not answer["repeats"]:
        return tried, f"{first} (once: on the same input it did not repeat)"
    return tried, answer["deviation"]


@contextmanager
def _hypothesis() -> Iterator[Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """A process that draws, as a function from a request to its answer. It ends with the block, and by itself when trivet is killed."""
    try:
        environment = build_environment(drawing_role())
    except PlatformError as error:
        raise CannotTell(f"no inputs can be drawn: {error.message}", remedy=error.remedy) from error
    variables = {"HYPOTHESIS_STORAGE_DIRECTORY": str(environment.folder / "hypothesis"), "HYPOTHESIS_NO_PLUGINS": "1"}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(
            [environment.python, "-I", JOB],
            env=os.environ | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            # Ctrl-C is for trivet, which ends the block.
            start_new_session=True,
        ) as process,
    ):
        questions, answers = process.stdin, process.stdout
        assert questions is not None
        assert answers is not None

        def ask(request: Mapping[str, Any]) -> dict[str, Any]:
            try:
                questions.write(json.dumps(request) + "\n")
                questions.flush()
                line = answers.readline()
            except OSError:
                line = ""
            if not line:
                status = process.wait()
                log.seek(0)
                raise CannotTell(
                    f"Hypothesis, which draws inputs, ended with status {status}; the end of its log:\n{log.read()[-2000:]}"
                )
            answer: dict[str, Any] = json.loads(line)
            return answer

        try:
            yield ask
        finally:
            process.kill()
            with suppress(OSError):
                questions.close()
