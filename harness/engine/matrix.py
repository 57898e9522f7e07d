"""The matrix: which cells there are, which of their contracts must be judged, and the order in which cells run side by side.

Starts nothing itself: a cell is judged by a function that runs an ordinary run with the results store, and returns its report.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from trivet.engine.results_store import Question, ResultsStore, inputs_of, question
from trivet.engine.run import outside_versions, summary_of
from trivet.errors import TrivetError, UsageError
from trivet.host.side_by_side import side_by_side
from trivet.model.contract import Contract
from trivet.model.matrix import Axis, Cell, CellResult
from trivet.model.redaction import redact
from trivet.model.report import ConformanceReport
from trivet.model.stack import Stack
from trivet.model.target import Target
from trivet.stacks.composed import Contradiction, check_part, compose
from trivet.stacks.schema import String, StringArray, Table, schema_errors

ROLE = "part roles."
"""How inputs of a question that are roles begin (``results_store.question``)."""
MOST = 400
"""Cells of one matrix."""

FILE_SCHEMA = Table(
    required={"axes": Table(others=StringArray(), description="a table of axes")},
    optional={"stack": String(), "contracts": StringArray()},
)


@dataclass(frozen=True, kw_only=True)
class MatrixFile:
    """A matrix in a TOML file: ``[axes]``, and optionally ``stack`` and ``contracts``; both are empty if not given."""

    axes: tuple[Axis, ...]
    stack: str = ""
    contracts: tuple[str, ...] = ()


def read_axes(texts: Iterable[str]) -> tuple[Axis, ...]:
    """Axes from texts such as ``tracking=2.12.2,2.17.2``. Raises UsageError for another form, an unknown part, and an empty axis."""
    found: dict[str, list[str]] = {}
    for text in texts:
        part, equals, values = (one.strip() for one in text.partition("="))
        if not (part and equals):
            raise UsageError(
                f"{text!r} is not an axis", remedy="write ROLE=VALUE,VALUE,…, such as tracking=2.12.2,2.17.2"
            )
        if part in found:
            raise UsageError(f"the axis {part} is given twice", remedy=f"write all of its values in one: {part}=…,…")
        found[part] = [value.strip() for value in values.split(",") if value.strip()]
    return _checked(found)


def read_matrix_file(file: Path) -> MatrixFile:
    """The matrix in a TOML file. Raises UsageError for a file that cannot be read or is invalid."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the matrix {file}: {error}", remedy="see docs/matrix.md for its form") from error
    if errors := list(schema_errors(table, FILE_SCHEMA)):
        raise UsageError(
            "\n".join(f"{file}: {sentence}" for sentence in errors), remedy="see docs/matrix.md for its form"
        )
    return MatrixFile(
        axes=_checked(table["axes"]), stack=table.get("stack", ""), contracts=tuple(table.get("contracts", ()))
    )


