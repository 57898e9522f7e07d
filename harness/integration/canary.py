"""Judges a canary by what it and the stable revision answered, window by window: promote it, roll it back, or go on.

It compares the two revisions of each window with each other, in errors, in answers slower than some bounds, and in the answers to known
requests, because a wrong value has HTTP status 200 too; and it accumulates the evidence (:mod:`trivet.integration.sequential`), so that a
small difference shows after enough requests and chance does not. What both revisions suffer in the same window does not count.

How often it is wrong, whatever the traffic and however often it is asked, with the limits' ``significance`` (1 %):

* A canary that is not worse than tolerated is rolled back with a probability of at most ``significance``; rolling back at once adds what
  :class:`~trivet.integration.sequential.Excess` states: little while its rate is well within its service level. Tolerated are 0.1 points
  more errors, and half a point and a half more slow answers (ERRORS_TOLERATED, SLOW_TOLERATED, SLOW_RATIO).
* A canary that has more errors or slow answers than the stable revision by the increases of the limits, or more wrong answers, is promoted
  with a probability of at most ``significance``.

Both hold at stated sizes, of what one cause does, such as a client, a pod or a network:

* **Promotions**: when one cause makes at most ``burst_size`` requests fail, ten by default, in at most ``burst_windows`` windows, one by
  default, whatever the mixture of single failures and bursts is, or as many as the largest burst that was seen. Larger bursts that have
  not come yet are found when they make a difference that is larger in proportion. For one window this is exact
  (:class:`~trivet.integration.sequential.NotWorse`), and has a price in requests: without any error about
  ``4.6 * burst_size / max_error_increase`` to the canary, 4,600 by default, and with ``burst_size=1`` a tenth. When all bursts
  lie in two windows, 2 to 9 % of the canaries that are worse by just the increase are promoted; ``burst_windows=2`` makes that 0.1 to
  1.6 %, and takes 1.3 to 1.6 times the requests.
* **Rollbacks**: when one cause affects one revision alone for at most ``burst_seconds``, or for one window if that is longer: what one such
  span shows is bounded by the odds that chance chose the canary. This is measured, and has a price in time: about 4 spans at a share of
  20 %, and 8 at 50 %. No test can do with fewer: within one span such a cause and a bad canary look the same.

``benchmarks/canary_judges.py`` measures both under disturbances, and :func:`expected_decision_time` says beforehand what a decision takes.
What only the canary's pods suffer for longer, such as a bad node, counts as the canary's.

This module reads no metrics and changes nothing. The caller sends the patch that follows from the decision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from trivet.errors import UsageError
from trivet.integration.canary_counts import CanaryWindow
from trivet.integration.canary_rates import ROUNDING, BadRequests, Count, Rule, readable
from trivet.integration.sequential import BURSTS, log_mean_exp

INTERVAL = 60.0
"""The usual length of a window, in seconds."""

STATE_VERSION = 4
"""The version of the state that a judge is stored as."""

SLOW_SHARE = 0.01
"""The share of the answers that may be slower than ``max_latency``, the 99th percentile."""
SLOW_RATIO = 1.5
"""So many times as many slow answers are tolerated: the same model on another node, or with cold caches, is that much slower."""
ERRORS_TOLERATED, SLOW_TOLERATED, WRONG_TOLERATED = 0.1, 0.5, 0.5
"""The parts of ``max_error_increase``, ``max_slow_increase`` and ``max_quality_loss`` for which a canary is not rolled back."""
EXCESS_FACTOR = 10.0
"""How much more evidence it takes to roll back at once."""


class CanaryDecision(StrEnum):
    """What to do with a canary. CONTINUE: there is no decision yet. UNDECIDED: the deadline is over without one; leave the traffic as it
    is, and send it more traffic or ask a person."""

    PROMOTE = "PROMOTE"
    ROLL_BACK = "ROLL_BACK"
    UNDECIDED = "UNDECIDED"
    CONTINUE = "CONTINUE"


class CanaryAspect(StrEnum):
    """What is compared: server errors, slow answers, and the values returned for known requests."""

    ERRORS = "errors"
    LATENCY = "latency"
    VALUES = "values"


WEIGHTS: Mapping[CanaryAspect, float] = {
    CanaryAspect.ERRORS: 0.6,
    CanaryAspect.LATENCY: 0.3,
    CanaryAspect.VALUES: 0.1,
}
"""The part of the evidence against a canary that each aspect has, so that all of them together err as seldom as stated."""


@dataclass(frozen=True, kw_only=True)
class CanaryLimits:
    """Thresholds of a canary.

    Service levels: ``max_error_rate`` (0 to 1) and ``max_latency`` (99th percentile, seconds). A canary that exceeds one more than
    ``abort_factor`` times is rolled back at once, unless the stable revision does so too, and one that exceeds it is not promoted.

    Relative to the stable revision, and promoted only when shown: ``max_error_increase`` and ``max_slow_increase``, by which the share of
    errors and of answers slower than ``max_latency`` may be higher; ``max_quality_loss``, by which the share of known requests answered as
    expected may be lower. Answers within ``noticeable_latency`` seconds are never slow.

    ``burst_size`` is the number of requests that may fail, or be late, by one cause; a promotion holds for bursts of up to that size, each
    of which lies in up to ``burst_windows`` windows in a row, or spans of ``burst_seconds`` if those are longer. ``burst_seconds`` is the
    time for which one cause may affect one revision alone; a rollback that is not at once holds for that. Choose twice as long as such
    causes last, because one may lie in two spans.

    ``significance`` is the probability of a wrong decision, of either kind. A canary is promoted after ``min_seconds`` at the earliest;
    errors in its first ``warm_up`` seconds count only for rolling it back at once, and slow answers in them not at all; after ``deadline``
    seconds it is undecided. Seconds are those since the first window with requests to the canary, the deadline's since the first window.

    Raises UsageError for a value out of range.
    """

    max_error_rate: float = 0.02
    max_latency: float = 0.5
    abort_factor: float = 3.0
    max_error_increase: float = 0.01
    max_slow_increase: float = 0.01
    max_quality_loss: float = 0.02
    noticeable_latency: float = 0.1
    burst_size: float = 10.0
    burst_windows: int = 1
    burst_seconds: float = 0.0
    significance: float = 0.01
    min_seconds: float = 900.0
    warm_up: float = 120.0
    deadline: float = 7200.0

    def __post_init__(self) -> None:
        self._validate("max_error_rate", "a number from 0 to 1", lambda value: 0 <= value <= 1)
        for name in ("max_error_increase", "max_slow_increase", "max_quality_loss", "significance"):
            self._validate(name, "a number above 0 and below 1", lambda value: 0 < value < 1)
        self._validate("abort_factor", "a number of at least 1", lambda value: 1 <= value < math.inf)
        largest = BURSTS[-1]
        self._validate("burst_size", f"a number from 1 to {largest:g}", lambda value: 1 <= value <= largest)
        self._validate("burst_windows", "a whole number from 1 to 100", lambda value: value in range(1, 101))
        for name in ("max_latency", "noticeable_latency", "burst_seconds", "min_seconds", "warm_up"):
            self._validate(name, "a number of seconds, at least 0", lambda value: 0 <= value < math.inf)
        self._validate(
            "deadline", "a number of seconds above min_seconds", lambda value: self.min_seconds < value < math.inf
        )
        self._validate("burst_seconds", "a number of seconds below deadline", lambda value: value < self.deadline)

    def _validate(self, name: str, use: str, fits: Callable[[float], bool]) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not fits(value):
            raise UsageError(f"the limit {name} is {value!r}", remedy=f"use {use}")


LIMITS = CanaryLimits()


@dataclass(frozen=True, kw_only=True)
class CanaryJudgement:
    """The decision after a window, and its reason. ``failed`` lists the aspects for which a canary is rolled back.

    ``gaps`` says what was not measured. ``evidence`` is JSON: the ``windows`` and ``seconds`` judged; ``worse``, the evidence that the
    canary is worse (rolled back at 1 / significance); and for each aspect the counts of both revisions, its evidence that the canary is
    ``worse``, that it is ``not_worse`` by more than the limits (promoted at 1 / significance), and the size of the ``burst`` that this
    holds for: the limits' ``burst_size``, or that of a larger one that was seen.
    """

    decision: CanaryDecision
    reason: str
    failed: tuple[CanaryAspect, ...] = ()
    gaps: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ExpectedDecision:
    """What a judge is expected to decide, after how many minutes and requests to the canary. UNDECIDED: not within LONGEST windows."""

    decision: CanaryDecision
    minutes: float
    canary_requests: int

    def __str__(self) -> str:
        return (
            f"{self.decision} after about {self.minutes:.0f} minutes and {self.canary_requests} requests to the canary"
        )


LONGEST = 1000
"""Windows after which no decision is expected any more."""


class CanaryJudge:
    """Judges one canary. Its state is JSON (:meth:`to_dict`), with which a judge that was killed goes on where it was.

    ``judgement`` is the one after the last window. With ``values_required`` a canary is promoted only once known requests show its values.
    """

    def __init__(self, limits: CanaryLimits = LIMITS, *, values_required: bool = False) -> None:
        self.limits = limits
        self.values_required = values_required
        self.judgement = CanaryJudgement(decision=CanaryDecision.CONTINUE, reason="no window was judged")
        self._windows = 0
        self._requests = 0.0
        self._begin = self._since = self._end = math.nan
        """The start of the first window, and of the first one with requests to the canary, and the end of the last one."""
        self._errors, self._values = BadRequests(_error_rule(limits)), BadRequests(_value_rule(limits))
        self._slow: dict[float, BadRequests] = {}

    def add(self, window: CanaryWindow) -> CanaryJudgement:
        """Judge a window, which starts at the end of the last one, or later when some could not be read.

        Latency is judged by bounds of the first window that has some for both revisions: those from ``noticeable_latency`` to twice
        ``max_latency``, of which the largest that is not above ``max_latency`` stands for it.

        Raises UsageError for a window that overlaps the last one, and after a decision.
        """
        if self.judgement.decision is not CanaryDecision.CONTINUE:
            raise UsageError(
                f"the canary is decided: {self.judgement.decision}",
                remedy="judge another canary with a new CanaryJudge",
            )
        if window.start < self._end - ROUNDING:
            raise UsageError(
                f"a window starts {self._end - window.start:.3f} s before the end of the last one",
                remedy="start each window at the end of the last one, because requests would count twice",
            )
        canary, stable = window.canary, window.stable
        return self._add(
            window.start,
            window.end,
            canary.requests,
            errors=Count(canary.errors, canary.requests, stable.errors, stable.requests)
            if canary.errors is not None and stable.errors is not None
            else Count(),
            slower={
                bound: Count(canary.slower[bound], canary.requests, stable.slower[bound], stable.requests)
                for bound in sorted(canary.slower.keys() & stable.slower.keys())
            },
            values=Count(
                canary.unexpected_answers, canary.known_requests, stable.unexpected_answers, stable.known_requests
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        return {
            "version": STATE_VERSION,
            "limits": asdict(self.limits),
            "values_required": self.values_required,
            "judgement": asdict(self.judgement),
            "windows": self._windows,
            "requests": self._requests,
            "times": [None if math.isnan(time) else time for time in (self._begin, self._since, self._end)],
            "errors": self._errors.to_dict(),
            "slow": [[bound, slow.to_dict()] for bound, slow in self._slow.items()],
            "values": self._values.to_dict(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> CanaryJudge:
        """The judge whose state it is. Raises UsageError for a state of another version, and for anything else."""
        version = state.get("version")
        if version != STATE_VERSION:
            raise UsageError(
                f"the state of the judge has version {version!r}, and this trivet reads version {STATE_VERSION}",
                remedy="judge the canary anew, or go on with the trivet that began",
            )
        try:
            made = cls(CanaryLimits(**state["limits"]), values_required=bool(state["values_required"]))
            made.judgement = _read_judgement(state["judgement"])
            made._windows, made._requests = int(state["windows"]), float(state["requests"])
            made._begin, made._since, made._end = (math.nan if time is None else float(time) for time in state["times"])
            made._errors = BadRequests.from_dict(_error_rule(made.limits), state["errors"])
            made._values = BadRequests.from_dict(_value_rule(made.limits), state["values"])
            slow = {float(bound): one for bound, one in state["slow"]}
            rules = _slow_rules(slow, made.limits)
            made._slow = {bound: BadRequests.from_dict(rules[bound], one) for bound, one in slow.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"this is not the state of a judge: {type(error).__name__}: {error}",
                remedy="pass what to_dict() returned, unchanged",
            ) from error
        return made

    def _add(
        self, start: float, end: float, requests: float, *, errors: Count, slower: Mapping[float, Count], values: Count
    ) -> CanaryJudgement:
        if not self._windows:
            self._begin = start
        if requests and math.isnan(self._since):
            self._since = start
        self._windows += 1
        self._requests += requests
        self._end = end
        if slower and not self._slow:
            self._slow = {bound: BadRequests(rule) for bound, rule in _slow_rules(slower, self.limits).items()}
        factor = self.limits.abort_factor
        self._errors.watch(errors, factor=factor)
        self._values.watch(values, factor=factor)
        self._values.compare(values, start=start, end=end)
        if start >= self._since + self.limits.warm_up - ROUNDING:
            self._errors.compare(errors, start=start, end=end)
            for bound, slow in self._slow.items():
                count = slower.get(bound, Count())
                slow.compare(count, start=start, end=end)
                slow.watch(count, factor=factor)
        self.judgement = self._judge()
        return self.judgement

    @property
    def _seconds(self) -> float:
        """Seconds since the canary got requests; 0 before."""
        return 0.0 if math.isnan(self._since) else self._end - self._since

    @property
    def _limit(self) -> float:
        """The bound that stands for ``max_latency``; NaN when there is none."""
        return max((bound for bound in self._slow if bound <= self.limits.max_latency), default=math.nan)

    def _judge(self) -> CanaryJudgement:
        needed = -math.log(self.limits.significance)
        slow = {bound: bad.log_worse for bound, bad in self._slow.items()}
        logs = {
            CanaryAspect.ERRORS: self._errors.log_worse,
            CanaryAspect.LATENCY: log_mean_exp(list(slow.values()) or [0.0]),
            CanaryAspect.VALUES: self._values.log_worse,
        }
        worse = log_mean_exp(list(logs.values()), [WEIGHTS[aspect] for aspect in logs])
        judged = self._judged
        gaps = self._gaps(judged)

        def decide(decision: CanaryDecision, reasons: Iterable[str], *failed: CanaryAspect) -> CanaryJudgement:
            return CanaryJudgement(
                decision=decision,
                reason="; ".join(reasons),
                failed=failed,
                gaps=gaps,
                evidence={
                    "windows": self._windows,
                    "seconds": round(self._end - self._begin, 3),
                    "worse": readable(worse),
                    **{aspect.value: bad.shown() for aspect, bad in judged.items()},
                },
            )

        at_once = [aspect for aspect, bad in judged.items() if bad.log_excess >= needed + math.log(EXCESS_FACTOR)]
        if at_once:
            reasons = [self._excessive(aspect, judged[aspect]) for aspect in at_once]
            return decide(CanaryDecision.ROLL_BACK, reasons, *at_once)
        if worse >= needed:
            parts = {aspect: math.log(WEIGHTS[aspect]) + log for aspect, log in logs.items()}
            failed = [aspect for aspect, part in parts.items() if part >= max(parts.values()) - math.log(10.0)]
            slowest = max(slow, key=slow.__getitem__, default=math.nan)
            tested = {**judged, CanaryAspect.LATENCY: self._slow.get(slowest, self._errors)}
            reasons = [self._significant(aspect, tested[aspect], slowest) for aspect in failed]
            return decide(CanaryDecision.ROLL_BACK, reasons, *failed)
        missing = self._missing(needed, worse, judged, gaps)
        if not missing:
            counted = [_counted(aspect, bad.count, self._limit) for aspect, bad in judged.items()]
            return decide(CanaryDecision.PROMOTE, [*counted, *gaps])
        over = self._end - self._begin >= self.limits.deadline - ROUNDING
        return decide(CanaryDecision.UNDECIDED if over else CanaryDecision.CONTINUE, missing)

    @property
    def _judged(self) -> dict[CanaryAspect, BadRequests]:
        """The aspects that are measured, in their order; latency by the bound that stands for ``max_latency``."""
        found = {
            CanaryAspect.ERRORS: self._errors,
            CanaryAspect.LATENCY: self._slow.get(self._limit),
            CanaryAspect.VALUES: self._values,
        }
        return {aspect: bad for aspect, bad in found.items() if bad and bad.measured}

    @staticmethod
    def _gaps(judged: Mapping[CanaryAspect, BadRequests]) -> tuple[str, ...]:
        absent = [aspect for aspect in CanaryAspect if aspect not in judged]
        return tuple(
            _NO_KNOWN_REQUESTS
            if aspect is CanaryAspect.VALUES
            else f"{'errors' if aspect is CanaryAspect.ERRORS else 'slow answers'} were not measured of both revisions"
            for aspect in absent
        )

    def _excessive(self, aspect: CanaryAspect, bad: BadRequests) -> str:
        counts = _counted(aspect, bad.excess, self._limit)
        return f"{counts}: more than {self.limits.abort_factor * bad.rule.limit:.1%}"

    def _significant(self, aspect: CanaryAspect, bad: BadRequests, bound: float) -> str:
        counts, count, limit = _counted(aspect, bad.count, bound), bad.count, bad.rule.limit
        if aspect is CanaryAspect.ERRORS and count.bad <= limit * count.requests:
            return (
                f"{counts}: within {limit:.1%}, but significantly more than the stable revision "
                f"(p <= {self.limits.significance:g})"
            )
        return f"{counts}: significantly more than the stable revision (p <= {self.limits.significance:g})"

    def _missing(
        self, needed: float, worse: float, judged: Mapping[CanaryAspect, BadRequests], gaps: Iterable[str]
    ) -> list[str]:
        """What a promotion still needs; empty when the canary is to be promoted."""
        if not self._requests:
            return [_NO_REQUESTS]
        if self._seconds <= self.limits.warm_up + ROUNDING:
            return [
                f"the first {self.limits.warm_up:g} s count only for rolling back at once, and slow answers in them not at all"
            ]
        missing = [gap for gap in gaps if self.values_required or gap != _NO_KNOWN_REQUESTS]
        for aspect, bad in judged.items():
            counts, recent, limit = _counted(aspect, bad.count, self._limit), bad.recent, bad.rule.limit
            if aspect is not CanaryAspect.VALUES and recent.bad > limit * recent.requests:
                lately = f"of late {_counted(aspect, recent, self._limit)}"
                if recent.stable_bad > limit * recent.stable_requests:
                    missing.append(f"{lately}: both revisions exceed {limit:.1%}")
                else:
                    missing.append(f"{lately}: more than {limit:.1%}")
            elif bad.waiting:
                missing.append(f"{counts}: no span of {bad.rule.burst_seconds:g} s (burst_seconds) is over")
            elif bad.log_not_worse < needed:
                missing.append(
                    f"{counts}: too few to show a difference below {bad.rule.increase * 100:g} points{_burst(bad)}"
                )
        if not missing and worse > 0.0:
            missing.append(f"evidence of {readable(worse):g} that the canary is worse, and a promotion needs at most 1")
        if not missing and self._seconds < self.limits.min_seconds - ROUNDING:
            missing.append(
                f"nothing against it in {self._seconds:.0f} s, and it is observed for {self.limits.min_seconds:g} s"
            )
        return missing


def expected_decision_time(
    *,
    requests_per_minute: float,
    canary_share: float,
    error_rate: float = 0.005,
    canary_error_rate: float | None = None,
    slow_rate: float = 0.001,
    interval: float = INTERVAL,
    limits: CanaryLimits = LIMITS,
) -> ExpectedDecision:
    """What is decided about a canary with ``canary_error_rate``, and after how many minutes and requests, beside a stable revision with
    ``error_rate``; None: as many errors. ``requests_per_minute`` go to the service, ``canary_share`` (0 to 1) of them to the canary;
    ``slow_rate`` of the answers of both are slower than ``max_latency``; a window has ``interval`` seconds.

    It judges windows with exactly these rates, whatever the deadline is. Real counts are whole and vary, so that most promotions take
    longer, up to 1.6 times, and half of the rollbacks. Raises UsageError for a value out of range.
    """
    canary_error_rate = error_rate if canary_error_rate is None else canary_error_rate
    for name, value, use, fits in (
        ("requests_per_minute", requests_per_minute, "a number above 0", 0 < requests_per_minute < math.inf),
        ("canary_share", canary_share, "a number above 0 and below 1", 0 < canary_share < 1),
        ("error_rate", error_rate, "a number from 0 to 1", 0 <= error_rate <= 1),
        ("canary_error_rate", canary_error_rate, "a number from 0 to 1", 0 <= canary_error_rate <= 1),
        ("slow_rate", slow_rate, "a number from 0 to 1", 0 <= slow_rate <= 1),
        ("interval", interval, "a number of seconds above 0", 0 < interval < math.inf),
    ):
        if not fits:
            raise UsageError(f"{name} is {value!r}", remedy=f"use {use}")
    judge = CanaryJudge(replace(limits, deadline=interval * LONGEST + limits.min_seconds + limits.burst_seconds))
    to_canary = requests_per_minute * canary_share * interval / 60
    to_stable = requests_per_minute * interval / 60 - to_canary
    for window in range(1, LONGEST + 1):
        judgement = judge._add(
            (window - 1) * interval,
            window * interval,
            to_canary,
            errors=Count(canary_error_rate * to_canary, to_canary, error_rate * to_stable, to_stable),
            slower={limits.max_latency: Count(slow_rate * to_canary, to_canary, slow_rate * to_stable, to_stable)},
            values=Count(),
        )
        if judgement.decision is not CanaryDecision.CONTINUE:
            break
    return ExpectedDecision(
        decision=judgement.decision if judgement.decision is not CanaryDecision.CONTINUE else CanaryDecision.UNDECIDED,
        minutes=window * interval / 60,
        canary_requests=round(window * to_canary),
    )


def windows_of_values(rows: int, limits: CanaryLimits = LIMITS) -> int:
    """The number of windows, each with so many ``rows`` of known requests, after which values that are all correct are shown to be; LONGEST
    if it takes longer."""
    values, needed = BadRequests(_value_rule(limits)), -math.log(limits.significance)
    for window in range(1, LONGEST):
        values.compare(Count(0, rows, 0, rows), start=window - 1, end=window)
        if values.log_not_worse >= needed:
            return window
    return LONGEST


def _slow_rules(measured: Iterable[float], limits: CanaryLimits) -> dict[float, Rule]:
    """The bounds that latency is judged by, and how: the one that stands for ``max_latency`` decides about promotions too."""
    most, increase = limits.max_latency, limits.max_slow_increase
    limit = max((bound for bound in measured if bound <= most), default=math.nan)
    return {
        bound: Rule(
            limit=SLOW_SHARE,
            tolerated=increase * SLOW_TOLERATED,
            increase=increase,
            ratio=SLOW_RATIO,
            burst_size=limits.burst_size,
            burst_windows=int(limits.burst_windows),
            burst_seconds=limits.burst_seconds,
            promoting=bound == limit,
        )
        for bound in measured
        if bound == limit or limits.noticeable_latency <= bound <= 2 * most
    }


def _error_rule(limits: CanaryLimits) -> Rule:
    increase = limits.max_error_increase
    return Rule(
        limit=limits.max_error_rate,
        tolerated=increase * ERRORS_TOLERATED,
        increase=increase,
        burst_size=limits.burst_size,
        burst_windows=int(limits.burst_windows),
        burst_seconds=limits.burst_seconds,
    )


def _value_rule(limits: CanaryLimits) -> Rule:
    """Known requests are the judge's own, so that no client sends several of them for one cause."""
    loss = limits.max_quality_loss
    return Rule(limit=loss, tolerated=loss * WRONG_TOLERATED, increase=loss)


