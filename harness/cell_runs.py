"""Cells judged by runs of trivet in processes of their own, for the commands ``trivet matrix`` and ``trivet verdict``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivet.errors import PlatformError

if TYPE_CHECKING:
    from trivet.engine.acceptance import Acceptance
    from trivet.engine.matrix import PlannedCell
    from trivet.engine.plan import Plan
    from trivet.engine.results_store import ResultsStore
    from trivet.host.child_runs import ChildRuns
    from trivet.model.report import ConformanceReport
    from trivet.model.stack import Stack
    from trivet.model.target import Target
    from trivet.model.writer import Writer

MEMORY = 1536 * 2**20
"""Bytes for each cell that runs beside others: a whole run on the target local takes 1.3 GiB at its peak, measured with MLflow 3.17.2."""

CELLS = "cells"
"""The folder of the cells' reports in that of the report over all cells."""

_FORWARDED = ("stack", "profile", "target", "context", "store", "database", "images")


def cells_at_once(cells: int) -> int:
    """Cells at a time: one for each core, as far as memory allows."""
    import psutil

    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1
    return max(1, min(cells, cores, int(psutil.virtual_memory().available // MEMORY)))


def cell_folder(values: Mapping[str, str]) -> str:
    """The folder of a cell's reports, relative to the report over all cells."""
    from trivet.engine.matrix import slug

    return f"{CELLS}/{slug(values)}"


@dataclass(frozen=True, kw_only=True)
class CellRuns:
    """Judges cells by runs of trivet in processes of their own."""

    flags: Mapping[str, Any]
    missing: Callable[[PlannedCell], Mapping[str, str]]
    """The contracts of a cell whose results are not in the store."""
    plan: Plan
    target: Target
    store: ResultsStore
    directory: Path | None
    writers: Mapping[str, Writer]
    children: ChildRuns
    accepted: Callable[[Stack], Acceptance]
    """The known failures that settings accept on a stack, as the runs of cells do by themselves."""
    command: str
    """The command that reports made here name."""

    def judge(self, cell: PlannedCell) -> ConformanceReport:
        """The report of a cell, also written to its folder: made here when the store has every result, else by a run.

        Raises PlatformError when that run ends without a report.
        """
        from trivet.render.writers import write_files

        report = self._by_run(cell) if self.missing(cell) else self._from_store(cell)
        if self.directory:
            write_files(report, self.directory / cell_folder(cell.values), self.writers)
        return report

    def _from_store(self, cell: PlannedCell) -> ConformanceReport:
        from trivet.engine.run import run

        assert cell.stack is not None
        return run(
            self.plan.contracts,
            target=self.target,
            stack=cell.stack,
            profile=self.plan.profile,
            emit=lambda event: None,
            command=self.command,
            results=self.store,
            acceptance=self.accepted(cell.stack),
        )

    def _by_run(self, cell: PlannedCell) -> ConformanceReport:
        from trivet.engine.matrix import slug
        from trivet.engine.required import REQUIRED
        from trivet.render import report_json

        folder = self.children.folder(slug(cell.values))
        arguments = [
            "run",
            *(part for name in _FORWARDED if self.flags[name] for part in (f"--{name}", self.flags[name])),
            *(part for name in self.flags["plugins"] for part in ("--plugin", name)),
            *(part for name, value in cell.values.items() for part in ("--with", f"{name}={value}")),
            # What is required of the target is in the settings, and part of every run.
            *(part for one in self.plan.contracts if one.id != REQUIRED.id for part in ("--contract", one.id)),
            *("--results", str(self.store.folder), "--report", str(folder)),
        ]
        code, log = self.children.call(arguments, folder)
        try:
            return report_json.read((folder / report_json.filename).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PlatformError(f"the run of this cell ended with exit code {code}: {log}") from None
