"""A matrix on the terminal: what is about to run, a line for each cell, the table, and what failed where."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from trivet.engine.matrix import CellEnded, PlannedCell
from trivet.model.matrix import Axis, MatrixReport
from trivet.model.outcome import Outcome
from trivet.render.layout import COLUMNS, Line, Span, entry, fit, line, pad, plain, wrap
from trivet.render.matrix_table import Table, blocked, short, table
from trivet.render.wording import EXIT_MEANING, wording

_STYLES = ("bold green", "bold red", "bold yellow")


def opening(axes: Sequence[Axis], contracts: int, base: str, target: str, store: str) -> str:
    """The sentence before the first cell."""
    size = " × ".join(f"{len(axis.values)} {axis.part}" for axis in axes)
    return f"a matrix of {size} on {base}, target {target}, {contracts} contracts in each cell\nresults: {store}"


def remaining(cells: Sequence[tuple[PlannedCell, Mapping[str, str]]]) -> str:
    """What is missing in the store, by cell, for a matrix that is not run. A result that two cells need is missing once."""
    lines = []
    for cell, missing in cells:
        name = " ".join(f"{part}={value}" for part, value in cell.values.items())
        lines.append(f"  {name}: {f'cannot be composed: {cell.error}' if cell.error else f'{len(missing)} to judge'}")
    results = {name for _, missing in cells for name in missing.values()}
    return "\n".join([*lines, f"{len(cells)} cells, at most {len(results)} results to judge"])


class Progress:
    """A line for each cell that has ended, with how many remain and how long they take if they are like the others."""

    def __init__(self, cells: int, echo: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._cells = cells
        self._echo = echo
        self._clock = clock
        self._began = clock()
        self._judged = 0

    def __call__(self, event: CellEnded) -> None:
        cell, done = event.cell, self._cells - event.remaining
        elapsed = self._clock() - self._began
        self._judged += bool(cell.judged)
        what = cell.error or f"{cell.judged} judged, {len(cell.contracts) - cell.judged} reused, {cell.seconds:.0f} s"
        left = f"; {event.remaining} remain" if event.remaining else ""
        if event.remaining and self._judged:
            left += f", about {elapsed / done * event.remaining / 60:.0f} min"
        count = f"[{done:>{len(str(self._cells))}}/{self._cells}]"
        self._echo(plain([line(f"{count} {cell.name}: {short(cell)}; ", fit(what, COLUMNS), left)]).rstrip("\n"))


def summary(report: MatrixReport) -> str:
    """The table, the contracts that failed with their cells, and the verdict."""
    return plain(list(_lines(report)))


def _lines(report: MatrixReport) -> Iterator[Line]:
    yield line()
    yield from _table(table(report))
    for identifier, found in blocked(report).items():
        yield line()
        yield line(Span(fit(identifier, COLUMNS), "bold"))
        for (outcome, reason), cells in found.items():
            word = wording(Outcome(outcome), cells[0][1].level).word.upper() if outcome else "ERROR"
            names = ", ".join(cell.name for cell, _ in cells)
            yield from (
                line("  ", text)
                for text in wrap(f"{word} in {len(cells)} of {len(report.cells)}: {names}", COLUMNS - 2, 4)
            )
            yield from entry("reason", reason, indent=4, most=4)
    for cell in report.cells:
        if cell.error:
            yield line()
            yield from (line(text) for text in wrap(f"{cell.name}: {cell.error}", COLUMNS, 6))
    yield line()
    yield line(Span("─" * COLUMNS, "dim"))
    yield line(sentence(report))
    yield line(cost(report))
    yield line(f"exit code {report.exit_code}: {EXIT_MEANING[report.exit_code]}")


def sentence(report: MatrixReport) -> str:
    """``25 cells: 15 conformant, 10 not conformant``."""
    verdicts = [cell.verdict for cell in report.cells]
    parts = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(sorted(verdicts)))
    return f"{len(report.cells)} cells: {parts or 'nothing was judged'}"


def cost(report: MatrixReport) -> str:
    """What was judged, what was reused, and how long it took."""
    seconds = report.provenance.seconds
    took = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
    return f"{report.judged} results judged, {report.reused} reused, in {took}"


def _table(shown: Table) -> Iterator[Line]:
    first = max(len(row) for row in (shown.corner, *(name for name, _ in shown.rows)))
    widths = [
        max(len(head), *(len(short(cells[number])) for _, cells in shown.rows))
        for number, head in enumerate(shown.columns)
    ]
    heads = "  ".join(pad(head, width) for head, width in zip(shown.columns, widths, strict=True))
    yield line(Span(f"{pad(shown.corner, first)}  {heads}", "bold"))
    for name, cells in shown.rows:
        spans = [
            Span(f"  {pad(short(cell), width)}", _STYLES[min(cell.exit_code, 2)])
            for cell, width in zip(cells, widths, strict=True)
        ]
        yield line(pad(name, first), *spans)
