"""Runs the judgement of a canary from its first window to the promotion or rollback, across kills.

The end of each window is a time by Prometheus' clock that the judge's record fixes beforehand, and a window is the same whenever it is
read: a judge that was killed goes on after the last window that it saved, and the decision is the same as without the kill. What is
decided is saved before it is acted upon. The action names the revision that was judged, so that it may be repeated, and no other revision
is promoted.

It neither measures (``metrics``) nor judges (:mod:`trivet.integration.canary`) nor changes the service (``actions``).
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from trivet.errors import CannotTell, PlatformError, TrivetError, UsageError
from trivet.integration.canary import (
    STATE_VERSION,
    CanaryDecision,
    CanaryJudge,
    CanaryLimits,
    ExpectedDecision,
    expected_decision_time,
    windows_of_values,
)
from trivet.integration.canary_counts import ArmCounts, CanaryWindow
from trivet.integration.deployment import PREDICTOR_DIGEST, PreconditionFailed, made_of
from trivet.integration.inference_service import STANDARD_MODES
from trivet.integration.known_requests import KnownAnswer
from trivet.integration.kubernetes_api import (
    INFERENCE_SERVICES,
    KNATIVE_REVISIONS,
    LEASES,
    KubernetesApi,
    KubernetesError,
)
from trivet.integration.request_metrics import SETTLED
from trivet.integration.rollout import deployment_mode, predictor_status, traffic_shares
from trivet.model.operation import Decision, OperationReport
from trivet.operations.lease import (
    TIMES,
    JudgeLease,
    LeaseHeld,
    LeaseLost,
    LeaseTimes,
    lease_name,
    read_permitted,
    record_of,
    with_rbac,
)

COMMAND = "trivet canary judge"
RECORD_VERSION = 2
INTERVAL = 60.0
"""Seconds of one window."""

SHORT_INTERVAL = 15.0
"""Seconds of windows that decide sooner with much traffic, where Prometheus scrapes as often."""

PATIENCE = 600.0
"""Seconds for which Prometheus or the API server may be away, or a new revision may take to start, before the judge gives up. Its record
stays."""

CLOCK_TOLERANCE = 5.0
"""Seconds by which replicas of Prometheus may differ."""

PAUSE = 15.0
"""Seconds until what could not be read is read again."""

Json = Mapping[str, Any]
T = TypeVar("T")


class CanaryGone(PlatformError):
    """What was judged is no longer there, or another revision is the newest: nothing is decided, and the evidence counts for nothing."""

    def __init__(self, message: str) -> None:
        super().__init__(
            f"{message}: nothing is decided, and nothing was changed",
            remedy="start the judge again: it judges what is there then",
        )


class CanaryMetrics(Protocol):
    """Where the judge gets its windows. Each method raises PlatformError or CannotTell when it cannot read now what it is asked for."""

    def now(self) -> float:
        """The time by the clock that windows are given in, in Unix seconds."""

    def source(self, *, canary: str, stable: str) -> str:
        """The name of the source that counts the requests of both revisions."""

    def window(self, source: str, *, canary: str, stable: str, start: float, end: float) -> CanaryWindow:
        """What both revisions answered from ``start`` to ``end``; the same whenever it is asked after ``end``."""


class KnownRequests(Protocol):
    """Requests whose answers are known, and who sends them."""

    @property
    def rows(self) -> Sequence[int]:
        """The number of rows of each request."""

    def verify(self, revision: str) -> float:
        """The seconds of the slowest answer of the stable revision. Raises PlatformError when it does not answer them: nothing would be
        known of either."""

    def ask(self, revision: str, index: int) -> KnownAnswer:
        """How the revision answers one of them now; ``index`` counts on beyond the last one."""


@dataclass(frozen=True, kw_only=True)
class CanaryActions:
    """What follows from a decision: each gets the revision that was judged, and leaves everything as it is when the newest is another."""

    promote: Callable[[str], object]
    roll_back: Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """``interval`` is the length of a window; for the others see INTERVAL, PATIENCE and SETTLED of
    :mod:`trivet.integration.request_metrics`, all in seconds. With ``decide_only`` the
    service is left as it is; with ``restart`` an earlier judgement of the same revisions is forgotten."""

    interval: float = INTERVAL
    settle: float = SETTLED
    patience: float = PATIENCE
    lease: LeaseTimes = TIMES
    decide_only: bool = False
    restart: bool = False

    def __post_init__(self) -> None:
        for name in ("interval", "patience"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)!r}", remedy="use a number of seconds above 0")


def holder_identity() -> str:
    """An identity that no other process has, and that shows which pod or machine it is."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


