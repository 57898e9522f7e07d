"""Linting: static contracts over files, without starting anything. Yields the same report as a run does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from trivet.engine.outcomes import finding_of, observed
from trivet.engine.run import Recorder, fold, outside_versions
from trivet.errors import DeclarationError, TrivetError, UsageError
from trivet.host.process_pool import map_in_processes
from trivet.model.contract import Contract
from trivet.model.finding import Finding, not_applicable
from trivet.model.outcome import Outcome
from trivet.model.platform_config import PlatformConfig, platform_of
from trivet.model.report import STATIC, ConformanceReport, ContractResult
from trivet.model.stack import Stack
from trivet.model.subjects import Resource
from trivet.toolkit.subjects import KINDS, RESOURCES, Place, Subject, places, read

PIECE = 64
"""Files that are judged in one go; more of them are shared among processes."""

_NAMES = {
    "manifest": "InferenceService",
    "resource": "Kubernetes object",
    "model_directory": "model directory",
    "compiled_pipeline": "compiled pipeline",
}


@dataclass(frozen=True, kw_only=True)
class LintResult:
    """What linting came to.

    ``counts`` says what was seen: subjects by name, and documents that are none by their kind. ``errors`` are the files that
    could not be read, and that there was nothing to lint. Each contract's findings are its deviations; confirmations are
    counted in one finding, so that ten thousand sound files do not make a report of ten thousand findings.
    """

    report: ConformanceReport
    counts: Mapping[str, int]
    errors: tuple[TrivetError, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 conformant · 1 a MUST failed · 2 inconclusive, or nothing to lint · 3 a file could not be read."""
        return max((error.exit_code for error in self.errors), default=self.report.exit_code)


def lint(
    paths: Iterable[Path],
    contracts: Sequence[Contract],
    stack: Stack,
    platform: PlatformConfig | None = None,
    *,
    command: str = "trivet lint",
) -> LintResult:
    """Judge everything lintable below ``paths`` by those of ``contracts`` that are static.

    ``platform`` is what is known of the platform that the files are applied to; by default the one that trivet installs for ``stack``.

    Contracts outside the stack's versions, and those whose kind of subject does not occur, are SKIPPED with their reason; those that no
    target can run are an ERROR. Raises UsageError when none of the contracts is static.
    """
    recorder = Recorder(lambda event: None)
    static = [contract for contract in contracts if contract.static or contract.unrunnable]
    if not static:
        raise UsageError("none of the chosen contracts is static", remedy="`trivet list` marks those that lint can run")
    reasons = {contract.id: outside_versions(contract, stack) for contract in static}
    applying = [contract for contract in static if contract.static and not reasons[contract.id]]
    paths = list(paths)
    found = list(places(paths))
    pieces = [found[start : start + PIECE] for start in range(0, len(found), PIECE)]
    whole = _Part()
    with closing(
        map_in_processes(lambda piece: _judged(piece, applying, stack, platform or platform_of(stack)), pieces)
    ) as parts:
        for part in parts:
            whole.add(part)
    lintable = [*_NAMES.values(), *RESOURCES["serving.kserve.io"]]
    seen = {name: whole.counts[name] for name in [*lintable, *whole.counts] if whole.counts[name]}
    if not whole.errors and not any(name in seen for name in lintable):
        whole.errors.append(_nothing(paths, seen))
    report = recorder.report(
        [_result(contract, whole.tallies.get(contract.id, _Tally()), reasons[contract.id]) for contract in static],
        target=STATIC,
        stack=stack,
        profile="static",
        command=command,
    )
    return LintResult(report=report, counts=seen, errors=tuple(whole.errors))


@dataclass
class _Tally:
    """One contract's observations: deviations kept, confirmations and exemptions counted, with the first of each."""

    deviations: list[Finding] = field(default_factory=list)
    samples: dict[Outcome, Finding] = field(default_factory=dict)
    numbers: Counter[Outcome] = field(default_factory=Counter)
    seconds: float = 0.0

    def note(self, finding: Finding) -> None:
        """Take up one finding."""
        if finding.outcome.deviates:
            self.deviations.append(finding)
        else:
            self.samples.setdefault(finding.outcome, finding)
            self.numbers[finding.outcome] += 1

    def add(self, later: _Tally) -> None:
        """Take up what was observed after this."""
        self.deviations += later.deviations
        self.samples |= {outcome: sample for outcome, sample in later.samples.items() if outcome not in self.samples}
        self.numbers += later.numbers
        self.seconds += later.seconds


@dataclass
class _Part:
    """What some of the files came to. ``tallies`` by the contract's id."""

    tallies: dict[str, _Tally] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[TrivetError] = field(default_factory=list)

    def add(self, later: _Part) -> None:
        """Take up what the files after these came to."""
        for identifier, tally in later.tallies.items():
            self.tallies.setdefault(identifier, _Tally()).add(tally)
        self.counts.update(later.counts)
        self.errors += later.errors


def _judged(piece: Iterable[Place], contracts: Sequence[Contract], stack: Stack, platform: PlatformConfig) -> _Part:
    part = _Part(tallies={contract.id: _Tally() for contract in contracts})
    by_type = {
        kind: [(contract, part.tallies[contract.id]) for contract in contracts if contract.subject in names]
        for kind, names in KINDS.items()
    }
    declared = {"stack": stack, "platform": platform}
    for found in map(read, piece):
        part.errors += found.errors
        part.counts.update(found.others)
        for subject in found.subjects:
            part.counts[_name(subject)] += 1
            for contract, tally in by_type[type(subject)]:
                began = time.perf_counter()
                given = {name: declared.get(name, subject) for name in contract.wants}
                for finding in observed(contract, given, subject.at):
                    tally.note(finding)
                tally.seconds += time.perf_counter() - began
    return part


def _name(subject: Subject) -> str:
    return subject.kind if isinstance(subject, Resource) else _NAMES[KINDS[type(subject)][0]]


def _result(contract: Contract, tally: _Tally, outside: str) -> ContractResult:
    """The contract's one line in the report."""
    findings = tally.deviations + [
        _counted(sample, tally.numbers[outcome]) for outcome, sample in tally.samples.items()
    ]
    if contract.unrunnable:
        findings = [finding_of(DeclarationError(contract.unrunnable))]
    elif not findings:
        findings = [not_applicable(outside or f"no {_NAMES[contract.subject or '']} among the files")]
    return fold(contract, findings, tally.seconds)


def _counted(sample: Finding, number: int) -> Finding:
    return replace(sample, message=f"{sample.message} (and {number - 1:,} more)") if number > 1 else sample


def _nothing(paths: Sequence[Path], seen: Mapping[str, int]) -> TrivetError:
    others = ", ".join(f"{number} {name}" for name, number in seen.items()) or "no YAML or JSON document at all"
    return TrivetError(
        f"nothing to lint under {', '.join(map(str, paths))}: seen were {others}",
        remedy="name InferenceService manifests, pipelines compiled with KFP, or directories that hold an MLmodel",
    )
