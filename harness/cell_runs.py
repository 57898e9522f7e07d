"""Cells judged by runs of trivet in processes of their own, for the commands ``trivet matrix`` and ``trivet verdict``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivet.cli_options import planned_run, refuse_composition, report_directory, settings_of, target_of
from trivet.errors import PlatformError

if TYPE_CHECKING:
    from trivet.engine.acceptance import Acceptance
    from trivet.engine.matrix import PlannedCell
    from trivet.engine.plan import Plan
    from trivet.engine.registry import Registry
    from trivet.engine.results_store import ResultsStore
    from trivet.host.child_runs import ChildRuns
    from trivet.model.contract import Contract
    from trivet.model.report import ConformanceReport
    from trivet.model.settings import Settings
    from trivet.model.stack import Stack
    from trivet.model.target import Target

MEMORY = 1536 * 2**20
"""Bytes for each cell that runs beside others: a whole run on the target local takes 1.3 GiB at its peak, measured with MLflow 3.17.2."""

CELLS = "cells"
"""The folder of the cells' reports in that of the report over all cells."""

_FORWARDED = ("stack", "profile", "target", "context", "store", "database", "images")
_REPEATED = ("plugin", "addon")


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
class Judging:
    """What the cells of one call have in common, by its options and the settings. ``base`` is the stack that cells are mixed from."""

    flags: Mapping[str, Any]
    settings: Settings
    registry: Registry
    target: Target
    base: Stack
    plan: Plan
    store: ResultsStore
    directory: Path | None

    @classmethod
    def prepare(
        cls, flags: Mapping[str, Any], *, parts: Iterable[str], patterns: Sequence[str], results: str | None
    ) -> Judging:
        """Read the settings and everything that they name; ``parts`` are those of the stack that differ between cells.

        Raises UsageError, before anything is started, for what no cell could have.
        """
        from trivet.engine.registry import Registry
        from trivet.engine.results_store import ResultsStore, inputs_of
        from trivet.stacks.environments import cache_directory
        from trivet.stacks.read import load_stack

        settings = settings_of(**flags)
        refuse_composition(settings.target, parts, on_one_cluster=True)
        registry = Registry(settings.plugins, settings=settings)
        target = target_of(registry, settings.target)
        base = load_stack(settings.stack)
        plan = planned_run(registry, settings, target, base, patterns)
        judging = cls(
            flags=flags,
            settings=settings,
            registry=registry,
            target=target,
            base=base,
            plan=plan,
            store=ResultsStore(Path(results).expanduser() if results else cache_directory() / "results"),
            directory=report_directory(settings.report),
        )
        judging.accepted(base)
        inputs_of(target, base)
        return judging

    def cells_at_once(self, cells: int) -> int:
        """:func:`cells_at_once`; one if they share a cluster."""
        return 1 if getattr(self.target, "owns_cluster", False) else cells_at_once(cells)

    def accepted(self, stack: Stack) -> Acceptance:
        """The known failures that settings accept on a stack, as the runs of cells do by themselves."""
        from trivet.engine.acceptance import acceptance_of
        from trivet.settings import settings_folder

        return acceptance_of(self.settings, self.registry, settings_folder(Path.cwd()), stack=stack.name)


def from_store(judging: Judging, cell: PlannedCell, contracts: Sequence[Contract], command: str) -> ConformanceReport:
    """The report on contracts of a cell whose results are all in the store."""
    from trivet.engine.run import run

    assert cell.stack is not None
    return run(
        contracts,
        target=judging.target,
        stack=cell.stack,
        profile=judging.plan.profile,
        emit=lambda event: None,
        command=command,
        results=judging.store,
        acceptance=judging.accepted(cell.stack),
    )


@dataclass(frozen=True, kw_only=True)
class CellRuns:
    """Judges cells by runs of trivet in processes of their own."""

    judging: Judging
    missing: Callable[[PlannedCell], Mapping[str, str]]
    """The contracts of a cell whose results are not in the store."""
    children: ChildRuns
    command: str
    """The command that reports made here name."""

    def judge(self, cell: PlannedCell) -> ConformanceReport:
        """The report of a cell, also written to its folder: made here when the store has every result, else by a run.

        Raises PlatformError when that run ends without a report.
        """
        from trivet.render.writers import write_files

        report = (
            self._by_run(cell)
            if self.missing(cell)
            else from_store(self.judging, cell, self.judging.plan.contracts, self.command)
        )
        if self.judging.directory:
            write_files(report, self.judging.directory / cell_folder(cell.values), self.judging.registry.writers)
        return report

    def _by_run(self, cell: PlannedCell) -> ConformanceReport:
        from trivet.engine.matrix import slug
        from trivet.engine.required import REQUIRED
        from trivet.render import report_json

        judging, flags = self.judging, self.judging.flags
        folder = self.children.folder(slug(cell.values))
        arguments = [
            "run",
            *(part for name in _FORWARDED if flags[name] for part in (f"--{name}", flags[name])),
            *(part for option in _REPEATED for name in flags[f"{option}s"] for part in (f"--{option}", name)),
            *(part for name, value in cell.values.items() for part in ("--with", f"{name}={value}")),
            # What is required of the target is in the settings, and part of every run.
            *(part for one in judging.plan.contracts if one.id != REQUIRED.id for part in ("--contract", one.id)),
            *("--results", str(judging.store.folder), "--report", str(folder)),
        ]
        code, log = self.children.call(arguments, folder)
        try:
            return report_json.read((folder / report_json.filename).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PlatformError(f"the run of this cell ended with exit code {code}: {log}") from None
