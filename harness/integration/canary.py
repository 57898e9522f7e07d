"""Judges a canary: promote it, roll it back, or collect more evidence.

A check compares the metrics of the canary in one window with constant limits and with the metrics of the stable revision in the same
window: errors, latency, and the answers to known requests, because a wrong value has HTTP status 200 too. Missing or insufficient
measurements make a check inconclusive: it counts neither for nor against the canary.

This module changes nothing. The caller sends the patch that follows from the decision, of ``promotion_patch()`` or ``plan_rollback()``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trivet.errors import CannotTell, PlatformError, UsageError
from trivet.integration.binomial import at_least, log_choose
from trivet.integration.monitoring import error_rate_query, latency_query, request_rate_query

DURATION, INTERVAL = 900.0, 60.0
"""Length of the observation of a canary, and time from one check to the next, both in seconds."""

Query = Callable[[str], float | None]
"""Evaluates a PromQL query now; None when it has no value."""


class CanaryDecision(StrEnum):
    """What to do with a canary. INCONCLUSIVE: leave its share of the traffic, and observe it longer or send it more traffic."""

    PROMOTE = "PROMOTE"
    ROLL_BACK = "ROLL_BACK"
    INCONCLUSIVE = "INCONCLUSIVE"


class CanaryAspect(StrEnum):
    """What a check compares: the rate of server errors, the latency, and the values returned for known requests."""

    ERRORS = "errors"
    LATENCY = "latency"
    VALUES = "values"


class CheckOutcome(StrEnum):
    """The outcome of one canary check, or of one aspect of it."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, kw_only=True)
class CanaryLimits:
    """Thresholds of a canary.

    Constant limits: ``max_error_rate`` (0 to 1), ``max_latency`` (99th percentile, seconds) and ``min_requests`` in a check.

    Limits relative to the stable revision: the canary may be up to ``max_slowdown`` times as slow, or slower where it answers within
    ``noticeable_latency`` seconds; and it may answer a fraction of up to ``max_quality_loss`` fewer of the known requests as expected.
    ``significance`` is the probability below which a difference is not attributed to chance.

    ``min_passed`` is the fraction of the conclusive checks that must pass, ``min_conclusive`` the fraction of all checks that must be
    conclusive. A canary that exceeds a limit ``abort_factor`` times is rolled back at once.

    Raises UsageError for a value out of range.
    """

    max_error_rate: float = 0.02
    max_latency: float = 0.5
    min_requests: int = 100
    min_passed: float = 0.9
    min_conclusive: float = 0.5
    abort_factor: float = 3.0
    max_slowdown: float = 2.0
    noticeable_latency: float = 0.1
    max_quality_loss: float = 0.02
    significance: float = 0.001

    def __post_init__(self) -> None:
        for name in ("max_error_rate", "min_passed", "min_conclusive", "max_quality_loss", "significance"):
            self._validate(name, "a number from 0 to 1", lowest=0.0, highest=1.0)
        for name in ("abort_factor", "max_slowdown"):
            self._validate(name, "a number of at least 1", lowest=1.0)
        for name in ("max_latency", "noticeable_latency"):
            self._validate(name, "a number of seconds, at least 0", lowest=0.0)
        self._validate("min_requests", "a whole number of at least 1", lowest=1, whole=True)

    def _validate(self, name: str, use: str, *, lowest: float, highest: float = math.inf, whole: bool = False) -> None:
        value = getattr(self, name)
        kind = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind) or not lowest <= value <= highest:
            raise UsageError(f"the limit {name} is {value!r}", remedy=f"use {use}")


LIMITS = CanaryLimits()


@dataclass(frozen=True, kw_only=True)
class RevisionMetrics:
    """The metrics of one revision in a window; None where a value was not measured.

    ``requests`` counts inference requests, ``errors`` those of them that ended with a server error; ``p99`` is the 99th percentile of their
    latency in seconds. ``known_requests`` counts the known requests sent to the revision, ``expected_answers`` those answered as expected.
    """

    requests: int | None = None
    errors: int | None = None
    p99: float | None = None
    known_requests: int | None = None
    expected_answers: int | None = None


