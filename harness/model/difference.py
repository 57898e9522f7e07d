"""What differs between two conformance reports. Data only; ``trivet.engine.difference`` compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from trivet.model.outcome import Level, Outcome
from trivet.model.report import API_VERSION

KIND = "ReportDifference"


class ChangeKind(StrEnum):
    """How a contract differs, worst first.

    A contract that failed before has *newly failed* when it has more failed findings in a file or object than it had there; when it has as
    many, but others, it fails for an *other reason*.
    """

    NEWLY_FAILED = "newly failed"
    NEWLY_INCONCLUSIVE = "newly inconclusive"
    NO_LONGER_JUDGED = "no longer judged"
    OTHER_REASON = "other reason"
    NEWLY_ACCEPTED = "newly accepted"
    FEWER_FINDINGS = "fewer findings"
    NEWLY_PASSED = "newly passed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, kw_only=True)
class FindingText:
    """A finding that one of the reports does not have. ``location`` is as ``file:line`` and object, empty without one."""

    message: str
    location: str = ""


@dataclass(frozen=True, kw_only=True)
class ContractChange:
    """One contract that differs. ``before`` and ``after`` are None where a report does not have it.

    ``blocks`` is whether the new result alone makes the new report not conformant. ``appeared`` and ``gone`` are findings, of a contract
    that deviates in both reports.
    """

    kind: ChangeKind
    id: str
    title: str
    level: Level
    before: Outcome | None
    after: Outcome | None
    reason_before: str = ""
    reason_after: str = ""
    blocks: bool = False
    appeared: tuple[FindingText, ...] = ()
    gone: tuple[FindingText, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ComponentChange:
    """A component in another version; None where a stack does not have it."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """One of the two reports. ``started`` is an RFC 3339 time in UTC.

    ``measured`` is False when a results store had every result, so that no target was started and no feature measured.
    """

    stack: str
    digest: str
    target: str
    profile: str
    trivet: str
    started: str
    verdict: str
    contracts: int
    measured: bool


@dataclass(frozen=True, kw_only=True)
class ReportDifference:
    """The difference of two reports of runs, or of lint.

    ``unclear`` are the reasons, a sentence each, for which it is inconclusive whether something newly failed.
    """

    old: ReportSummary
    new: ReportSummary
    contracts: tuple[ContractChange, ...] = ()
    unchanged: int = 0
    components: tuple[ComponentChange, ...] = ()
    features_gained: Mapping[str, str] = field(default_factory=dict)
    """Features that only the new target has: name → how the feature was measured."""
    features_lost: Mapping[str, str] = field(default_factory=dict)
    unclear: tuple[str, ...] = ()
    apiVersion: str = API_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = KIND

    @property
    def exit_code(self) -> int:
        """0 nothing newly failed · 1 a MUST newly failed · 2 inconclusive."""
        if any(change.kind is ChangeKind.NEWLY_FAILED and change.blocks for change in self.contracts):
            return 1
        return 2 if self.unclear else 0
