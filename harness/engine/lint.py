"""Linting: static contracts over files, without starting anything. Yields the same report as a run does."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trivet.engine.authoring import evidence, inconclusive, not_applicable
from trivet.engine.run import Recorder, fold, outside_versions
from trivet.errors import CannotTell, NotOffered, TrivetError, UsageError
from trivet.model.contract import Contract
from trivet.model.finding import Finding
from trivet.model.outcome import Outcome
from trivet.model.report import ConformanceReport, ContractResult
from trivet.model.stack import Stack
from trivet.targets.static import KINDS, Subject, read

PROFILE = TARGET = "static"

_NAMES = {
    "manifest": "InferenceService",
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
        """0 conformant · 1 a MUST failed · 2 could not tell, or nothing to lint · 3 a file could not be read."""
        return max((error.exit_code for error in self.errors), default=self.report.exit_code)


def lint(
    paths: Iterable[Path], contracts: Sequence[Contract], stack: Stack, *, command: str = "trivet lint"
) -> LintResult:
    """Judge everything lintable below ``paths`` by those of ``contracts`` that are static.

    Contracts outside the stack's versions, and those whose kind of subject does not occur, are SKIPPED with their reason.
    Raises UsageError when none of the contracts is static.
    """
    recorder = Recorder(lambda event: None)
    tallies = [_Tally(contract, stack) for contract in contracts if contract.static]
    if not tallies:
        raise UsageError("none of the chosen contracts is static", remedy="`trivet list` marks those that lint can run")
    by_kind = {kind: [tally for tally in tallies if tally.contract.subject == kind] for kind in _NAMES}
    counts: Counter[str] = Counter(dict.fromkeys(_NAMES.values(), 0))
    errors: list[TrivetError] = []
    paths = list(paths)
    for found in read(paths):
        errors += found.errors
        counts.update(found.others)
        for subject in found.subjects:
            kind = KINDS[type(subject)]
            counts[_NAMES[kind]] += 1
            for tally in by_kind[kind]:
                tally.judge(subject)
    seen = {name: number for name, number in counts.items() if number}
    if not errors and not any(counts[name] for name in _NAMES.values()):
        errors.append(_nothing(paths, seen))
    report = recorder.report(
        [tally.result() for tally in tallies], target=TARGET, stack=stack, profile=PROFILE, command=command
    )
    return LintResult(report=report, counts=seen, errors=tuple(errors))


@dataclass
class _Tally:
    """One contract's observations over all subjects: deviations kept, confirmations and exemptions counted."""

    contract: Contract
    stack: Stack
    deviations: list[Finding] = field(default_factory=list)
    samples: dict[Outcome, Finding] = field(default_factory=dict)
    numbers: dict[Outcome, int] = field(default_factory=lambda: {Outcome.PASSED: 0, Outcome.SKIPPED: 0})
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.outside = outside_versions(self.contract, self.stack)

    def judge(self, subject: Subject) -> None:
        """Observe one subject. Never raises an Exception."""
        if self.outside:
            return
        began = time.perf_counter()
        given = [self.stack if name == "stack" else subject for name in self.contract.wants]
        for finding in _observed(self.contract, given, subject):
            outcome = finding.outcome
            if outcome in self.numbers:
                if not self.numbers[outcome]:
                    self.samples[outcome] = finding
                self.numbers[outcome] += 1
            else:
                self.deviations.append(self._own(finding))
        self.seconds += time.perf_counter() - began

    def result(self) -> ContractResult:
        """The contract's one line in the report."""
        findings = self.deviations + [self._counted(outcome) for outcome in self.samples]
        if not findings:
            name = _NAMES[self.contract.subject or ""]
            findings = [self._own(not_applicable(self.outside or f"no {name} among the files"))]
        return fold(self.contract, findings, self.seconds)

    def _counted(self, outcome: Outcome) -> Finding:
        sample, number = self.samples[outcome], self.numbers[outcome]
        if number > 1:
            sample = replace(sample, message=f"{sample.message} (and {number - 1:,} more)")
        return self._own(sample)

    def _own(self, finding: Finding) -> Finding:
        return replace(finding, contract=self.contract.id)


def _observed(contract: Contract, given: Sequence[Subject | Stack], subject: Subject) -> list[Finding]:
    try:
        found = list(contract.check(*given))
    except NotOffered as error:
        return [not_applicable(error.message, location=subject.at())]
    except CannotTell as error:
        return [inconclusive(error.message, location=subject.at())]
    except Exception as error:
        # A bug in a check is not a fault of the file: it gets an outcome of its own.
        trace = evidence("traceback", "text", traceback.format_exc())
        message = f"the check itself broke: {type(error).__name__}: {error}"
        return [Finding(outcome=Outcome.ERROR, message=message, location=subject.at(), evidence=(trace,))]
    return found or [inconclusive("the check observed nothing: an empty result is not a pass", location=subject.at())]


def _nothing(paths: Sequence[Path], seen: Mapping[str, int]) -> TrivetError:
    others = ", ".join(f"{number} {name}" for name, number in seen.items()) or "no YAML or JSON document at all"
    return TrivetError(
        f"nothing to lint under {', '.join(map(str, paths))}: seen were {others}",
        remedy="name InferenceService manifests, pipelines compiled with KFP, or directories that hold an MLmodel",
    )
