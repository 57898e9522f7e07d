"""Playing scenarios: steady state → fault → symptom → revert → recovery, in this order, whatever fails.

A fault is reverted on every way out of the block that injected it; what a killed run leaves is in its journal. Nothing is retried: a
condition is polled until its deadline.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from trivet.engine.outcomes import finding_of
from trivet.engine.scenarios import guards
from trivet.engine.scenarios.alerts import IncidentAlerts
from trivet.engine.scenarios.templates import PLAYER, templates, used
from trivet.errors import CannotTell, DeclarationError, NotOffered, PlatformError, TrivetError
from trivet.host.signals import interruptible, uninterruptible
from trivet.model.clients import FaultClient, Lease, RevertibleInjector
from trivet.model.declaration import Declaration, place_of
from trivet.model.events import (
    Emit,
    PhaseEnded,
    PhaseStarted,
    ScenarioEnded,
    ScenariosEnded,
    ScenariosStarted,
    VariantEnded,
    VariantStarted,
)
from trivet.model.feature import lacking
from trivet.model.finding import Evidence, evidence
from trivet.model.probe import NotYet, Probed, last_seen
from trivet.model.redaction import redact
from trivet.model.report import Phase, Provenance, StackSummary
from trivet.model.scenario import (
    IN_CLUSTER,
    Case,
    Observation,
    Scenario,
    ScenarioReport,
    ScenarioResult,
    Variant,
    VariantResult,
    Verdict,
)
from trivet.model.stack import Stack
from trivet.model.target import Session, Target
from trivet.toolkit.waiting import eventually
from trivet.toolkit.watch import ALERT, FAULT, INJECTED, RECOVERED, REVERT, Watch, watching

LEAD = 3.0
"""Seconds of traffic before the fault and after recovery, for comparison on the plot."""
EVIDENCE = 12_000
"""Characters kept of each text that explains a verdict."""
LEASE_LOST = (
    "play it again when no other run plays scenarios on this cluster; a lease is lost when it is not renewed in time, "
    "as when this machine sleeps or the API server does not respond"
)
"""The remedy for a lost lease."""


def run(
    chosen: Sequence[tuple[Scenario, Sequence[Variant]]],
    *,
    target: Target,
    stack: Stack,
    emit: Emit,
    allow_faults: bool = False,
    context: str = "",
    required: str = "",
    command: str = "",
    alerts: IncidentAlerts | None = None,
) -> ScenarioReport:
    """Start ``stack`` on ``target``, play every chosen variant, and stop. Raises UsageError when a guard refuses."""
    guards.check_target(target, allow_faults=allow_faults, context=context)
    began, started = time.monotonic(), datetime.now(UTC)
    emit(ScenariosStarted(stack=stack.name, target=target.name, variants=tuple(names(chosen))))
    with target.start(stack, emit) as session:
        results: list[ScenarioResult] = []
        errors: list[str] = []
        try:
            for result in play_all(chosen, session, emit, allow_faults=allow_faults, alerts=alerts):
                results.append(result)
        except TrivetError as error:
            # When everything is played, only the lease is left to release: what was observed holds.
            if len(results) < len(chosen):
                raise
            errors.append(redact(f"{error.message}; remedy: {error.remedy}" if error.remedy else error.message))
        report = reported(
            results,
            session,
            target=target,
            stack=stack,
            began=began,
            started=started,
            required=required,
            command=command,
            errors=errors,
        )
    emit(ScenariosEnded(report=report))
    return report


def reported(
    results: Sequence[ScenarioResult],
    session: Session,
    *,
    target: Target,
    stack: Stack,
    began: float,
    started: datetime,
    required: str = "",
    command: str = "",
    errors: Sequence[str] = (),
) -> ScenarioReport:
    """The report over what was played since ``began`` (``time.monotonic``), which was the moment ``started``."""
    return ScenarioReport(
        target=target.name,
        stack=StackSummary(name=stack.name, title=stack.title, digest=stack.digest, components=dict(stack.components)),
        scenarios=tuple(results),
        required=required,
        errors=tuple(errors),
        features=dict(session.features()),
        cluster=dict(session.describe()),
        provenance=Provenance(
            trivet=version("trivet"),
            python=platform.python_version(),
            platform=f"{sys.platform}-{platform.machine()}",
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - began, 3),
            command=command,
        ),
    )


def names(chosen: Sequence[tuple[Scenario, Sequence[Variant]]]) -> Iterator[str]:
    """``id[variant]`` for everything chosen."""
    for scenario, variants in chosen:
        for variant in variants:
            yield f"{scenario.id}[{variant.name}]"


def play_all(
    chosen: Sequence[tuple[Scenario, Sequence[Variant]]],
    session: Session,
    emit: Emit,
    *,
    allow_faults: bool,
    alerts: IncidentAlerts | None = None,
) -> Iterator[ScenarioResult]:
    """Play on a running session, holding the cluster's lease.

    Raises UsageError when a guard refuses, before anything is changed, and PlatformError when the lease cannot be released, after the last
    result.
    """
    try:
        faults: FaultClient = session.client("faults")
    except NotOffered as error:
        for scenario, variants in chosen:
            yield collected(scenario, [not_played(scenario, variant, error) for variant in variants], 0.0)
        return
    guards.check_cluster([scenario for scenario, _ in chosen], faults, allow_faults=allow_faults)
    with faults.lease() as lease:
        blocked = ""
        for scenario, variants in chosen:
            began = time.monotonic()
            played = []
            # Alerts look back for up to an hour, over which one that the incident left would not be silent.
            for variant in (
                sorted(variants, key=lambda one: one.expected is not Verdict.PROTECTED) if alerts else variants
            ):
                played.append(
                    play(scenario, variant, session, faults, emit, lease=lease, blocked=blocked, alerts=alerts)
                )
                blocked = blocked or not_reverted(scenario, played[-1])
            result = collected(scenario, played, time.monotonic() - began)
            emit(ScenarioEnded(result=result))
            yield result


def not_reverted(scenario: Scenario, result: VariantResult) -> str:
    """Why no further variant can be judged: the fault of this one is not reverted. Empty when it is."""
    return f"the fault of {scenario.id}[{result.name}] is not reverted: {result.cleanup}" if result.cleanup else ""


def play(
    scenario: Scenario,
    variant: Variant,
    session: Session,
    faults: FaultClient,
    emit: Emit,
    *,
    lease: Lease,
    blocked: str = "",
    alerts: IncidentAlerts | None = None,
) -> VariantResult:
    """Play one variant. Never raises an Exception; an interrupt passes through, with the fault reverted.

    A variant during which ``lease`` was lost, or may have been, is an ERROR: another run may have disturbed it. ``blocked`` says which
    earlier fault is not reverted, in which case the variant is INCONCLUSIVE and not played. With ``alerts`` it is also measured how long
    the incident's alert takes, which decides no verdict.
    """
    emit(VariantStarted(id=scenario.id, variant=variant.name))
    watched = alerts if alerts and scenario.id in alerts.by_scenario else None
    playing = _Playing(scenario, variant, session, faults, emit, lease, watched)
    try:
        if blocked:
            raise CannotTell(blocked)
        result = playing.through()
    except Exception as error:
        result = playing.result(*_judged(error))
    lost = "" if blocked or result.verdict is Verdict.ERROR else _lost(lease)
    if lost:
        reason = f"{lost}, and another run may have disturbed this one; observed: {result.reason}; remedy: {LEASE_LOST}"
        result = replace(result, verdict=Verdict.ERROR, reason=reason)
    if playing.left:
        why = "; ".join(reason for reason, _ in playing.left)
        result = replace(
            result,
            verdict=Verdict.ERROR,
            reason=f"the fault could not be reverted: {why}",
            cleanup="; ".join(command for _, command in playing.left),
        )
    result = _redacted(result)
    emit(VariantEnded(id=scenario.id, result=result))
    return result


def _lost(lease: Lease) -> str:
    """Why ``lease`` was not held during the variant that has ended, or may not have been; empty if it was.

    It is read once more, since it may have been lost after its last renewal.
    """
    if not lease.lost:
        try:
            lease.verify()
        except PlatformError as error:
            return f"cannot verify that this run still holds the cluster's lease: {error.message}"
    return lease.lost


def not_played(scenario: Scenario, variant: Variant, error: NotOffered) -> VariantResult:
    """A variant that the target cannot show, for the reason that ``error`` says."""
    verdict, reason, *proof = _judged(DeclarationError(scenario.unrunnable) if scenario.unrunnable else error)
    return _redacted(
        VariantResult(
            name=variant.name,
            text=variant.text,
            remedy=variant.remedy,
            expected=variant.expected,
            verdict=verdict,
            reason=reason,
            evidence=tuple(proof),
        )
    )


def _judged(error: Exception) -> tuple[Any, ...]:
    """The verdict that an exception stands for, why, and what proves it. A bug in a scenario is not a weakness of the platform."""
    finding = finding_of(error, raised_by="scenario")
    reason = f"{finding.message}; remedy: {finding.remedy}" if finding.remedy else finding.message
    return Verdict(finding.outcome), reason, *finding.evidence


def _redacted(result: VariantResult) -> VariantResult:
    return replace(
        result,
        reason=redact(result.reason),
        steady_state=redact(result.steady_state),
        effect=redact(result.effect),
        symptom=redact(result.symptom),
        recovery=redact(result.recovery),
    )


class _Playing:
    """One variant while it is played; keeps what was observed, so that a result can be made wherever it ends."""

    def __init__(
        self,
        scenario: Scenario,
        variant: Variant,
        session: Session,
        faults: FaultClient,
        emit: Emit,
        lease: Lease,
        alerts: IncidentAlerts | None,
    ) -> None:
        self._scenario = scenario
        self._declared = Declaration(f"scenario {scenario.id}", place_of(scenario.stage))
        self._variant = variant
        self._session = session
        self._faults = faults
        self._emit = emit
        self._lease = lease
        self._alerts = alerts
        self._began, self._clock = time.monotonic(), time.time()
        self._phases: list[Phase] = []
        self._observations: dict[str, str] = {}
        self._measured: dict[str, int | float | str] = {}
        self._evidence: list[Evidence] = []
        self._collected: list[Evidence] = []
        self._changed_objects: Sequence[str] = ()
        self._watch: Watch | None = None
        # Read before playing: a file may be edited meanwhile.
        self._templates = templates(scenario.stage.__module__, PLAYER)
        self.left: Sequence[tuple[str, str]] = ()

    def through(self) -> VariantResult:
        scenario, session = self._scenario, self._session
        if scenario.unrunnable:
            raise DeclarationError(scenario.unrunnable)
        if reason := lacking(scenario.features, session.features() if scenario.features else {}):
            raise NotOffered(reason)
        self._require_lease()
        given: dict[str, Any] = {name: session.client(name) for name in scenario.wants if name != "variant"}
        if "variant" in scenario.wants:
            given["variant"] = self._variant.name
        # Closed here and not by the garbage collector: what it set up must be gone before the next variant begins.
        with ExitStack() as stack:
            with self._phase("set-up"):
                case = stack.enter_context(contextmanager(scenario.stage)(**given))
            self._declared.instance("what it yields", case, Case)
            return self._disturb(case)

    def _disturb(self, case: Case) -> VariantResult:
        budgets = self._scenario.budgets
        with self._phase("steady state"):
            self._observations["steady_state"] = _wait("the steady state", case.steady_state, budgets.steady_state)
        with watching(case, self._session.client("traffic") if case.workload else None) as watch:
            self._watch = watch
            time.sleep(LEAD if case.workload else 0)
            observation = self._under_fault(case, watch)
            with self._phase("recovery"):
                recovered = self._recovers(case, watch, observed=observation.observed)
                if recovered and case.afterwards:
                    observation = self._keep(case.afterwards(watch, observation))
            time.sleep(LEAD if case.workload else 0)
        if observation.observed:
            return self.result(Verdict.VULNERABLE, observation.message)
        if not recovered:
            return self.result(Verdict.VULNERABLE, self._observations["recovery"])
        self._collected.clear()
        return self.result(Verdict.PROTECTED, observation.message)

    def _require_lease(self) -> None:
        if self._lease.lost:
            raise PlatformError(self._lease.lost, remedy=LEASE_LOST)

    def _under_fault(self, case: Case, watch: Watch) -> Observation:
        self._require_lease()
        injector: RevertibleInjector = self._faults.injector(_declared(case, self._scenario))
        plain = False
        service = case.workload.service if case.workload else ""
        unusable = self._alerts.before(self._scenario.id, service) if self._alerts else ""
        try:
            with self._phase("fault"):
                watch.mark(FAULT)
                watch.refusal = case.fault.inject(injector) or ""
            with self._phase("verify injection"):
                self._observations["effect"] = (
                    f"refused before the change was made: {watch.refusal}"
                    if watch.refusal
                    else _wait(
                        f"the fault to be verified: {case.fault.name}",
                        lambda: case.fault.verify_injected(injector),
                        case.fault.budget,
                    )
                )
            watch.mark(INJECTED)
            with self._phase("symptom"):
                watch.deadline = time.monotonic() + self._scenario.budgets.symptom
                observation = self._keep(case.symptom(watch))
            if unusable:
                self._measured["alert"] = unusable
            elif self._alerts:
                with self._phase("alert"):
                    found = self._alerts.measure(self._scenario.id, service, since=watch.since(FAULT))
                if "alert_seconds" in found:
                    watch.mark(ALERT)
                self._measured |= found
            # Requests in flight may turn out lost only afterwards, when the cluster shows nothing of it any more.
            plain = not observation.observed and case.afterwards is None
            return observation
        finally:
            self._revert(injector, watch, plain=plain)

    @uninterruptible
    def _revert(self, injector: RevertibleInjector, watch: Watch, *, plain: bool) -> None:
        """Collect evidence, unless nothing needs explaining (``plain``), and revert the fault in any case."""
        # On an interrupt nobody reads evidence, and the fault must be reverted soon.
        interrupted = isinstance(sys.exc_info()[1], BaseException) and not isinstance(sys.exc_info()[1], Exception)
        try:
            self._changed_objects = injector.changed_objects
            if not plain and not interrupted:
                with self._phase("evidence"):
                    self._collect()
        finally:
            try:
                watch.mark(REVERT)
            finally:
                with self._phase("revert", always=True):
                    self.left = injector.revert()

    def _keep(self, observation: Observation) -> Observation:
        self._declared.instance("what its symptom returns", observation, Observation)
        self._observations["symptom"] = observation.message
        self._measured |= observation.measured
        self._evidence += (one for one in observation.evidence if one not in self._evidence)
        return observation

    def _recovers(self, case: Case, watch: Watch, *, observed: bool) -> bool:
        """Whether the steady state is back. Raises CannotTell when its probe failed, unless an ``observed`` symptom decides already."""
        began = time.monotonic()
        budget = self._scenario.budgets.recovery
        try:
            steady = _wait("the steady state after the revert", case.steady_state, budget)
        except CannotTell as error:
            if isinstance(error.__cause__, TrivetError) and not observed:
                raise
            self._observations["recovery"] = error.message
            if not self._collected:
                self._collect()
            return False
        watch.mark(RECOVERED)
        self._measured["recovery_seconds"] = round(time.monotonic() - began, 1)
        self._observations["recovery"] = steady
        return True

    @interruptible
    def _collect(self) -> None:
        """Collect what explains a symptom under the fault: conditions, events, logs."""
        try:
            documents = self._session.documents(everything=True)
        except (TrivetError, OSError):
            return
        for name, path in documents.items():
            # A file that was not written since this variant began is about an earlier one.
            if name.startswith(IN_CLUSTER) and path.stat().st_mtime >= self._clock:
                text = path.read_text(encoding="utf-8", errors="replace")
                kind = "log" if name.endswith(".log") else "text"
                self._collected.append(evidence(name, kind, text, limit=EVIDENCE))

    def result(self, verdict: Verdict, reason: str, *proof: Evidence) -> VariantResult:
        timeline = self._watch.timeline() if self._watch else None
        marks = [mark.name for mark in timeline.marks] if timeline else []
        return VariantResult(
            name=self._variant.name,
            text=self._variant.text,
            remedy=self._variant.remedy,
            expected=self._variant.expected,
            verdict=verdict,
            reason=reason,
            changed_objects=tuple(self._changed_objects),
            measured=dict(self._measured),
            phases=tuple(self._phases),
            message_templates=used(
                (
                    reason,
                    *self._observations.values(),
                    *(text for text in self._measured.values() if isinstance(text, str)),
                    *marks,
                ),
                self._templates,
            ),
            timeline=timeline,
            evidence=(*self._evidence, *self._collected, *proof),
            **self._observations,
        )

    @contextmanager
    def _phase(self, name: str, *, always: bool = False) -> Iterator[None]:
        """A timed phase with its events. With ``always`` the block runs also when the event of its start cannot be emitted."""
        began = time.monotonic()
        title = f"{self._variant.name}: {name}"
        failure = ""
        unheard: BaseException | None = None
        try:
            self._emit(PhaseStarted(name=title))
        except BaseException as error:
            if not always:
                raise
            unheard = error
        try:
            yield
        except BaseException as error:
            failure = (str(error) or type(error).__name__).splitlines()[0]
            raise
        finally:
            seconds = round(time.monotonic() - began, 3)
            self._phases.append(Phase(name=name, started=round(began - self._began, 3), seconds=seconds))
            self._emit(PhaseEnded(name=title, seconds=seconds, failure=failure))
        if unheard:
            raise unheard


def _declared(case: Case, scenario: Scenario) -> Sequence[Any]:
    """The fault's affected objects. Raises TrivetError for one that the scenario does not declare: `plan` would not have shown it."""
    missing = [str(one) for one in case.fault.affected_objects if one not in scenario.affected_objects]
    if missing:
        raise TrivetError(
            f"the fault {case.fault.name!r} affects objects that the scenario does not declare: {', '.join(missing)}",
            remedy="add them to the scenario's affected_objects",
        )
    return case.fault.affected_objects


