"""Small tables for the command line: stacks, changed pins, and what the doctor saw."""

from __future__ import annotations

from collections.abc import Sequence

from trivet.engine.doctor import Symptom
from trivet.model.stack import Stack
from trivet.stacks.lock import LockChange


def stacks(found: Sequence[Stack]) -> str:
    """One line per stack: name, components, title."""
    return "\n".join(
        f"{stack.name:<14} {stack.title}\n{'':<14} {' · '.join(f'{name} {version}' for name, version in stack.components.items())}"
        for stack in found
    )


def lock_changes(changes: Sequence[LockChange]) -> str:
    """One line per pin that changed."""
    if not changes:
        return "the locks are as they were"
    return "\n".join(
        f"{change.role:<12} {change.package:<32} {change.before or '-':>12} → {change.after or '-'}"
        for change in changes
    )


def symptoms(seen: Sequence[Symptom]) -> str:
    """One line per thing that was examined, with the remedy below what is not well."""
    lines = []
    for symptom in seen:
        lines.append(f"{'ok ' if symptom.well else 'BAD'}  {symptom.name:<22} {symptom.seen}")
        if not symptom.well:
            lines.append(f"     {'':<22} remedy: {symptom.remedy}")
    return "\n".join(lines)
