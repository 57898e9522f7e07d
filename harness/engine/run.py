"""Judging: run every contract of a plan against a session and build the report. Starts nothing itself; the target does."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from threading import BoundedSemaphore
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from trivet.engine.acceptance import Acceptance
from trivet.engine.outcomes import NOTHING, finding_of, observed
from trivet.engine.recorded_stack import RecordedStack
from trivet.engine.results_store import ResultsStore, inputs_of, question
from trivet.errors import CannotTell, DeclarationError, NotOffered, TrivetError
from trivet.model.clients import CLIENTS
from trivet.model.contract import FEATURES_PARAMETER, Contract
from trivet.model.detection import Fact
from trivet.model.events import ContractEnded, ContractStarted, Emit, Event, PhaseEnded, RunEnded, RunStarted
from trivet.model.feature import lacking
from trivet.model.finding import Finding
from trivet.model.outcome import Level, Outcome, combine
from trivet.model.platform_config import platform_of
from trivet.model.redaction import redact
from trivet.model.report import (
    BaselineUse,
    ConformanceReport,
    ContractResult,
    InputError,
    Phase,
    Provenance,
    StackSummary,
)
from trivet.model.stack import Stack
from trivet.model.target import Session, Target
from trivet.model.waiver import WaiverUse

RUNNING_VERSIONS = "running_versions"
"""The client whose facts a report has."""

POLL = 0.5
"""Seconds between two looks whether all checks have ended."""

CHECKS_AT_ONCE = 4
"""Checks that observe at the same time. They mostly wait for answers, so this is more than the cores of a small machine."""

NOTHING_ACCEPTED = Acceptance()


def run(
    contracts: Sequence[Contract],
    *,
    target: Target,
    stack: Stack,
    profile: str,
    emit: Emit,
    command: str = "",
    results: ResultsStore | None = None,
    acceptance: Acceptance = NOTHING_ACCEPTED,
) -> ConformanceReport:
    """Start ``stack`` on ``target``, judge every contract once, stop everything, return the report.

    Results of the store ``results`` that still hold are taken from it, and new ones are kept in it as soon as they are known. Nothing is
    started when all of them are there. ``acceptance`` has the known failures that do not fail; the store keeps results without it.
    """
    record = Recorder(emit)
    record(RunStarted(stack=stack.name, target=target.name, contracts=tuple(c.id for c in contracts)))
    keeper = Keeper(results, contracts, stack, target) if results else None
    found = dict(keeper.reused(acceptance)) if keeper else {}
    for result in found.values():
        record(ContractEnded(result=result))

    missing = [contract for contract in contracts if contract.id not in found]

    def reported(session: Session | None = None) -> ConformanceReport:
        judged = tuple(found[contract.id] for contract in contracts)
        return record.report(
            judged,
            session,
            target=target.name,
            stack=stack,
            profile=profile,
            command=command,
            detected=_detected(missing, session, target) if session else (),
            waivers=acceptance.waiver_uses(judged),
            baseline=acceptance.baseline_use(judged),
        )

    if not missing:
        report = reported()
        emit(RunEnded(report=report))
        return report
    # A thread per contract, since most wait for their clients first. On an interrupt the session ends before the pool: checks
    # that wait for it then fail at once, instead of keeping the user waiting for a handover that nobody wants any more.
    with (
        ThreadPoolExecutor(len(missing), thread_name_prefix="trivet-check") as pool,
        target.start(stack, record) as session,
    ):
        slots = BoundedSemaphore(CHECKS_AT_ONCE)

        def judged_once(contract: Contract) -> ContractResult:
            read = RecordedStack(stack)
            result = judge(contract, session, stack, target, record, slots, read, acceptance)
            if keeper and not record.silent:
                plain = fold(contract, result.findings, result.seconds, NOTHING_ACCEPTED)
                keeper.keep(plain, session, read.parts_read)
            return result

        try:
            judged = [pool.submit(judged_once, contract) for contract in missing]
            # Not for ever: a signal that comes just before a wait begins is seen at its end.
            while wait(judged, timeout=POLL).not_done:
                pass
            found |= {contract.id: future.result() for contract, future in zip(missing, judged, strict=True)}
        except BaseException:
            record.silence()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        # Features and documents are of the handover, which a run over what the stack declares does not start.
        report = reported(None if all(contract.declared for contract in missing) else session)
    # The report is built while the session and its documents exist, and emitted after everything is stopped.
    emit(RunEnded(report=report))
    return report


class Keeper:
    """A results store for the contracts of one run."""

    def __init__(self, store: ResultsStore, contracts: Sequence[Contract], stack: Stack, target: Target) -> None:
        self._store = store
        # The check of required features rests on their names, and measures in every run.
        kept = [one for one in contracts if not one.unrunnable and FEATURES_PARAMETER not in one.wants]
        self._contracts = {one.id: one for one in kept}
        inputs = inputs_of(target, stack)
        self._questions = {
            one.id: question(
                one, stack, target.name, inputs, applies=outside_versions(one, stack) or unknown_version(one, stack)
            )
            for one in kept
        }

    def reused(self, acceptance: Acceptance) -> Iterator[tuple[str, ContractResult]]:
        """The kept results that still hold, by contract, with what is accepted now."""
        for identifier, asked in self._questions.items():
            if kept := self._store.find(asked):
                result = fold(self._contracts[identifier], kept.result.findings, kept.result.seconds, acceptance)
                yield identifier, replace(result, reused=kept.judged)

    def keep(self, result: ContractResult, session: Session, parts_read: Iterable[str]) -> None:
        """Keep a result, with files named as in a report: those of the session do not outlive it."""
        if any(finding.location and finding.location.file for finding in result.findings):
            result = _located(result, {str(path): name for name, path in session.documents().items()})
        if asked := self._questions.get(result.id):
            self._store.keep(asked, result, parts_read)


def _detected(contracts: Iterable[Contract], session: Session, target: Target) -> tuple[Fact, ...]:
    """The versions that components stated, if a contract has asked for them and the target offers them."""
    if RUNNING_VERSIONS not in target.clients or not any(
        RUNNING_VERSIONS in contract.clients for contract in contracts
    ):
        return ()
    try:
        found: Mapping[str, Fact] = session.client(RUNNING_VERSIONS)
    except TrivetError:
        return ()  # the contract says why
    return tuple(
        replace(fact, value=redact(fact.value), source=redact(fact.source), reason=redact(fact.reason))
        for fact in found.values()
    )


class Recorder:
    """Passes events on and keeps what a report says about the run itself: when it began and where the time went."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.silent = False
        """Whether the run is being interrupted."""
        self._clock = time.monotonic()
        self._started = datetime.now(UTC)
        self._phases: list[Phase] = []

    def __call__(self, event: Event) -> None:
        """Note the end of a phase and pass the event on."""
        if isinstance(event, PhaseEnded):
            began = time.monotonic() - self._clock - event.seconds
            self._phases.append(Phase(name=event.name, started=round(began, 3), seconds=round(event.seconds, 3)))
        self._emit(event)

    def silence(self) -> None:
        """Emit no further events: parts that fail because they are being stopped are not reported."""
        self.silent = True
        self._emit = lambda event: None

    def report(
        self,
        results: Sequence[ContractResult],
        session: Session | None = None,
        *,
        target: str,
        stack: Stack,
        profile: str,
        command: str = "",
        detected: Sequence[Fact] = (),
        errors: Iterable[TrivetError] = (),
        stacks: Iterable[Stack] = (),
        ignored: int = 0,
        waivers: tuple[WaiverUse, ...] = (),
        baseline: BaselineUse | None = None,
    ) -> ConformanceReport:
        """The report over ``results``, with this run's provenance, the documents of ``session``, and the ``errors`` while reading.

        ``stacks`` are those that judged, if others than ``stack`` can have; ``ignored`` is the number of findings that are ignored,
        ``waivers`` and ``baseline`` what was accepted.
        """
        deviation = any(result.outcome.deviates and result.level is Level.MUST for result in results)
        documents = session.documents(everything=deviation) if session else {}
        names = {str(path): name for name, path in documents.items()}
        return ConformanceReport(
            target=target,
            profile=profile,
            stack=summary_of(stack),
            contracts=tuple(_located(result, names) for result in results),
            detected=tuple(detected),
            features=dict(session.features()) if session else {},
            handover=dict(session.describe()) if session else {},
            documents={
                name: redact(path.read_text(encoding="utf-8", errors="replace")) for name, path in documents.items()
            },
            phases=tuple(self._phases),
            errors=tuple(
                InputError(message=redact(one.message), remedy=redact(one.remedy), exit_code=one.exit_code)
                for one in errors
            ),
            stacks=tuple(map(summary_of, stacks)),
            ignored=ignored,
            waivers=waivers,
            baseline=baseline,
            provenance=self.provenance(command),
        )

    def provenance(self, command: str = "") -> Provenance:
        """The provenance of a report that is made now."""
        return Provenance(
            trivet=version("trivet"),
            python=platform.python_version(),
            platform=f"{sys.platform}-{platform.machine()}",
            started=self._started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._clock, 3),
            command=command,
        )