def _wait(what: str, probe: Callable[[], Probed], timeout: float) -> str:
    """What ``probe`` returns once its condition is met; ``what`` completes "waiting for …".

    Raises CannotTell after ``timeout`` seconds, from the error of the last probe if it raised one, and DeclarationError for a probe that
    returns something else than :data:`trivet.model.probe.Probed`.
    """

    def met(found: tuple[object]) -> bool:
        (shown,) = found
        if not isinstance(shown, (str, NotYet)):
            raise DeclarationError(
                f"the probe of {what} returned {shown!r}",
                remedy="return what shows it, in words, or NotYet with what is seen instead",
            )
        return bool(shown)

    found = eventually(
        what,
        lambda: (probe(),),
        timeout=timeout,
        until=met,
        describe=lambda found: last_seen(found[0]) if found else "",
        tolerate=TrivetError,
    )
    return str(found[0])


def collected(scenario: Scenario, played: Sequence[VariantResult], seconds: float) -> ScenarioResult:
    """The result of one scenario, of the variants that were played."""
    return ScenarioResult(
        id=scenario.id,
        title=scenario.title,
        happens=scenario.happens,
        recognise=scenario.recognise,
        remedy=scenario.remedy,
        variants=tuple(played),
        claims=scenario.claims,
        seconds=round(seconds, 3),
    )
