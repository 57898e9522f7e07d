"""The report: stack, target, every contract of the profile exactly once, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.model.finding import Finding
from trivet.model.outcome import Level, Outcome, blocks

API_VERSION = "trivet.dev/v1alpha2"
KIND = "ConformanceReport"

VERDICTS = ("conformant", "not conformant", "could not tell")
"""The word for each exit code of a report."""

STATIC = "static"
"""The target of a report over files (``trivet lint``)."""


@dataclass(frozen=True, kw_only=True)
class ContractResult:
    """What one contract came to. ``reason`` says in one sentence why; it is never empty unless the contract passed."""

    id: str
    title: str
    level: Level
    seam: tuple[str, str]
    outcome: Outcome
    reason: str
    rationale: str
    remedy: str
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0

    @property
    def blocks(self) -> bool:
        """Whether this result alone keeps the report from being conformant."""
        return blocks(self.outcome, self.level)


@dataclass(frozen=True, kw_only=True)
class StackSummary:
    """The stack as it was when judged."""

    name: str
    title: str
    digest: str
    components: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Where the time went: a named stretch of the run, in seconds from its start."""

    name: str
    started: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Who judged, when and on what. ``started`` is an RFC 3339 time in UTC."""

    trivet: str
    python: str
    platform: str
    started: str
    seconds: float
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class ConformanceReport:
    """A whole judgement. Conformant means that every applicable MUST passed, and that there was at least one."""

    target: str
    profile: str
    stack: StackSummary
    contracts: tuple[ContractResult, ...]
    provenance: Provenance
    features: Mapping[str, str] = field(default_factory=dict)
    """What the target can do: feature name → how that was measured."""
    handover: Mapping[str, str] = field(default_factory=dict)
    """The hand-off that was driven: run id, model version, storage URI …"""
    documents: Mapping[str, str] = field(default_factory=dict)
    """What the hand-off made, redacted: file name → text, such as the InferenceService that would be applied."""
    phases: tuple[Phase, ...] = ()
    apiVersion: str = API_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = KIND

    @property
    def exit_code(self) -> int:
        """0 conformant · 1 a MUST failed · 2 could not tell.

        On files a passed MUST is not asked for: many a sound one has nothing about it but advice. Something must have been judged.
        """
        blocking = {result.outcome for result in self.contracts if result.blocks}
        if blocking:
            return 1 if Outcome.FAILED in blocking else 2
        if self.target == STATIC:
            judged = self.count(Outcome.PASSED) + self.count(Outcome.FAILED)
        else:
            judged = self.count(Outcome.PASSED, Level.MUST)
        return 0 if judged else 2

    @property
    def verdict(self) -> str:
        """The exit code as a word."""
        return VERDICTS[self.exit_code]

    def count(self, outcome: Outcome, level: Level | None = None) -> int:
        """How many contracts came to ``outcome`` (at ``level``, if given)."""
        return sum(1 for r in self.contracts if r.outcome is outcome and level in (None, r.level))
