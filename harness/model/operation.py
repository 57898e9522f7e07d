"""The report of a command that deploys, gates or judges: what was decided, why, and by which numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trivet.model.report import API_VERSION

KIND = "OperationReport"


class Decision(StrEnum):
    """What an operation came to.

    Of the gate: ``PASSED``, ``FAILED``. Of a deployment: ``DEPLOYED``, or ``UNCHANGED`` when it was as asked before. Of a judgement of a
    canary: ``PROMOTE``, ``ROLL_BACK``, ``UNDECIDED`` (the evidence decides neither way in time) and ``NO_CANARY`` (no revision is to be
    judged). Of a change by hand: ``PROMOTED``, ``ROLLED_BACK``.
    """

    PASSED = "PASSED"
    FAILED = "FAILED"
    DEPLOYED = "DEPLOYED"
    UNCHANGED = "UNCHANGED"
    PROMOTE = "PROMOTE"
    ROLL_BACK = "ROLL_BACK"
    UNDECIDED = "UNDECIDED"
    NO_CANARY = "NO_CANARY"
    PROMOTED = "PROMOTED"
    ROLLED_BACK = "ROLLED_BACK"


_EXIT_CODES = {Decision.FAILED: 1, Decision.ROLL_BACK: 1, Decision.UNDECIDED: 2}


@dataclass(frozen=True, kw_only=True)
class OperationReport:
    """``reason`` is one sentence with the numbers. ``acted``: the service was changed accordingly, by this process or an earlier one.
    ``revision`` is the revision that was deployed, judged or moved, and ``stable`` the one that it was judged against.

    ``start`` and ``end`` are Unix seconds by Prometheus' clock, and ``windows`` counts what was read between them; 0 where nothing was
    measured. ``evidence`` is what the decision rests on, by name.
    """

    command: str
    decision: Decision
    reason: str
    namespace: str = ""
    service: str = ""
    revision: str = ""
    stable: str = ""
    acted: bool = False
    start: float = 0.0
    end: float = 0.0
    windows: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    apiVersion: str = API_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = KIND

    @property
    def exit_code(self) -> int:
        """0 as wished, or nothing to do · 1 the gate failed, or the canary is rolled back · 2 undecided."""
        return _EXIT_CODES.get(self.decision, 0)
