"""Contracts as a gate before a deployment."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from trivet.engine.lint import lint
from trivet.engine.registry import registry_in_use
from trivet.errors import CannotTell
from trivet.model.outcome import Level, Outcome
from trivet.model.stack import Stack


def refusal(path: Path, stack: Stack, pattern: str) -> str:
    """The first MUST that fails on ``path``, with its reason, of the static contracts whose ids match ``pattern`` (shell-style).

    Contracts of the run's plugins are among them. Empty when none fails. Raises CannotTell when one of them cannot judge, or none applies.
    """
    chosen = [one for name, one in registry_in_use().contracts.items() if fnmatchcase(name, pattern) and one.static]
    judged = [one for one in lint([path], chosen, stack).report.contracts if one.level is Level.MUST]
    first = {one.outcome: f"{one.id}: {one.reason}" for one in reversed(judged)}
    if Outcome.FAILED in first:
        return first[Outcome.FAILED]
    if unknown := first.get(Outcome.ERROR) or first.get(Outcome.INCONCLUSIVE):
        raise CannotTell(unknown)
    if Outcome.PASSED not in first:
        raise CannotTell(f"no contract that matches {pattern} applies to {path}")
    return ""
