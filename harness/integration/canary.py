"""Judges a canary: whether it may have all traffic, must be taken back, or has not shown enough for either.

A check holds what the canary did in a window against constant thresholds and against what the stable revision did in the same window:
errors, latency, and answers to known requests, since a wrong value comes with HTTP 200 too. What was not measured, or too seldom, leaves a
check undecided: it counts neither for the canary nor against it.

It changes nothing. Who judges sends the change that follows: ``promote()`` or ``rollback()``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trivet.errors import CannotTell, PlatformError, UsageError
from trivet.integration.binomial import at_least, log_choose
from trivet.integration.monitoring import error_rate, latency, request_rate

OBSERVED, INTERVAL = 900.0, 60.0
"""Seconds that a canary is observed, and from one check to the next."""

Ask = Callable[[str], float | None]
"""The value of a PromQL query now; None when there is none."""


class Decision(StrEnum):
    """What is to become of a canary. UNDECIDED: let it have its share, and observe longer or send it more traffic."""

    PROMOTE = "PROMOTE"
    ROLL_BACK = "ROLL_BACK"
    UNDECIDED = "UNDECIDED"


class Aspect(StrEnum):
    """What a check looks at: whether requests end with a server's error, how long they take, and what is answered to known ones."""

    ERRORS = "errors"
    LATENCY = "latency"
    VALUES = "values"


class Standing(StrEnum):
    """How a canary stands in one check, or in one aspect of it."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a canary is held to.

    ``error_rate``, ``latency`` (seconds, the 99th percentile) and ``requests`` (the fewest in a check) are constants. Against the stable
    revision: a canary is not to be ``slower`` than so many times it, unless it answers within ``noticed`` seconds; and not to answer more
    than ``quality`` fewer of the known requests as expected. ``passing`` is the part of the decided checks that must pass, ``decided`` the
    part of all checks that must be decided. Beyond ``at_once`` times a limit it is taken back without waiting. ``doubt`` is the probability
    with which chance alone may have made a difference that is held against it.

    Raises UsageError for a number that is none of its kind.
    """

    error_rate: float = 0.02
    latency: float = 0.5
    requests: int = 100
    passing: float = 0.9
    decided: float = 0.5
    at_once: float = 3.0
    slower: float = 2.0
    noticed: float = 0.1
    quality: float = 0.02
    doubt: float = 0.001

    def __post_init__(self) -> None:
        for name in ("error_rate", "passing", "decided", "quality", "doubt"):
            self._check(name, "a number from 0 to 1", lowest=0.0, highest=1.0)
        for name in ("at_once", "slower"):
            self._check(name, "a number from 1 on", lowest=1.0)
        for name in ("latency", "noticed"):
            self._check(name, "a number of seconds from 0 on", lowest=0.0)
        self._check("requests", "a whole number from 1 on", lowest=1, whole=True)

    def _check(self, name: str, use: str, *, lowest: float, highest: float = math.inf, whole: bool = False) -> None:
        value = getattr(self, name)
        kind = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind) or not lowest <= value <= highest:
            raise UsageError(f"the limit {name} is {value!r}", remedy=f"use {use}")


LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What one revision did in a window: inference requests, how many of them ended with a server's error, the 99th percentile of their
    latency in seconds; and of how many known requests that it was asked it answered how many as expected. None is what was not measured."""

    requests: int | None = None
    errors: int | None = None
    p99: float | None = None
    known: int | None = None
    right: int | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """One look at a canary. ``reasons`` are those for its standing, ``failed`` the aspects in which it fails; ``at_once`` says that it must
    be taken back without waiting."""

    standing: Standing
    reasons: tuple[str, ...]
    at_once: bool = False
    failed: tuple[Aspect, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What is to become of a canary, why, and the checks that this rests on."""

    decision: Decision
    reason: str
    checks: tuple[Check, ...]