def summary_of(stack: Stack) -> StackSummary:
    """What a report says about its stack."""
    return StackSummary(
        name=stack.name,
        title=stack.title,
        digest=stack.digest,
        components=dict(stack.components),
        facts=stack.facts,
    )


def judge(
    contract: Contract,
    session: Session,
    stack: Stack,
    target: Target,
    emit: Emit,
    slots: AbstractContextManager[object] | None = None,
    read: Stack | None = None,
    acceptance: Acceptance = NOTHING_ACCEPTED,
) -> ContractResult:
    """Run one contract's check on the session that ``target`` started, and fold its findings into a result. Never raises an Exception.

    The check starts once its clients exist and ``slots`` lets it in; the seconds of the result count from there. It receives ``read`` in
    place of ``stack``, if given.
    """
    findings, seconds = _observe(contract, session, stack, target, emit, slots or nullcontext(), read or stack)
    if acceptance.reads_files(contract.id) and any(one.location and one.location.file for one in findings):
        findings = _named(findings, {str(path): name for name, path in session.documents().items()})
    result = fold(contract, findings, seconds, acceptance)
    emit(ContractEnded(result=result))
    return result


def fold(
    contract: Contract,
    findings: Sequence[Finding],
    seconds: float = 0.0,
    acceptance: Acceptance | None = None,
) -> ContractResult:
    """The findings of one contract as its one line in the report, redacted. No finding at all is INCONCLUSIVE.

    ``acceptance`` marks those that are accepted, and no others; without it they are as they are marked.
    """
    findings = [
        replace(finding, contract=contract.id, message=redact(finding.message), remedy=redact(finding.remedy))
        for finding in findings
    ]
    if acceptance:
        findings = acceptance.marked(contract.id, findings)
    failing = [finding for finding in findings if finding.outcome.deviates and not finding.accepted]
    outcome = combine(finding.outcome for finding in failing or findings)
    worst = [finding for finding in failing or findings if finding.outcome is outcome]
    reason = worst[0].message if worst else NOTHING
    if len(worst) > 1 and outcome is not Outcome.PASSED:
        reason += f" (and {len(worst) - 1} more)"
    remedy = next((finding.remedy for finding in worst if finding.remedy), contract.remedy)
    return ContractResult(
        id=contract.id,
        title=contract.title,
        level=contract.level,
        seam=contract.seam,
        outcome=outcome,
        reason=reason,
        rationale=contract.rationale,
        remedy=remedy,
        findings=tuple(findings),
        seconds=round(seconds, 3),
    )


