"""Small tables for the command line: stacks, changed pins, facts of a platform, waivers, and the checks of `trivet doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from trivet.engine.doctor import DoctorCheck
from trivet.model.detection import Fact
from trivet.model.stack import Stack
from trivet.model.waiver import Waiver
from trivet.render.layout import Line, Span, entry, line, plain
from trivet.render.waivers import days_left, scope
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


def waivers(found: Mapping[str, Waiver], day: date) -> str:
    """The waivers on a ``day``, those that expire first before the others, at most 100 columns wide."""
    if not found:
        return "there are no waivers\n"
    rows: list[Line] = []
    for name, one in sorted(found.items(), key=lambda item: item[1].expires):
        rows += [line(Span(name, "bold")), *entry("expires", f"{one.expires}: {days_left(one, day)}")]
        rows += [*entry("accepts", scope(one)), *entry("reason", one.reason), *entry("owner", one.owner), line()]
    expired = sum(one.expires < day for one in found.values())
    return plain([*rows, line(f"{len(found)} waiver{'' if len(found) == 1 else 's'}, {expired} expired")])


def facts_table(facts: Sequence[Fact]) -> str:
    """A line per fact with its value, and below it where it was read or why it is unknown."""
    width = max((len(fact.name) for fact in facts), default=0)
    return "\n".join(
        f"{fact.name:<{width}}  {fact.value or 'unknown'}\n{'':<{width}}  {fact.source or fact.reason}"
        for fact in facts
    )


def doctor_checks(checks: Sequence[DoctorCheck]) -> str:
    """One line per check, with the remedy below each that failed."""
    lines = []
    for check in checks:
        lines.append(f"{'ok ' if check.ok else 'BAD'}  {check.name:<22} {check.observed}")
        if not check.ok:
            lines.append(f"     {'':<22} remedy: {check.remedy}")
    return "\n".join(lines)