def _checked(axes: Mapping[str, Sequence[str]]) -> tuple[Axis, ...]:
    for part, values in axes.items():
        check_part(part)
        if not values:
            raise UsageError(f"the axis {part} is empty", remedy=f"write its values, such as {part}=2.12.2,2.17.2")
        if twice := next((value for value in values if values.count(value) > 1), ""):
            raise UsageError(f"the axis {part} has {twice} twice", remedy="remove one of them")
    if not axes:
        raise UsageError("a matrix needs an axis", remedy="give one with --axis, such as tracking=2.12.2,2.17.2")
    return tuple(Axis(part=part, values=tuple(values)) for part, values in axes.items())


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell before it runs. ``error`` is why it cannot be composed."""

    values: Mapping[str, str]
    stack: Stack | None
    error: str = ""


def planned_cells(base: Stack, axes: Sequence[Axis], progress: Callable[[str], None]) -> list[PlannedCell]:
    """Every combination of the axes' values, the last axis varying fastest.

    Versions without a lock are locked now. Raises UsageError for unknown parts, stacks and versions, and for too many cells; a combination
    whose requirements contradict each other is a cell with an error.
    """
    combinations = list(itertools.product(*(axis.values for axis in axes)))
    if len(combinations) > MOST:
        raise UsageError(
            f"the matrix has {len(combinations)} cells, at most {MOST}", remedy="split it, or shorten an axis"
        )
    return [
        planned_cell(base, dict(zip((axis.part for axis in axes), one, strict=True)), progress) for one in combinations
    ]


def planned_cell(base: Stack, values: Mapping[str, str], progress: Callable[[str], None]) -> PlannedCell:
    """``base`` with the parts ``values``; a cell with an error if their requirements contradict each other. Raises UsageError otherwise."""
    try:
        return PlannedCell(values=values, stack=compose(base, values, progress=progress))
    except Contradiction as error:
        return PlannedCell(values=values, stack=None, error="; ".join(filter(None, (error.message, error.remedy))))


JudgeCell = Callable[[PlannedCell], ConformanceReport]
"""Judges one cell, with the results store, and returns its report. Raises TrivetError when the run itself fails."""


@dataclass(frozen=True, kw_only=True)
class CellEnded:
    """Progress: a cell has its results; so many remain."""

    cell: Cell
    remaining: int


class Matrix:
    """The cells of a matrix on one target, with the contracts of each, and the store that their results are in."""

    def __init__(
        self,
        cells: Sequence[PlannedCell],
        contracts: Sequence[Contract],
        target: Target,
        store: ResultsStore,
    ) -> None:
        self._cells = cells
        self._contracts = contracts
        self._target = target
        self._store = store

    def missing(self, cell: PlannedCell) -> dict[str, str]:
        """Contract → the name of its result in the store, for the contracts of a cell whose results are not there.

        Equal names in two cells mean that one of them answers for both.
        """
        return {one.contract: self._store.expected(one) for one in self._unanswered(cell)}

    def keys(self, cell: PlannedCell) -> frozenset[str]:
        """The keys of everything that a cell asks the store."""
        return frozenset(one.key for one in self._questions(cell))

    def missing_roles(self, cell: PlannedCell) -> frozenset[str]:
        """The roles whose processes run when what is missing of a cell is judged: those behind the contracts' clients."""
        return frozenset(
            name.removeprefix(ROLE) for one in self._unanswered(cell) for name in one.inputs if name.startswith(ROLE)
        )

    def _unanswered(self, cell: PlannedCell) -> list[Question]:
        return [one for one in self._questions(cell) if not self._store.find(one)]

    def _questions(self, cell: PlannedCell) -> list[Question]:
        stack = cell.stack
        if stack is None:
            return []
        inputs = inputs_of(self._target, stack)
        return [
            question(one, stack, self._target.name, inputs, applies=outside_versions(one, stack))
            for one in self._contracts
            if not one.unrunnable
        ]

    def run(
        self,
        judge: JudgeCell,
        jobs: int,
        progress: Callable[[CellEnded], None],
        stop: Callable[[], None] = lambda: None,
    ) -> list[Cell]:
        """Judge every cell, at most ``jobs`` at a time, and return them in their order.

        A cell waits while another one judges a result that it needs too. After an exception in this thread, such as a signal, ``stop`` must
        end the calls of ``judge``; it is passed on when they have ended.
        """
        done: dict[int, Cell] = {}

        def ended(number: int, cell: Cell) -> None:
            done[number] = cell
            progress(CellEnded(cell=cell, remaining=len(self._cells) - len(done)))

        composed = [number for number, planned in enumerate(self._cells) if planned.stack]
        for number, planned in enumerate(self._cells):
            if planned.stack is None:
                ended(number, Cell(values=planned.values, exit_code=2, error=redact(planned.error)))
        side_by_side(
            [self._cells[number] for number in composed],
            judge,
            lambda index, future: ended(composed[index], _cell(self._cells[composed[index]], future)),
            jobs=jobs,
            needs=lambda planned: frozenset(self.missing(planned).values()),
            stop=stop,
        )
        return [done[number] for number in range(len(self._cells))]


def _cell(planned: PlannedCell, future: Future[ConformanceReport]) -> Cell:
    try:
        report = future.result()
    except TrivetError as error:
        stack = summary_of(planned.stack) if planned.stack else None
        return Cell(values=planned.values, exit_code=2, stack=stack, error=redact(error.message))
    judged = any(result.reused is None for result in report.contracts)
    return Cell(
        values=planned.values,
        exit_code=report.exit_code,
        stack=report.stack,
        contracts=tuple(
            CellResult(
                id=result.id, level=result.level, outcome=result.outcome, reason=result.reason, reused=result.reused
            )
            for result in report.contracts
        ),
        seconds=report.provenance.seconds if judged else 0.0,
    )


def slug(values: Mapping[str, str]) -> str:
    """A cell's folder name: its values, with characters that file names have everywhere; ``base`` for one without any."""
    text = "_".join(f"{part}-{value}" for part, value in values.items()) or "base"
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in text)
