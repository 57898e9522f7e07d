"""Small tables for the command line: stacks, changed pins, and the checks of `trivet doctor`."""

from __future__ import annotations

from collections.abc import Sequence

from trivet.engine.doctor import DoctorCheck
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
        return "the locks are unchanged"
    return "\n".join(
        f"{change.role:<12} {change.package:<32} {change.before or '-':>12} → {change.after or '-'}"
        for change in changes
    )


def doctor_checks(checks: Sequence[DoctorCheck]) -> str:
    """One line per check, with the remedy below each that failed."""
    lines = []
    for check in checks:
        lines.append(f"{'ok ' if check.ok else 'BAD'}  {check.name:<22} {check.observed}")
        if not check.ok:
            lines.append(f"     {'':<22} remedy: {check.remedy}")
    return "\n".join(lines)