@dataclass(frozen=True, kw_only=True)
class CanaryCheck:
    """One check of a canary. ``reasons`` explain its outcome, ``failed`` lists the aspects that fail; ``abort`` means that the canary must
    be rolled back at once."""

    outcome: CheckOutcome
    reasons: tuple[str, ...]
    abort: bool = False
    failed: tuple[CanaryAspect, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CanaryJudgement:
    """The decision on a canary, its reason, and the checks behind it."""

    decision: CanaryDecision
    reason: str
    checks: tuple[CanaryCheck, ...]


def measure_revision(
    query: Query, name: str, namespace: str, *, revision: str, window: int = int(INTERVAL)
) -> RevisionMetrics:
    """The metrics that Prometheus has of a revision of the service ``name`` for the last ``window`` seconds; see
    ``trivet.integration.monitoring``.

    ``window`` must span at least two scrapes. ``known_requests`` and ``expected_answers`` stay None: a caller that sends known requests
    adds them with ``dataclasses.replace``.
    """
    within = f"{window}s"
    rate = query(request_rate_query(name, namespace, revision=revision, window=within))
    if rate is None:
        return RevisionMetrics()
    requests = round(rate * window)
    error_rate = query(error_rate_query(name, namespace, revision=revision, window=within))
    p99 = query(latency_query(name, namespace, revision=revision, window=within))
    return RevisionMetrics(
        requests=requests, errors=None if error_rate is None else round(error_rate * requests), p99=p99
    )


def check_canary(canary: RevisionMetrics, stable: RevisionMetrics, *, limits: CanaryLimits = LIMITS) -> CanaryCheck:
    """Compare the canary's metrics with ``limits`` and with the stable revision's metrics of the same window."""
    results = {
        CanaryAspect.ERRORS: _errors(canary, stable, limits),
        CanaryAspect.LATENCY: _latency(canary, stable, limits),
        CanaryAspect.VALUES: _answers(canary, stable, limits),
    }
    found = {outcome for outcome, _, _ in results.values()}
    worst = next(one for one in (CheckOutcome.FAILED, CheckOutcome.INCONCLUSIVE, CheckOutcome.PASSED) if one in found)
    return CanaryCheck(
        outcome=worst,
        reasons=tuple(dict.fromkeys(reason for outcome, reason, _ in results.values() if outcome is worst)),
        abort=any(abort for _, _, abort in results.values()),
        failed=tuple(aspect for aspect, (outcome, _, _) in results.items() if outcome is CheckOutcome.FAILED),
    )


def judge_canary(checks: Sequence[CanaryCheck], *, limits: CanaryLimits = LIMITS) -> CanaryJudgement:
    """Decide from the checks so far. Without a conclusive check the decision is INCONCLUSIVE."""
    found = [one.outcome for one in checks]
    passed, failed = found.count(CheckOutcome.PASSED), found.count(CheckOutcome.FAILED)
    counts = f"{passed} of {len(checks)} checks passed, {failed} failed, {len(checks) - passed - failed} inconclusive"

    def decide(decision: CanaryDecision, outcome: CheckOutcome) -> CanaryJudgement:
        reasons = next((one.reasons for one in reversed(checks) if one.outcome is outcome), ())
        return CanaryJudgement(
            decision=decision,
            reason=": ".join(part for part in (counts, "; ".join(reasons)) if part),
            checks=tuple(checks),
        )

    if passed < limits.min_passed * (passed + failed) - _ROUNDING or any(one.abort for one in checks):
        return decide(CanaryDecision.ROLL_BACK, CheckOutcome.FAILED)
    if passed + failed < max(1, limits.min_conclusive * len(checks)):
        return decide(CanaryDecision.INCONCLUSIVE, CheckOutcome.INCONCLUSIVE)
    return decide(CanaryDecision.PROMOTE, CheckOutcome.PASSED)


def observe_canary(
    check: Callable[[], CanaryCheck],
    *,
    seconds: float = DURATION,
    interval: float = INTERVAL,
    limits: CanaryLimits = LIMITS,
    wait: Callable[[float], None] = time.sleep,
) -> CanaryJudgement:
    """Call ``check`` every ``interval`` seconds for ``seconds``, or until a check aborts, and judge the canary.

    A check that raises PlatformError or CannotTell, because the platform did not answer, is inconclusive.
    """
    if interval <= 0 or seconds < interval:
        raise UsageError(
            f"{seconds:g} s of observation with a check every {interval:g} s",
            remedy="observe for at least one interval, and use an interval above 0",
        )
    checks: list[CanaryCheck] = []
    for _ in range(int(seconds / interval)):
        wait(interval)
        try:
            checks.append(check())
        except (PlatformError, CannotTell) as error:
            checks.append(CanaryCheck(outcome=CheckOutcome.INCONCLUSIVE, reasons=(error.message,)))
        if checks[-1].abort:
            break
    return judge_canary(checks, limits=limits)


_Result = tuple[CheckOutcome, str, bool]


def _passed(reason: str) -> _Result:
    return CheckOutcome.PASSED, reason, False


def _failed(reason: str, *, abort: bool = False) -> _Result:
    return CheckOutcome.FAILED, reason, abort


def _inconclusive(reason: str) -> _Result:
    return CheckOutcome.INCONCLUSIVE, reason, False


def _errors(canary: RevisionMetrics, stable: RevisionMetrics, limits: CanaryLimits) -> _Result:
    requests, errors = canary.requests, canary.errors
    if not requests or errors is None:
        return _inconclusive(_NO_REQUESTS)
    rate, counts = errors / requests, f"{errors} of {requests} requests to the canary failed"
    stable_requests, stable_errors = stable.requests or 0, stable.errors
    compared, worse = False, False
    if stable_errors is not None and stable_requests >= limits.min_requests:
        compared = True
        counts = f"{counts}, and {stable_errors} of {stable_requests} to the stable revision"
        worse = _fisher(errors, requests, stable_errors, stable_requests) <= limits.significance
        if rate > limits.max_error_rate and stable_errors / stable_requests > limits.max_error_rate and not worse:
            return _inconclusive(f"{counts}: both revisions exceed {limits.max_error_rate:.1%}")
    abort_rate = limits.abort_factor * limits.max_error_rate
    # A few requests can show that the rate is too high; showing that it is low enough takes more.
    if rate > abort_rate and (
        requests >= limits.min_requests or at_least(errors, requests, abort_rate) <= limits.significance
    ):
        return _failed(f"{counts}: more than {abort_rate:.1%}", abort=True)
    if requests < limits.min_requests:
        return _inconclusive(_too_few(requests, limits))
    if rate > limits.max_error_rate:
        return _failed(f"{counts}: more than {limits.max_error_rate:.1%}")
    if worse:
        return _failed(
            f"{counts}: within {limits.max_error_rate:.1%}, but significantly more than the stable revision "
            f"(p <= {limits.significance:g})"
        )
    if not compared:
        return _inconclusive(f"fewer than {limits.min_requests} requests to the stable revision to compare with")
    return _passed(counts)


def _latency(canary: RevisionMetrics, stable: RevisionMetrics, limits: CanaryLimits) -> _Result:
    if canary.p99 is None or not canary.requests:
        return _inconclusive(_NO_REQUESTS)
    if canary.requests < limits.min_requests:
        return _inconclusive(_too_few(canary.requests, limits))
    latency = f"the canary's p99 latency is {canary.p99:.2f} s"
    if stable.p99 is None:
        if canary.p99 > limits.max_latency:
            return _failed(f"{latency}, more than {limits.max_latency:g} s")
        return _inconclusive("no latency of the stable revision to compare with")
    latency = f"{latency}, the stable revision's {stable.p99:.2f} s"
    if canary.p99 > max(limits.noticeable_latency, limits.max_slowdown * stable.p99):
        return _failed(f"{latency}: more than {limits.max_slowdown:g} times as long")
    if canary.p99 > limits.max_latency:
        if stable.p99 > limits.max_latency:
            return _inconclusive(f"{latency}: both revisions exceed {limits.max_latency:g} s")
        return _failed(f"{latency}: more than {limits.max_latency:g} s")
    return _passed(latency)


def _answers(canary: RevisionMetrics, stable: RevisionMetrics, limits: CanaryLimits) -> _Result:
    if not canary.known_requests or canary.expected_answers is None:
        return _inconclusive(
            "no known request was answered by the canary, and errors and latency do not show wrong values"
        )
    if not stable.known_requests or stable.expected_answers is None:
        return _inconclusive("no known request was answered by the stable revision to compare with")
    counts = (
        f"the canary answered {canary.expected_answers} of {canary.known_requests} known requests as expected, "
        f"the stable revision {stable.expected_answers} of {stable.known_requests}"
    )
    loss = stable.expected_answers / stable.known_requests - canary.expected_answers / canary.known_requests
    if loss <= limits.max_quality_loss + _ROUNDING:
        return _passed(counts)
    chance = _fisher(
        canary.known_requests - canary.expected_answers,
        canary.known_requests,
        stable.known_requests - stable.expected_answers,
        stable.known_requests,
    )
    abort = loss > limits.abort_factor * limits.max_quality_loss and chance <= limits.significance
    return _failed(counts, abort=abort)


def _too_few(requests: int, limits: CanaryLimits) -> str:
    return f"only {requests} requests to the canary, and a check needs at least {limits.min_requests}"


def _fisher(bad: int, n: int, other_bad: int, other_n: int) -> float:
    """The probability of at least ``bad`` failures in ``n`` requests, given all failures, if both revisions are equally good (Fisher's
    exact test, one-sided)."""
    every, total = bad + other_bad, n + other_n
    whole = log_choose(total, n)
    return min(
        1.0,
        math.fsum(
            math.exp(log_choose(every, k) + log_choose(total - every, n - k) - whole)
            for k in range(max(bad, n - (total - every)), min(every, n) + 1)
        ),
    )


_NO_REQUESTS = "no request to the canary was counted"
_ROUNDING = 1e-9
