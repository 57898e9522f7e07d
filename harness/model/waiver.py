"""Waivers: dated, reasoned acceptances of known failures. Data only; ``trivet.engine.acceptance`` applies them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from trivet.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """``[tool.trivet.waivers.NAME]``: FAILED findings that do not fail the report. Every key that is given must match.

    ``contract`` is the id of a contract, or a shell-style pattern of ids. ``reason`` says why the failure is accepted, ``expires`` is the
    last day on which it is (YYYY-MM-DD, in UTC), and ``owner`` is who answers for it. ``message`` is a part of the finding's message.
    ``stack`` and ``target`` are shell-style patterns of names; the target of lint is ``static``. ``path`` is a pattern of files in the
    syntax of ``.gitignore``, relative to the folder of pyproject.toml, and ``object`` a shell-style pattern of an object of the platform,
    such as ``InferenceService/churn``.
    """

    contract: str
    reason: str
    expires: date = field(metadata={"form": "YYYY-MM-DD"})
    owner: str = ""
    message: str = ""
    stack: str = ""
    target: str = ""
    path: str = ""
    object: str = ""

    def __post_init__(self) -> None:
        if not self.contract.strip():
            raise UsageError(
                "its contract is empty", remedy="write the id of a contract, or a pattern such as 'paths.*'"
            )
        if not self.reason.strip():
            raise UsageError("its reason is empty", remedy="write why this failure is accepted")


@dataclass(frozen=True, kw_only=True)
class FindingWaiver:
    """The waiver that matches one finding. An ``expired`` one does not accept it any more."""

    name: str
    reason: str
    owner: str
    expires: date
    expired: bool


class WaiverStatus(StrEnum):
    """What a waiver did in one report.

    ``used``: it accepts a failure. ``expired``: the failure is there, and fails since the waiver expired. ``unused``: what it is about
    was judged, and no failure matches. ``undecided``: what it is about was not judged, so that it may still be needed.
    """

    USED = "used"
    EXPIRED = "expired"
    UNUSED = "unused"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class WaiverUse:
    """One waiver in one report: its keys, what it did, and the number of ``findings`` that match it."""

    name: str
    waiver: Waiver
    status: WaiverStatus
    findings: int
