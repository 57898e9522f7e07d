"""Contracts as a pipeline's gate: asked about what a scenario has made, before that is deployed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from trivet.engine.lint import lint
from trivet.engine.registry import Registry
from trivet.errors import CannotTell
from trivet.model.outcome import Level, Outcome
from trivet.model.stack import Stack


def refusal(path: Path, stack: Stack, pattern: str) -> str:
    """What the first MUST among the static contracts that match ``pattern`` (shell-style, of ids) has against what lies at ``path``.

    Empty when they have nothing against it. Raises CannotTell when none of them could judge.
    """
    chosen = [one for name, one in Registry().contracts.items() if fnmatchcase(name, pattern) and one.static]
    judged = [one for one in lint([path], chosen, stack).report.contracts if one.level is Level.MUST]
    told = {one.outcome: f"{one.id}: {one.reason}" for one in reversed(judged)}
    if Outcome.FAILED in told:
        return told[Outcome.FAILED]
    if unsure := told.get(Outcome.ERROR) or told.get(Outcome.INCONCLUSIVE):
        raise CannotTell(unsure)
    if Outcome.PASSED not in told:
        raise CannotTell(f"none of the contracts {pattern} could judge {path}")
    return ""
