"""A matrix: composed stacks over one or more axes, and the outcome of each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.model.outcome import Level, Outcome
from trivet.model.report import Judged, Provenance, StackSummary, verdict_of

MATRIX_VERSION = "trivet.dev/matrix/v1alpha1"
MATRIX_REPORT = "MatrixReport"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One part of the stack (``trivet.stacks.composed.PARTS``) in several versions, or from several stacks."""

    part: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """The outcome of one contract in a cell. ``reused`` says when and where a result of the results store was judged."""

    id: str
    level: Level
    outcome: Outcome
    reason: str
    reused: Judged | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One composed stack: its value on each axis, and what was judged.

    ``error`` is why nothing was, such as requirements that contradict each other; ``stack`` is None when it could not be composed.
    ``seconds`` is how long its run took; 0 for a cell whose results were all in the store. ``report`` is the folder of its conformance
    report, relative to the matrix report; empty without one.
    """

    values: Mapping[str, str]
    exit_code: int
    stack: StackSummary | None = None
    contracts: tuple[CellResult, ...] = ()
    error: str = ""
    seconds: float = 0.0
    report: str = ""

    @property
    def verdict(self) -> str:
        """The verdict that belongs to the exit code."""
        return verdict_of(self.exit_code)

    @property
    def judged(self) -> int:
        """The number of results that were judged for this cell."""
        return sum(1 for result in self.contracts if result.reused is None)

    @property
    def name(self) -> str:
        """``trainer=2.12.2 tracking=3.17.2``."""
        return " ".join(f"{part}={value}" for part, value in self.values.items())


@dataclass(frozen=True, kw_only=True)
class MatrixReport:
    """The cells of a matrix, in the order of its axes: the last axis varies fastest."""

    base: str
    target: str
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]
    provenance: Provenance
    contracts: tuple[str, ...] = field(default=())
    """The ids of the contracts that every cell has."""
    apiVersion: str = MATRIX_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = MATRIX_REPORT

    @property
    def exit_code(self) -> int:
        """1 if a MUST failed in a cell, else 2 if a cell is inconclusive or there is none, else 0."""
        codes = {min(cell.exit_code, 2) for cell in self.cells} or {2}
        return 1 if 1 in codes else max(codes)

    @property
    def judged(self) -> int:
        """The number of results that were judged, in all cells."""
        return sum(cell.judged for cell in self.cells)

    @property
    def reused(self) -> int:
        """The number of results that cells have from the results store, or from another cell."""
        return sum(len(cell.contracts) for cell in self.cells) - self.judged