def run_canary(
    service: str,
    namespace: str,
    *,
    cluster: KubernetesApi,
    metrics: CanaryMetrics,
    actions: CanaryActions,
    limits: CanaryLimits,
    known: KnownRequests | None = None,
    settings: RunSettings = RunSettings(),
    holder: str = "",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[str], None] = lambda text: None,
) -> OperationReport:
    """Judge the canary of an InferenceService until it is decided, and act accordingly. Without ``known`` requests, values are not judged.

    Raises UsageError when there is no such service or its mode has no revisions; LeaseHeld when another judge is at work; LeaseLost;
    KubernetesError, without waiting when permission is missing; PlatformError when Prometheus, the API server, or the stable revision for
    known requests, stayed away for ``settings.patience``; and CanaryGone. Nothing is decided then, and the service is left as it
    is.
    """
    retry = _Retry(settings.patience, settings.interval, service, clock, sleep, progress)
    observed = retry.until_answered(lambda: _reconciled(cluster, namespace, service))
    name = lease_name(service)
    record = retry.until_answered(lambda: record_of(read_permitted(cluster, LEASES, namespace, name)))
    if not _decided(record, observed, decide_only=settings.decide_only) and revisions_of(observed) is None:
        return OperationReport(
            command=COMMAND,
            namespace=namespace,
            service=service,
            decision=Decision.NO_CANARY,
            reason=f"{service} has no canary: {_newest(observed)} is the newest revision, and it is rolled out",
        )
    lease = JudgeLease(
        cluster,
        namespace,
        name,
        holder=holder or holder_identity(),
        owner=observed,
        times=settings.lease,
        clock=clock,
        sleep=sleep,
    )
    retry.until_answered(lambda: lease.acquire(wait=2 * settings.lease.duration))
    run = _Run(service, namespace, cluster, metrics, actions, limits, known, settings, lease, retry, progress)
    with lease.renewing():
        return run.result()


class EvidenceMissing(PlatformError):
    """Prometheus answers, but not with what the judge needs."""


@dataclass
class _Retry:
    """Tries again what cannot tell now."""

    seconds: float
    interval: float
    service: str
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    progress: Callable[[str], None]

    def until_answered(self, attempt: Callable[[], T]) -> T:
        """What ``attempt`` returns, tried again while Prometheus or the API server is away, for ``seconds``. Raises PlatformError."""
        since = self.clock()
        while True:
            try:
                return attempt()
            except (CannotTell, PlatformError) as error:
                if not _may_pass(error):
                    raise
                if self.clock() - since >= self.seconds:
                    raise PlatformError(
                        f"nothing is decided about {self.service}; for {self.seconds:g} s: {error.message}",
                        remedy=error.remedy or "start the judge again: it goes on where it was",
                    ) from error
                self.progress(f"trying again: {error.message}")
                self.sleep(min(self.interval, PAUSE))