def measured(ask: Ask, name: str, namespace: str, *, revision: str, window: int = int(INTERVAL)) -> Arm:
    """What Prometheus knows of a revision of the service ``name`` in the last ``window`` seconds; see ``trivet.integration.monitoring``.

    Give ``window`` two scrapes at least. ``known`` and ``right`` stay unknown: who asks known requests adds them with
    ``dataclasses.replace``.
    """
    within = f"{window}s"
    rate = ask(request_rate(name, namespace, revision=revision, window=within))
    if rate is None:
        return Arm()
    requests = round(rate * window)
    part = ask(error_rate(name, namespace, revision=revision, window=within))
    p99 = ask(latency(name, namespace, revision=revision, window=within))
    return Arm(requests=requests, errors=None if part is None else round(part * requests), p99=p99)


def check(canary: Arm, stable: Arm, *, limits: Limits = LIMITS) -> Check:
    """Hold what the canary did against ``limits`` and against what the stable revision did in the same window."""
    looked = {
        Aspect.ERRORS: _errors(canary, stable, limits),
        Aspect.LATENCY: _latency(canary, stable, limits),
        Aspect.VALUES: _answers(canary, stable, limits),
    }
    found = {standing for standing, _, _ in looked.values()}
    whole = next(one for one in (Standing.FAILED, Standing.UNDECIDED, Standing.PASSED) if one in found)
    return Check(
        standing=whole,
        reasons=tuple(dict.fromkeys(reason for standing, reason, _ in looked.values() if standing is whole)),
        at_once=any(at_once for _, _, at_once in looked.values()),
        failed=tuple(aspect for aspect, (standing, _, _) in looked.items() if standing is Standing.FAILED),
    )


def judge(checks: Sequence[Check], *, limits: Limits = LIMITS) -> Judgement:
    """Decide by the checks so far. No check, and none that is decided, is UNDECIDED."""
    found = [one.standing for one in checks]
    passed, failed = found.count(Standing.PASSED), found.count(Standing.FAILED)
    told = f"{passed} of {len(checks)} checks passed, {failed} failed, {len(checks) - passed - failed} undecided"

    def decide(decision: Decision, standing: Standing) -> Judgement:
        reasons = next((one.reasons for one in reversed(checks) if one.standing is standing), ())
        return Judgement(
            decision=decision,
            reason=": ".join(part for part in (told, "; ".join(reasons)) if part),
            checks=tuple(checks),
        )

    if passed < limits.passing * (passed + failed) - _ROUNDING or any(one.at_once for one in checks):
        return decide(Decision.ROLL_BACK, Standing.FAILED)
    if passed + failed < max(1, limits.decided * len(checks)):
        return decide(Decision.UNDECIDED, Standing.UNDECIDED)
    return decide(Decision.PROMOTE, Standing.PASSED)


def observe(
    look: Callable[[], Check],
    *,
    seconds: float = OBSERVED,
    interval: float = INTERVAL,
    limits: Limits = LIMITS,
    wait: Callable[[float], None] = time.sleep,
) -> Judgement:
    """Look every ``interval`` for ``seconds``, or until a check says that the canary must be taken back at once.

    A look for which the platform did not answer is an undecided check.
    """
    if interval <= 0 or seconds < interval:
        raise UsageError(
            f"{seconds:g} s of observation with a check every {interval:g} s", remedy="give time for one check at least"
        )
    checks: list[Check] = []
    for _ in range(int(seconds / interval)):
        wait(interval)
        try:
            checks.append(look())
        except (PlatformError, CannotTell) as error:
            checks.append(Check(standing=Standing.UNDECIDED, reasons=(error.message,)))
        if checks[-1].at_once:
            break
    return judge(checks, limits=limits)


_Looked = tuple[Standing, str, bool]


def _passed(reason: str) -> _Looked:
    return Standing.PASSED, reason, False


def _failed(reason: str, *, at_once: bool = False) -> _Looked:
    return Standing.FAILED, reason, at_once


def _undecided(reason: str) -> _Looked:
    return Standing.UNDECIDED, reason, False


