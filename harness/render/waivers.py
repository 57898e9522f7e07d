"""Waivers in words: what each is about, who answers for it, and the days that are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from trivet.model.waiver import Waiver, WaiverUse


@dataclass(frozen=True, kw_only=True)
class WaiverRow:
    """One waiver of a report, as a row of a table."""

    name: str
    status: str
    findings: int
    scope: str
    expires: str
    reason: str


def waiver_rows(uses: Sequence[WaiverUse], day: date) -> list[WaiverRow]:
    """The waivers of a report of a ``day``, in their order."""
    return [
        WaiverRow(
            name=use.name,
            status=use.status.value,
            findings=use.findings,
            scope=scope(use.waiver),
            expires=f"{use.waiver.expires} ({days_left(use.waiver, day)})",
            reason=_reason(use.waiver),
        )
        for use in uses
    ]


def days_left(waiver: Waiver, day: date) -> str:
    """``92 days left``, ``the last day``, or ``expired 29 days ago``."""
    days = (waiver.expires - day).days
    if days == 0:
        return "the last day"
    number = f"{abs(days):,} day{'' if abs(days) == 1 else 's'}"
    return f"{number} left" if days > 0 else f"expired {number} ago"


def scope(waiver: Waiver) -> str:
    """``paths.*, target kind, path deploy/``."""
    keys = ("message", "stack", "target", "path", "object")
    return ", ".join([waiver.contract, *(f"{key} {value}" for key in keys if (value := getattr(waiver, key)))])


def _reason(waiver: Waiver) -> str:
    return f"{waiver.owner}: {waiver.reason}" if waiver.owner else waiver.reason