@dataclass
class _Run:
    service: str
    namespace: str
    cluster: KubernetesApi
    metrics: CanaryMetrics
    actions: CanaryActions
    limits: CanaryLimits
    known: KnownRequests | None
    settings: RunSettings
    lease: JudgeLease
    retry: _Retry
    progress: Callable[[str], None]

    def result(self) -> OperationReport:
        """Decide, unless the record says that it is decided, then act, unless it says that this is done."""
        record, settings = self.lease.record, self.settings
        observed = self.retry.until_answered(self._observed)
        if settings.restart or not _decided(record, observed, decide_only=settings.decide_only):
            record = self._begun(record)
            while record["decision"] == CanaryDecision.CONTINUE:
                record = self.retry.until_answered(partial(self._next, record))
        if record["decision"] != CanaryDecision.UNDECIDED and not record["acted"] and not settings.decide_only:
            record = self._act(record)
        return self._result(record)

    def _begun(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record of this canary: an earlier judge's, or a new one."""
        observed, canary, stable = self.retry.until_answered(self._canary)
        key = {"uid": observed["metadata"]["uid"], "canary": canary, "stable": stable}
        if record and record.get("version") != RECORD_VERSION and not self.settings.restart:
            raise PlatformError(
                f"the judge of {self.service} left a record of version {record.get('version')!r}, and this trivet reads {RECORD_VERSION}",
                remedy="judge with the trivet that began, or begin anew with --restart",
            )
        if not self.settings.restart and {name: record.get(name) for name in key} == key:
            if (version := record["judge"].get("version")) != STATE_VERSION:
                raise PlatformError(
                    f"the judge of {self.service} left evidence of version {version!r}, and this trivet reads {STATE_VERSION}",
                    remedy="judge with the trivet that began, or begin anew with --restart",
                )
            self.progress(f"going on with {canary} after {record['windows']} windows")
            if record["judge"]["values_required"] and not self.known:
                self.progress("known requests were sent before, and without them (--known) it is not promoted")
            if self.known and not record["judge"]["values_required"]:
                self._begin_with(self.known, stable)
                record = {**record, "judge": {**record["judge"], "values_required": True}}
            if CanaryJudge.from_dict(record["judge"]).limits != self.limits:
                self.progress("the limits are those it began with; --restart begins anew with the ones that are given")
            return record
        if self.known:
            self._begin_with(self.known, stable)
        source = self.retry.until_answered(partial(self.metrics.source, canary=canary, stable=stable))
        now = self.retry.until_answered(self.metrics.now)
        record = {
            "version": RECORD_VERSION,
            **key,
            "source": source,
            "start": now,
            "end": now,
            "windows": 0,
            "unread": 0.0,
            "judge": CanaryJudge(self.limits, values_required=self.known is not None).to_dict(),
            "own": [],
            "known": {"index": 0, "failed": False},
            "decision": CanaryDecision.CONTINUE,
            "reason": "no window yet",
            "evidence": {},
            "acted": False,
        }
        self.lease.save(record)
        self.progress(f"judging {canary} against {stable}")
        return record

    def _canary(self) -> tuple[Json, str, str]:
        observed = self._observed()
        found = revisions_of(observed)
        if found is None:
            raise CanaryGone(f"{self.service} has no canary any more: {_newest(observed)} is rolled out")
        canary, stable = found
        if not traffic_shares(observed).get(canary):
            raise CannotTell(f"{canary} has no traffic yet")
        return observed, canary, stable

    def _next(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record after the next window; the same record when it is not over yet."""
        self._verify(record)
        now = self.metrics.now()
        start, end = record["end"], record["end"] + self.settings.interval
        if now < start - CLOCK_TOLERANCE:
            raise CannotTell(
                f"Prometheus' clock is {start - now:.0f} s before the end of the last window: its clock was set back, or another "
                "Prometheus answers"
            )
        due = end + self.settings.settle
        if now < due:
            self.retry.sleep(min(due - now, self.settings.interval))
            return record
        arms = {"canary": record["canary"], "stable": record["stable"]}
        try:
            window = self.metrics.window(record["source"], **arms, start=start, end=end)
        except CannotTell as error:
            return self._without(record, now, error)
        window, own, known = without_own(window, record["own"]), record["own"], record["known"]
        # A window that was missed has no known answers: those would be of now, and its counts are of then.
        if self.known and now < due + self.settings.interval:
            window, sent, known = self._with_values(window, self.known, known, **arms)
            own = [*own, *([arm, now, one.status, one.seconds] for arm, one in sent)]
        judge = CanaryJudge.from_dict(record["judge"])
        judgement = judge.add(window)
        record = {
            **record,
            "end": end,
            "own": [one for one in own if one[1] >= end],
            "known": known,
            "windows": record["windows"] + 1,
            "unread": 0.0,
            "judge": judge.to_dict(),
            "decision": judgement.decision,
            "reason": judgement.reason,
            "evidence": {**judgement.evidence, "gaps": list(judgement.gaps)},
        }
        self.lease.save(record)
        self.progress(f"window {record['windows']}: {judgement.decision}: {judgement.reason}")
        if record["windows"] == 1:
            for expected in _expected(window, judge.limits):
                self.progress(expected)
        return record

    @staticmethod
    def _with_values(
        window: CanaryWindow, known: KnownRequests, state: Json, *, canary: str, stable: str
    ) -> tuple[CanaryWindow, list[tuple[str, KnownAnswer]], Json]:
        """The window with what both revisions answer to the next known request, the answers by ``canary`` and ``stable``, and the state
        after it. A request that the canary fails and the stable revision answers is sent again in the next window, and is wrong when it
        fails then too; a window with one that says nothing about values has none."""
        index = state["index"]
        sent = [(arm, known.ask(revision, index)) for arm, revision in (("canary", canary), ("stable", stable))]
        (_, of_canary), (_, of_stable) = sent
        failed = of_stable.tells_values and not of_canary.tells_values
        if failed and not state["failed"]:
            return window, sent, {"index": index, "failed": True}
        if failed:
            of_canary = replace(of_canary, wrong=of_canary.rows)
        if of_stable.tells_values:
            window = replace(
                window,
                canary=replace(window.canary, known_requests=of_canary.rows, unexpected_answers=of_canary.wrong),
                stable=replace(window.stable, known_requests=of_stable.rows, unexpected_answers=of_stable.wrong),
            )
        return window, sent, {"index": index + 1, "failed": False}

    def _begin_with(self, known: KnownRequests, stable: str) -> None:
        """Say what the known requests can show, and wait for the stable revision's answers. Raises UsageError for requests that it answers
        too slowly."""
        self._announce(known)
        slowest = self.retry.until_answered(partial(known.verify, stable))
        if slowest > self.limits.max_latency:
            raise UsageError(
                f"{stable} takes {slowest:.2f} s for a known request, and max_latency is {self.limits.max_latency:g} s",
                remedy="write fewer rows into each request: slow answers are not judged in windows with slow known requests",
            )

    def _announce(self, known: KnownRequests) -> None:
        """Say what the known requests can show. Raises UsageError when they cannot show enough before the deadline."""
        rows, loss = known.rows, self.limits.max_quality_loss
        windows = windows_of_values(sum(rows) // len(rows), self.limits)
        seconds = windows * self.settings.interval
        if seconds > self.limits.deadline:
            raise UsageError(
                f"{sum(rows)} known rows in {len(rows)} requests, one in each window of {self.settings.interval:g} s, show that a canary "
                f"is sound after {seconds / 60:.0f} minutes, and the deadline is after {self.limits.deadline / 60:.0f}",
                remedy="write more rows into each request, or choose shorter windows or a later deadline",
            )
        self.progress(
            f"known requests: {sum(rows)} rows, which a canary that loses {loss:.1%} of all answers passes with a probability of "
            f"{(1 - loss) ** sum(rows):.0%}; a promotion takes at least {windows} windows of them, {seconds / 60:.0f} minutes"
        )

    def _without(self, record: dict[str, Any], now: float, error: CannotTell) -> dict[str, Any]:
        """The record with the next window from now on, when the one that is due has been unreadable for half of the patience: Prometheus
        may have lost its samples of that time. Raises ``error`` before, and PlatformError when later windows cannot be read either.

        Each span that is skipped counts as half of the patience, however long ago it began: the judge may have been away."""
        skipped_after = self.settings.patience / 2
        if now - record["end"] < skipped_after:
            raise error
        unread = record["unread"] + skipped_after
        if unread > 2 * self.settings.patience:
            self.lease.save({**record, "unread": 0.0})
            raise EvidenceMissing(
                f"nothing is decided about {self.service}; for {unread:.0f} s: {error.message}", remedy=error.remedy
            ) from error
        self.progress(f"skipping {now - record['end']:.0f} s: {error.message}")
        record = {**record, "end": now, "unread": unread}
        self.lease.save(record)
        return record

    def _act(self, record: dict[str, Any]) -> dict[str, Any]:
        """Do what is decided and recorded. Raises PreconditionFailed, with the record removed, when the service is another by now."""
        self.lease.check()
        promoting = record["decision"] == CanaryDecision.PROMOTE
        self.progress(f"{'promoting' if promoting else 'rolling back'} {record['canary']}")
        try:
            (self.actions.promote if promoting else self.actions.roll_back)(record["canary"])
        except PreconditionFailed:
            self.lease.save({})
            raise
        except KubernetesError as error:
            raise with_rbac(error) from error
        record = {**record, "acted": True}
        self.lease.save(record)
        return record

    def _verify(self, record: Json) -> None:
        """Raise CanaryGone when what is judged is no longer there."""
        observed = self._observed()
        if observed["metadata"]["uid"] != record["uid"]:
            raise CanaryGone(f"InferenceService {self.service} was deleted and created again while it was judged")
        found = revisions_of(observed)
        if found == (record["canary"], record["stable"]):
            return
        judged = f"{record['canary']} was judged against {record['stable']}"
        if found is None:
            raise CanaryGone(f"{_newest(observed)} has all traffic, by another hand, while {judged}")
        raise CanaryGone(f"{found[0]} became the canary, beside {found[1]}, while {judged}")

    def _observed(self) -> Json:
        found = read_permitted(self.cluster, INFERENCE_SERVICES, self.namespace, self.service)
        if found is None:
            raise CanaryGone(f"InferenceService {self.service} was deleted while it was judged")
        return found

    def _result(self, record: Json) -> OperationReport:
        return OperationReport(
            command=COMMAND,
            namespace=self.namespace,
            service=self.service,
            decision=Decision(record["decision"]),
            reason=record["reason"],
            acted=record["acted"],
            revision=record["canary"],
            stable=record["stable"],
            start=record["start"],
            end=record["end"],
            windows=record["windows"],
            evidence=record["evidence"],
        )


def _reconciled(cluster: KubernetesApi, namespace: str, name: str) -> Json:
    """The service, once its newest revision is that of its newest change, as far as trivet's annotations tell."""
    observed = read_permitted(cluster, INFERENCE_SERVICES, namespace, name)
    if observed is None:
        raise UsageError(
            f"there is no InferenceService {name!r} in namespace {namespace!r}",
            remedy="check both names: kubectl get inferenceservices --all-namespaces",
        )
    mode = deployment_mode(observed)
    if mode in STANDARD_MODES:
        raise UsageError(
            f"{name} has the deployment mode {mode}, which has no revisions to judge against each other",
            remedy="a canary needs a Knative mode (Serverless)",
        )
    newest = _newest(observed)
    if not newest:
        raise CannotTell(f"the status of {name} names no revision yet")
    if PREDICTOR_DIGEST in (observed["metadata"].get("annotations") or {}):
        revision = read_permitted(cluster, KNATIVE_REVISIONS, namespace, newest)
        if revision is None or not made_of(revision, observed):
            raise CannotTell(f"{newest} is the newest revision of {name}, made of an earlier predictor")
    return observed


def _expected(window: CanaryWindow, limits: CanaryLimits) -> Iterator[str]:
    """How long decisions take when all windows are like this one; nothing without requests to both."""
    canary, stable = window.canary, window.stable
    if not canary.requests or not stable.requests:
        return
    requests, seconds = canary.requests + stable.requests, window.end - window.start
    rate = (stable.errors or 0) / stable.requests
    expect = partial(
        expected_decision_time,
        requests_per_minute=requests * 60 / seconds,
        canary_share=canary.requests / requests,
        error_rate=rate,
        limits=limits,
    )
    worse_rate = min(1.0, rate + 2 * limits.max_error_increase)
    sound, worse = expect(interval=seconds), expect(interval=seconds, canary_error_rate=worse_rate)
    yield f"at this traffic, for a canary that is as good as the stable revision: {sound}"
    if _late(sound, limits):
        yield (
            f"that is after the deadline of {limits.deadline / 60:.0f} minutes: send the canary a larger share, or begin anew with other "
            "limits: a later deadline, a larger max_error_increase, or a smaller burst_size when requests fail independently"
        )
    yield f"for a canary with {worse_rate:.1%} errors: {worse}"
    if _late(worse, limits):
        yield (
            f"that is after {limits.deadline / 60:.0f} minutes too, so that such a canary stays undecided: send it a larger share, "
            "or begin anew with a later deadline, or shorter burst_seconds"
        )
    sooner = expect(interval=SHORT_INTERVAL, canary_error_rate=worse_rate)
    if seconds > SHORT_INTERVAL and sooner.decision is worse.decision and sooner.minutes < 0.67 * worse.minutes:
        yield f"with windows of {SHORT_INTERVAL:g} s (--interval): {sooner}"


def without_own(window: CanaryWindow, own: Sequence[Sequence[Any]]) -> CanaryWindow:
    """The window without the known requests that were sent and answered in it: of each the revision (``canary`` or ``stable``), time,
    status and seconds. Both get as many, whatever their shares are, so that what fails in them would count more for the one with less
    traffic. Whether a request without an answer (status 0) was counted is not known; it stays. By which bounds the server found them slow
    is not known either: bounds that one exceeded are left out."""
    within = [one for one in own if window.start <= one[1] < window.end]

    def without(arm: ArmCounts, name: str) -> ArmCounts:
        statuses = [status for sent_to, _, status, _ in within if sent_to == name and status]
        requests = max(arm.requests - len(statuses), 0)
        failed = sum(status >= 500 for status in statuses)
        return replace(
            arm,
            requests=requests,
            errors=None if arm.errors is None else min(max(arm.errors - failed, 0), requests),
            slower={
                bound: min(slower, requests)
                for bound, slower in arm.slower.items()
                if all(seconds <= bound for *_, seconds in within)
            },
        )

    return replace(window, canary=without(window.canary, "canary"), stable=without(window.stable, "stable"))


def _late(expected: ExpectedDecision, limits: CanaryLimits) -> bool:
    return expected.decision is CanaryDecision.UNDECIDED or expected.minutes * 60 > limits.deadline


def _decided(record: Json, observed: Json, *, decide_only: bool) -> bool:
    """Whether ``record`` decides about the canary that is there, or unless ``decide_only`` was there until an action began that is not
    known to be complete."""
    if record.get("decision", CanaryDecision.CONTINUE) == CanaryDecision.CONTINUE:
        return False
    if record["uid"] != observed["metadata"]["uid"]:
        return False
    if record["acted"] or decide_only or record["decision"] == CanaryDecision.UNDECIDED:
        return revisions_of(observed) == (record["canary"], record["stable"])
    if record["decision"] == CanaryDecision.PROMOTE:
        return bool(_newest(observed) == record["canary"])
    return bool(_rolled_out(observed) != record["canary"])


def revisions_of(observed: Json) -> tuple[str, str] | None:
    """Canary and stable revision of a service with revisions; None when the newest one is rolled out."""
    canary, stable = _newest(observed), _rolled_out(observed)
    return (canary, stable) if canary and stable and canary != stable else None


def _newest(observed: Json) -> str:
    return str(predictor_status(observed).get("latestCreatedRevision") or "")


def _rolled_out(observed: Json) -> str:
    return str(predictor_status(observed).get("latestRolledoutRevision") or "")


def _may_pass(error: TrivetError) -> bool:
    """Whether trying again may help."""
    if isinstance(error, CanaryGone | EvidenceMissing | LeaseHeld | LeaseLost | PreconditionFailed):
        return False
    if isinstance(error, KubernetesError):
        return error.status in (0, 429) or error.status >= 500
    return error.transient
