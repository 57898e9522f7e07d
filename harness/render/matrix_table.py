"""A matrix as a table, for every format: the last axis across, the others down; and its failures by contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trivet.model.matrix import Cell, CellResult, MatrixReport
from trivet.model.outcome import Level, Outcome, blocks


@dataclass(frozen=True, kw_only=True)
class Table:
    """``corner`` names the axes; each row has its name and a cell for each column."""

    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def table(report: MatrixReport) -> Table:
    """The cells of a report by their values."""
    *down, across = report.axes
    width = len(across.values)
    rows = [report.cells[start : start + width] for start in range(0, len(report.cells), width)]
    named = [" ".join(value for part, value in cells[0].values.items() if part != across.part) for cells in rows]
    corner = " ".join(axis.part for axis in down)
    return Table(
        corner=f"{corner} \\ {across.part}" if corner else across.part,
        columns=across.values,
        rows=list(zip((name or report.base for name in named), rows, strict=True)),
    )


def short(cell: Cell) -> str:
    """A cell in a few characters: ``✓ 12``, ``✕ 2 of 12``, ``? 3 of 12``, with the number of contracts that passed or decided."""
    if cell.error:
        return "! error"
    if cell.exit_code == 0:
        return f"✓ {count(cell, Outcome.PASSED)}"
    deciding = sum(1 for result in cell.contracts if blocks(result.outcome, result.level))
    failed = sum(1 for one in cell.contracts if one.outcome is Outcome.FAILED and one.level is Level.MUST)
    return f"✕ {failed} of {len(cell.contracts)}" if failed else f"? {deciding} of {len(cell.contracts)}"


def count(cell: Cell, outcome: Outcome) -> int:
    """The number of a cell's contracts with an outcome."""
    return sum(1 for result in cell.contracts if result.outcome is outcome)


def blocked(report: MatrixReport) -> Mapping[str, Mapping[tuple[str, str], Sequence[tuple[Cell, CellResult]]]]:
    """Contract → outcome and reason → the cells with it, for what makes cells not conformant; the most cells first.

    What is inconclusive in a cell in which something failed is left out: it is mostly a consequence.
    """
    found: dict[str, dict[tuple[str, str], list[tuple[Cell, CellResult]]]] = {}
    for cell in report.cells:
        for result in cell.contracts:
            consequence = cell.exit_code == 1 and result.outcome is Outcome.INCONCLUSIVE
            if blocks(result.outcome, result.level) and not consequence:
                found.setdefault(result.id, {}).setdefault((result.outcome.value, result.reason), []).append(
                    (cell, result)
                )
    return dict(sorted(found.items(), key=lambda one: -sum(map(len, one[1].values()))))