def _burst(bad: BadRequests) -> str:
    if bad.burst <= 1:
        return ""
    seen = ", as was seen" if bad.burst > bad.rule.burst_size else ""
    return f" in bursts of up to {bad.burst:.0f}{seen}"


def _counted(aspect: CanaryAspect, count: Count, bound: float) -> str:
    bad, n, stable_bad, m = (round(one) for one in (count.bad, count.requests, count.stable_bad, count.stable_requests))
    if aspect is CanaryAspect.ERRORS:
        counts = f"{bad} of {n} requests to the canary failed"
        return f"{counts}, and {stable_bad} of {m} to the stable revision"
    if aspect is CanaryAspect.LATENCY:
        return f"{bad} of {n} answers of the canary took more than {bound:g} s, and {stable_bad} of {m} of the stable revision"
    return (
        f"the canary answered {n - bad} of {n} known requests as expected, the stable revision {m - stable_bad} of {m}"
    )


def _read_judgement(state: Mapping[str, Any]) -> CanaryJudgement:
    return CanaryJudgement(
        decision=CanaryDecision(state["decision"]),
        reason=str(state["reason"]),
        failed=tuple(CanaryAspect(aspect) for aspect in state["failed"]),
        gaps=tuple(str(gap) for gap in state["gaps"]),
        evidence=dict(state["evidence"]),
    )


_NO_REQUESTS = "no request to the canary was counted"
_NO_KNOWN_REQUESTS = "no known request was answered by the canary, and errors and latency do not show wrong values"
