"""Judging: run every contract of a plan against a session and build the report. Starts nothing itself; the target does."""

from __future__ import annotations

import platform
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from trivet.engine.authoring import evidence, inconclusive, not_applicable
from trivet.engine.events import ContractEnded, ContractStarted, Emit, Event, PhaseEnded, RunEnded, RunStarted
from trivet.errors import CannotTell, NotOffered, TrivetError
from trivet.model.contract import Contract
from trivet.model.finding import Finding
from trivet.model.outcome import Outcome, combine
from trivet.model.report import ConformanceReport, ContractResult, Phase, Provenance, StackSummary
from trivet.model.stack import Stack
from trivet.targets.base import Session, Target

WORKERS = 4
"""Checks that run at once; most of them wait for a server, so this is more than the cores of a small machine."""


def run(
    contracts: Sequence[Contract], *, target: Target, stack: Stack, profile: str, emit: Emit, command: str = ""
) -> ConformanceReport:
    """Start ``stack`` on ``target``, judge every contract once, stop everything, return the report."""
    clock = time.monotonic()
    started = datetime.now(UTC)
    phases: list[Phase] = []

    def record(event: Event) -> None:
        if isinstance(event, PhaseEnded):
            phases.append(
                Phase(name=event.name, started=time.monotonic() - clock - event.seconds, seconds=event.seconds)
            )
        emit(event)

    emit(RunStarted(stack=stack.name, target=target.name, contracts=tuple(c.id for c in contracts)))
    with target.start(stack, record) as session:
        # Leaving the pool waits for its threads, so it stands inside the session: no check outlives what it observes.
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="trivet-check") as pool:
            try:
                results = tuple(pool.map(lambda c: judge(c, session, stack, emit), contracts))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        features, handover = session.features(), session.describe()
    report = ConformanceReport(
        target=target.name,
        profile=profile,
        stack=StackSummary(name=stack.name, title=stack.title, digest=stack.digest, components=dict(stack.components)),
        contracts=results,
        features=features,
        handover=handover,
        phases=tuple(phases),
        provenance=Provenance(
            trivet=version("trivet"),
            python=platform.python_version(),
            platform=f"{sys.platform}-{platform.machine()}",
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 3),
            command=command,
        ),
    )
    emit(RunEnded(report=report))
    return report


def judge(contract: Contract, session: Session, stack: Stack, emit: Emit) -> ContractResult:
    """Run one contract's check and fold its findings into a result. Never raises an Exception."""
    emit(ContractStarted(id=contract.id))
    started = time.monotonic()
    findings = tuple(replace(finding, contract=contract.id) for finding in _observe(contract, session, stack))
    result = fold(contract, findings, time.monotonic() - started)
    emit(ContractEnded(result=result))
    return result


def fold(contract: Contract, findings: Sequence[Finding], seconds: float = 0.0) -> ContractResult:
    """The findings of one contract as its one line in the report. No finding at all is INCONCLUSIVE."""
    outcome = combine(finding.outcome for finding in findings)
    worst = [finding for finding in findings if finding.outcome is outcome]
    reason = worst[0].message if worst else "the check observed nothing: an empty result is not a pass"
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


def outside_versions(contract: Contract, stack: Stack) -> str:
    """Why the contract does not apply to the versions of this stack, or an empty string."""
    for component, specifier in contract.versions.items():
        present = stack.components.get(component)
        if present is None:
            return f"the stack names no {component}, and this applies to {component}{specifier}"
        if not SpecifierSet(specifier).contains(Version(present), prereleases=True):
            return f"applies to {component}{specifier}; the stack has {present}"
    return ""


def _observe(contract: Contract, session: Session, stack: Stack) -> Iterable[Finding]:
    if reason := outside_versions(contract, stack):
        yield not_applicable(reason)
        return
    try:
        subjects: Sequence[Any] = session.subjects(contract.subject) if contract.subject else (None,)
        for subject in subjects:
            arguments = {
                name: subject if name == contract.subject else stack if name == "stack" else session.client(name)
                for name in contract.wants
            }
            yield from contract.check(**arguments)
    except NotOffered as error:
        yield not_applicable(error.message)
    except CannotTell as error:
        yield inconclusive(error.message)
    except TrivetError as error:
        yield _broken(f"could not observe: {error.message}")
    except Exception as error:
        # A bug in a check is not a failure of the platform: it gets an outcome of its own.
        yield _broken(f"the check itself broke: {type(error).__name__}: {error}")


def _broken(message: str) -> Finding:
    return Finding(
        outcome=Outcome.ERROR, message=message, evidence=(evidence("traceback", "text", traceback.format_exc()),)
    )
