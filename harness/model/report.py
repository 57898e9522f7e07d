"""The conformance report: stack, target, the result of every contract of the profile, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.model.detection import Fact
from trivet.model.finding import Finding, IgnoredFinding
from trivet.model.outcome import Level, Outcome, blocks
from trivet.model.waiver import WaiverUse

API_VERSION = "trivet.dev/v1alpha2"
KIND = "ConformanceReport"

VERDICTS = ("conformant", "not conformant", "inconclusive")
"""The verdict by exit code. 3 is inconclusive too: a file could not be read."""


def verdict_of(exit_code: int) -> str:
    """The verdict that belongs to an exit code."""
    return VERDICTS[min(exit_code, 2)]


PREPARATION = "preparation of the cluster"
"""The key in ``handover`` for what a run installed or repaired on a cluster of trivet's own before it judged."""

STATIC = "static"
"""The target of a report on files (``trivet lint``)."""

ONE_MODEL = "model"
"""The target of a report on one model that was served (``trivet check``)."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """When a result was judged (``at``, an RFC 3339 time in UTC), in which stack, on what machine, and by which version of trivet."""

    at: str
    stack: str
    machine: str
    trivet: str


@dataclass(frozen=True, kw_only=True)
class ContractResult:
    """The outcome of one contract: the worst of its findings that are not accepted, or if all deviations are, the worst of them.

    ``reason`` explains it in one sentence; it is empty only if the contract passed.
    ``reused`` says when and where a result of a results store was judged; it is None for a result of this run.
    """

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
    reused: Judged | None = None
    ignored: tuple[IgnoredFinding, ...] = ()
    """Deviations that comments or a baseline ignore; empty for a run."""

    @property
    def accepted(self) -> bool:
        """Whether waivers or the baseline accept every deviation in it, of which there is one."""
        deviations = [finding for finding in self.findings if finding.outcome.deviates]
        return bool(deviations) and all(finding.accepted for finding in deviations)

    @property
    def blocks(self) -> bool:
        """Whether this result alone makes the report not conformant."""
        return blocks(self.outcome, self.level, accepted=self.accepted)


@dataclass(frozen=True, kw_only=True)
class StackSummary:
    """The stack at the time of the run. ``facts`` say what of it was read of a platform, by ``trivet detect``, and where."""

    name: str
    title: str
    digest: str
    components: Mapping[str, str]
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A named part of the run: its start, in seconds since the start of the run, and its duration."""

    name: str
    started: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Version and environment of trivet, time and command of the run. ``started`` is an RFC 3339 time in UTC."""

    trivet: str
    python: str
    platform: str
    started: str
    seconds: float
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class BaselineUse:
    """The baseline of a run: its file, the number of findings that it accepts, and of those that it has and the run does not."""

    file: str
    accepted: int
    gone: int


@dataclass(frozen=True, kw_only=True)
class InputError:
    """A file that could not be read, or another reason why something is not judged. ``exit_code`` is 2, or 3 for wrong usage."""

    message: str
    remedy: str = ""
    exit_code: int = 3


@dataclass(frozen=True, kw_only=True)
class ConformanceReport:
    """The results of one run.

    Conformant means that every applicable MUST passed, or that its failures are accepted, and that at least one passed.
    """

    target: str
    profile: str
    stack: StackSummary
    contracts: tuple[ContractResult, ...]
    provenance: Provenance
    detected: tuple[Fact, ...] = ()
    """The versions that components stated during the run, with where; those in the stack are declared."""
    features: Mapping[str, str] = field(default_factory=dict)
    """The features of the target: name → how the feature was measured."""
    handover: Mapping[str, str] = field(default_factory=dict)
    """The handover of the run: run id, model version, storage URI …"""
    documents: Mapping[str, str] = field(default_factory=dict)
    """The documents of the handover, redacted: file name → text, such as the InferenceService to apply."""
    phases: tuple[Phase, ...] = ()
    errors: tuple[InputError, ...] = ()
    """What could not be read, and is not judged; empty for a run."""
    stacks: tuple[StackSummary, ...] = ()
    """The stacks by which files were judged, where the settings of lint have a stack per path; each finding then names its own."""
    ignored: int = 0
    """The number of findings that comments or a baseline ignore; 0 for a run."""
    waivers: tuple[WaiverUse, ...] = ()
    """Every waiver of the settings, with what it did here."""
    baseline: BaselineUse | None = None
    """The baseline of a run; None without one, and for lint, which leaves out what its baseline has and counts it in ``ignored``."""
    apiVersion: str = API_VERSION  # noqa: N815 - the Kubernetes API convention for versioned objects
    kind: str = KIND

    @property
    def exit_code(self) -> int:
        """0 conformant · 1 a MUST failed, whatever else happened · 2 inconclusive · 3 a file could not be read.

        What waivers or the baseline accept does not fail.
        A report on files needs no passed MUST, because only SHOULD contracts may apply to a file; it needs at least one judged contract, or
        a finding that is ignored.
        """
        blocking = {result.outcome for result in self.contracts if result.blocks}
        if Outcome.FAILED in blocking:
            return 1
        if self.errors:
            return max(error.exit_code for error in self.errors)
        if blocking:
            return 2
        if self.target == STATIC:
            judged = self.count(Outcome.PASSED) + self.count(Outcome.FAILED) + self.ignored
        else:
            judged = self.count(Outcome.PASSED, Level.MUST)
        return 0 if judged else 2

    @property
    def verdict(self) -> str:
        """The verdict that belongs to the exit code."""
        return verdict_of(self.exit_code)

    def count(self, outcome: Outcome, level: Level | None = None, *, accepted: bool | None = None) -> int:
        """The number of contracts with ``outcome`` (and, if given, ``level`` and whether it is ``accepted``)."""
        return sum(
            1
            for one in self.contracts
            if one.outcome is outcome and level in (None, one.level) and accepted in (None, one.accepted)
        )