def _located(result: ContractResult, names: Mapping[str, str]) -> ContractResult:
    """``result`` with the report's names for files that vanish with the session."""
    return replace(result, findings=tuple(_named(result.findings, names)))


def _named(findings: Iterable[Finding], names: Mapping[str, str]) -> list[Finding]:
    return [
        replace(
            finding,
            location=replace(finding.location, file=names.get(finding.location.file or "", finding.location.file)),
        )
        if finding.location
        else finding
        for finding in findings
    ]


def outside_versions(contract: Contract, stack: Stack) -> str:
    """Why the contract does not apply to the versions of this stack, or an empty string. An unknown version is no reason."""
    for component, specifier in contract.versions.items():
        try:
            present = stack.components.get(component)
        except CannotTell:
            continue
        if present is None:
            return f"the stack names no {component}, and this applies to {component}{specifier}"
        if not SpecifierSet(specifier).contains(Version(present), prereleases=True):
            return f"applies to {component}{specifier}; the stack has {present}"
    return ""


def unknown_version(contract: Contract, stack: Stack) -> str:
    """Why it is not known whether the contract applies to the versions of this stack, or an empty string."""
    for component in contract.versions:
        try:
            stack.components.get(component)
        except CannotTell as error:
            return error.message
    return ""


def not_offered(wants: Iterable[str], target: Target) -> str:
    """The clients among ``wants`` that ``target`` does not offer, with what they give; empty when it offers all."""
    missing = [name for name in wants if name not in target.clients]
    return "; ".join(
        f"the target {target.name} does not offer the client {name}: {CLIENTS.get(name, 'see its contract')}"
        for name in missing
    )


def _observe(
    contract: Contract,
    session: Session,
    stack: Stack,
    target: Target,
    emit: Emit,
    slots: AbstractContextManager[object],
    read: Stack,
) -> tuple[list[Finding], float]:
    findings: list[Finding] = []
    began = time.monotonic()
    try:
        if contract.unrunnable:
            raise DeclarationError(contract.unrunnable)
        if reason := outside_versions(contract, stack) or not_offered(contract.clients, target):
            raise NotOffered(reason)
        if reason := unknown_version(contract, stack):
            raise CannotTell(reason)
        if contract.features and (reason := lacking(contract.features, session.features())):
            raise NotOffered(reason)
        subjects: Sequence[Any] = session.subjects(contract.subject) if contract.subject else (None,)
        clients = {name: session.client(name) for name in contract.clients}
        declared: dict[str, Any] = {"stack": read}
        if "platform" in contract.wants:
            described = platform_of(read)
            observe = getattr(session, "observed_platform", None)
            declared["platform"] = observe(described) if observe else described
        if FEATURES_PARAMETER in contract.wants:
            clients[FEATURES_PARAMETER] = session.features()
        with slots:
            emit(ContractStarted(id=contract.id))
            began = time.monotonic()
            for subject in subjects:
                available = {contract.subject: subject} | declared | clients
                given = {name: available[name] for name in contract.wants}
                findings += observed(contract, given, subject.at if contract.subject else None)
    except Exception as error:
        findings.append(finding_of(error))
    return findings, time.monotonic() - began