def _errors(canary: Arm, stable: Arm, limits: Limits) -> _Looked:
    requests, errors = canary.requests, canary.errors
    if not requests or errors is None:
        return _undecided(_SILENT)
    rate, said = errors / requests, f"{errors} of {requests} requests of the canary failed"
    others, other_errors = stable.requests or 0, stable.errors
    compared, worse = False, False
    if other_errors is not None and others >= limits.requests:
        compared = True
        said = f"{said}, and {other_errors} of {others} of the stable revision"
        worse = _fell_to_the_first(errors, requests, other_errors, others) <= limits.doubt
        if rate > limits.error_rate and other_errors / others > limits.error_rate and not worse:
            return _undecided(f"{said}: that is not the canary's own doing")
    harm = limits.at_once * limits.error_rate
    # So many errors are plain from a few requests on; that there are few enough takes more.
    if rate > harm and (requests >= limits.requests or at_least(errors, requests, harm) <= limits.doubt):
        return _failed(f"{said}: more than {harm:.1%}", at_once=True)
    if requests < limits.requests:
        return _undecided(_few(requests, limits))
    if rate > limits.error_rate:
        return _failed(f"{said}: more than {limits.error_rate:.1%}")
    if worse:
        return _failed(f"{said}: no more than {limits.error_rate:.1%}, and yet more than by chance")
    if not compared:
        return _undecided("too few requests of the stable revision were counted to compare with")
    return _passed(said)


def _latency(canary: Arm, stable: Arm, limits: Limits) -> _Looked:
    if canary.p99 is None or not canary.requests:
        return _undecided(_SILENT)
    if canary.requests < limits.requests:
        return _undecided(_few(canary.requests, limits))
    said = f"99 % of the canary's answers took up to {canary.p99:.2f} s"
    if stable.p99 is None:
        if canary.p99 > limits.latency:
            return _failed(f"{said}, more than {limits.latency:g} s")
        return _undecided("no latency of the stable revision was measured to compare with")
    beside = f", the stable revision's up to {stable.p99:.2f} s"
    if canary.p99 > max(limits.noticed, limits.slower * stable.p99):
        return _failed(f"{said}{beside}: more than {limits.slower:g} times as long")
    if canary.p99 > limits.latency:
        if stable.p99 > limits.latency:
            return _undecided(f"{said}{beside}: that is not the canary's own doing")
        return _failed(f"{said}{beside}, more than {limits.latency:g} s")
    return _passed(f"{said}{beside}")


def _answers(canary: Arm, stable: Arm, limits: Limits) -> _Looked:
    if not canary.known or canary.right is None:
        return _undecided("no known request was asked of the canary, and errors and latency say nothing of values")
    if not stable.known or stable.right is None:
        return _undecided("no known request was asked of the stable revision to compare with")
    said = (
        f"{canary.right} of {canary.known} known requests were answered as expected by the canary, "
        f"{stable.right} of {stable.known} by the stable revision"
    )
    loss = stable.right / stable.known - canary.right / canary.known
    if loss <= limits.quality + _ROUNDING:
        return _passed(said)
    chance = _fell_to_the_first(canary.known - canary.right, canary.known, stable.known - stable.right, stable.known)
    return _failed(said, at_once=loss > limits.at_once * limits.quality and chance <= limits.doubt)


def _few(requests: int, limits: Limits) -> str:
    return (
        f"only {requests} requests of the canary were counted, and {limits.requests} are the fewest that show anything"
    )


def _fell_to_the_first(bad: int, n: int, other_bad: int, other_n: int) -> float:
    """The probability that so many of the bad ones, or more, fall to the first of two arms that are equally good (Fisher's exact test)."""
    every, total = bad + other_bad, n + other_n
    whole = log_choose(total, n)
    return min(
        1.0,
        math.fsum(
            math.exp(log_choose(every, k) + log_choose(total - every, n - k) - whole)
            for k in range(max(bad, n - (total - every)), min(every, n) + 1)
        ),
    )


_SILENT = "no request of the canary was counted"
_ROUNDING = 1e-9
