"""Simulates judges of canaries: how often each rolls back, promotes, and decides nothing, and after how many minutes.

    python benchmarks/canary_judges.py [--runs N] [--seed N] [--only NAME]

The same seeded counts go to all judges: trivet's with its default limits, trivet's of 0.1.0, that of the reference platform (constants,
read of the whole service, and of each revision), and the rules of Flagger, Argo Rollouts and Kayenta with their default thresholds. A
window is a minute; the rivals decide after 15, trivet's within 120. It prints Markdown. The table ``careful`` has trivet's judge with the
limits of CAREFUL beside that with the default ones.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import fmean, median

from trivet.integration import (
    ArmCounts,
    CanaryDecision,
    CanaryJudge,
    CanaryLimits,
    CanaryWindow,
    expected_decision_time,
)
from trivet.integration.canary_rates import KEPT
from trivet.integration.sequential import NotWorse

BOUNDS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5)
"""Bounds of the histogram, as MLServer's from 50 ms on."""
SPREAD = 0.5
"""Standard deviation of the logarithm of the latency."""
SHORT, LONG = 15, 120
"""Minutes after which the rivals decide, and trivet's judge is undecided."""
LENGTHS = (60, 15, 5)
"""Lengths of windows, in seconds."""
WARM_UP = 2
"""Minutes that are no evidence by trivet's default limits."""
TRAFFIC = ((300, 0.2), (1000, 0.5))
"""Requests per minute and the canary's share, under disturbances."""
CAREFUL = CanaryLimits(burst_size=50, burst_seconds=600, abort_factor=5)
"""For one cause that makes up to 50 requests fail, or stays with one revision for up to 5 minutes, which twice that time allows for."""
MIXED = (1, 3, 10, 30, 100)
"""Sizes of bursts, each of which makes the same part of the errors."""


@dataclass(frozen=True)
class Arm:
    """What one revision answered in a minute; ``slower`` counts answers above each of BOUNDS."""

    requests: int
    errors: int
    slower: Sequence[int] = (0,) * len(BOUNDS)

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.requests if self.requests else None

    @property
    def p99(self) -> float | None:
        """As histogram_quantile computes it."""
        if not self.requests:
            return None
        rank, below, last = 0.99 * self.requests, 0, 0.0
        for bound, slower in zip(BOUNDS, self.slower, strict=True):
            within = self.requests - slower
            if within >= rank:
                return last + (bound - last) * (rank - below) / max(within - below, 1e-9)
            below, last = within, bound
        return last


Minutes = Iterator[tuple[Arm, Arm]]


@dataclass(frozen=True)
class Trouble:
    """What is simulated: rates of errors, p99 in seconds, and errors that come ``burst`` at a time, or in ``sizes``. ``extra`` is a rate of
    errors that only the canary has, and the size of their bursts. The functions give another value in each minute: two rates of errors, the
    canary's share, a factor of the traffic, two p99; ``spoil`` alters what was counted."""

    name: str
    per_minute: int = 1000
    share: float = 0.2
    stable: float = 0.005
    canary: float = 0.005
    stable_p99: float = 0.0
    canary_p99: float = 0.0
    burst: int = 1
    sizes: Sequence[int] = ()
    extra: tuple[float, int] = (0.0, 1)
    rates: Callable[[Play, int], tuple[float, float]] | None = None
    shares: Callable[[Play, int], float] | None = None
    traffic: Callable[[Play, int], float] | None = None
    latency: Callable[[Play, int], tuple[float, float]] | None = None
    spoil: Callable[[Play, Arm, Arm], tuple[Arm, Arm]] | None = None


@dataclass
class Play:
    """One run of a trouble."""

    trouble: Trouble
    source: random.Random
    memory: dict[str, float] = field(default_factory=dict)

    def minutes(self, count: int = LONG) -> Minutes:
        one = self.trouble
        for minute in range(count):
            total = round(one.per_minute * (one.traffic(self, minute) if one.traffic else 1))
            n = self.binomial(total, one.shares(self, minute) if one.shares else one.share)
            canary, stable = one.rates(self, minute) if one.rates else (one.canary, one.stable)
            slow = one.latency(self, minute) if one.latency else (one.canary_p99, one.stable_p99)
            arms = self.arm(n, canary, slow[0], one.extra), self.arm(total - n, stable, slow[1])
            yield one.spoil(self, *arms) if one.spoil else arms

    def arm(self, n: int, rate: float, p99: float, extra: tuple[float, int] = (0.0, 1)) -> Arm:
        sizes = self.trouble.sizes or (self.trouble.burst,)
        errors = sum(size * self.binomial(n, rate / len(sizes) / size) for size in sizes)
        errors = min(n, errors + extra[1] * self.binomial(n, extra[0] / extra[1]))
        left, before, slower = n, 1.0, []
        for bound in BOUNDS:
            share = tail(p99, bound)
            left = self.binomial(left, share / before if before else 0.0)
            before = share
            slower.append(left)
        return Arm(n, errors, slower)

    def binomial(self, n: int, p: float) -> int:
        if n <= 0 or p <= 0:
            return 0
        if p >= 1:
            return n
        first, sums = table(n, round(p, 9))
        return min(n, first + bisect_left(sums, self.source.random() * sums[-1]))


@lru_cache(maxsize=200_000)
def table(n: int, p: float) -> tuple[int, list[float]]:
    """The distribution of a binomial count, within ten standard deviations."""
    reach = 10 * math.sqrt(n * p * (1 - p)) + 10
    first, last = max(0, int(n * p - reach)), min(n, int(n * p + reach) + 1)
    log = math.lgamma(n + 1) - math.lgamma(first + 1) - math.lgamma(n - first + 1)
    mass = math.exp(log + first * math.log(p) + (n - first) * math.log1p(-p))
    sums, total = [], 0.0
    for k in range(first, last + 1):
        total += mass
        sums.append(total)
        mass *= (n - k) / (k + 1) * p / (1 - p)
    return first, sums


@lru_cache(maxsize=10_000)
def tail(p99: float, bound: float) -> float:
    """The share of answers slower than ``bound`` when 1 % are slower than ``p99``, log-normally."""
    return 0.5 * math.erfc((2.3263 + math.log(bound / p99) / SPREAD) / math.sqrt(2)) if p99 else 0.0


Verdict = tuple[str, int]
ROLL_BACK, PROMOTE, UNDECIDED = "roll back", "promote", "undecided"
Judge = Callable[[Minutes], Verdict]


def trivet(minutes: Minutes, *, limits: CanaryLimits | None = None, seconds: float = 60.0) -> Verdict:
    judge = CanaryJudge(limits or CanaryLimits())
    names = {CanaryDecision.ROLL_BACK: ROLL_BACK, CanaryDecision.PROMOTE: PROMOTE, CanaryDecision.UNDECIDED: UNDECIDED}
    number = 0
    for number, arms in enumerate(minutes, 1):
        canary, stable = (
            ArmCounts(requests=arm.requests, errors=arm.errors, slower=dict(zip(BOUNDS, arm.slower, strict=True)))
            for arm in arms
        )
        found = judge.add(
            CanaryWindow(start=seconds * number, end=seconds * (number + 1), canary=canary, stable=stable)
        )
        if found.decision in names:
            return names[found.decision], number
    return UNDECIDED, number


def trivet_0_1(minutes: Minutes) -> Verdict:
    """trivet's judge of 0.1.0 (harness/integration/canary.py), with perfect answers to known requests: each minute by itself."""
    passed = failed = 0
    for number, (canary, stable) in enumerate(minutes, 1):
        outcome, abort = _checked(canary, stable)
        passed, failed = passed + (outcome > 0), failed + (outcome < 0)
        if abort or number == SHORT:
            if abort or passed < 0.9 * (passed + failed):
                return ROLL_BACK, number
            return (PROMOTE if passed + failed >= number / 2 else UNDECIDED), number
    return UNDECIDED, SHORT


def _checked(canary: Arm, stable: Arm) -> tuple[int, bool]:
    """1 passed, -1 failed, 0 inconclusive; and whether it ends the analysis."""
    n, bad, m, stable_bad = canary.requests, canary.errors, stable.requests, stable.errors
    if n == 0:
        return 0, False
    compared, rate = m >= 100, bad / n
    worse = compared and _fisher(bad, n, stable_bad, m) <= 0.001
    if compared and rate > 0.02 and stable_bad / m > 0.02 and not worse:
        return 0, False
    if rate > 0.06 and (n >= 100 or _at_least(bad, n, 0.06) <= 0.001):
        return -1, True
    if n >= 100 and (rate > 0.02 or worse):
        return -1, False
    slow = 0
    if n >= 100 and m:
        one, other = canary.p99 or 0.0, stable.p99 or 0.0
        exceeds = one > 0.5
        slow = -1 if one > max(0.1, 2 * other) or (exceeds and other <= 0.5) else 0 if exceeds else 1
    return (-1 if slow < 0 else 1 if n >= 100 and compared and slow > 0 else 0), False


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _fisher(bad: int, n: int, other_bad: int, m: int) -> float:
    every, whole = bad + other_bad, _choose(n + m, n)
    ks = range(max(bad, n - (n + m - every)), min(every, n) + 1)
    return math.fsum(math.exp(_choose(every, k) + _choose(n + m - every, n - k) - whole) for k in ks)


def _at_least(count: int, n: int, p: float) -> float:
    return math.fsum(math.exp(_choose(n, k) + k * math.log(p) + (n - k) * math.log1p(-p)) for k in range(count, n + 1))


def reference(minutes: Minutes, *, whole: bool) -> Verdict:
    """Error rate 2 %, p99 500 ms, 100 requests in each check; 90 % of the checks; at once above 6 %."""
    passed = 0
    for number, (canary, stable) in enumerate(minutes, 1):
        arm = canary
        if whole:
            slower = [a + b for a, b in zip(canary.slower, stable.slower, strict=True)]
            arm = Arm(canary.requests + stable.requests, canary.errors + stable.errors, slower)
        rate = arm.error_rate or 0.0
        if rate > 0.06:
            return ROLL_BACK, number
        passed += arm.requests >= 100 and rate <= 0.02 and (arm.p99 or 0.0) <= 0.5
        if number == SHORT:
            break
    return (PROMOTE if passed >= 0.9 * SHORT else ROLL_BACK), SHORT


def thresholds(minutes: Minutes, *, success: float, failures: int) -> Verdict:
    """Flagger (success 99 %, 500 ms, 5 failed checks) and Argo Rollouts' analysis (success 95 %, more than failureLimit 3)."""
    failed = 0
    for number, (canary, _) in enumerate(minutes, 1):
        rate = canary.error_rate
        failed += rate is not None and (1 - rate < success or (canary.p99 or 0.0) > 0.5)
        if failed >= failures:
            return ROLL_BACK, number
        if number == SHORT:
            break
    return PROMOTE, SHORT


def kayenta(minutes: Minutes) -> Verdict:
    """Mann-Whitney at 98 % over the 15 points of error rate and p99, with a tolerance of a quarter of the Hodges-Lehmann estimate
    (kayenta MannWhitneyClassifier)."""
    seen = [arms for arms, _ in zip(minutes, range(SHORT), strict=False)]
    for metric in ("error_rate", "p99"):
        canary, stable = ([getattr(arms[i], metric) for arms in seen if arms[i].requests] for i in (0, 1))
        if canary and stable and _higher(canary, stable):
            return ROLL_BACK, SHORT
    return PROMOTE, SHORT


def _higher(canary: list[float], stable: list[float]) -> bool:
    differences = [one - other for one in canary for other in stable]
    shift = median(differences)
    if shift <= 0:
        return False
    tolerated = 0.25 * shift
    above = sum((one > tolerated) + 0.5 * (one == tolerated) for one in differences)
    n, m = len(canary), len(stable)
    ties = Counter([one - tolerated for one in canary] + stable)
    spread = n * m / 12 * (n + m + 1 - sum(t**3 - t for t in ties.values()) / ((n + m) * (n + m - 1)))
    return spread > 0 and (above - n * m / 2 - 0.5) / math.sqrt(spread) > 2.326


JUDGES: dict[str, Judge] = {
    "trivet": trivet,
    "trivet 0.1.0": trivet_0_1,
    "reference, service": lambda minutes: reference(minutes, whole=True),
    "reference, revision": lambda minutes: reference(minutes, whole=False),
    "Flagger": lambda minutes: thresholds(minutes, success=0.99, failures=5),
    "Argo": lambda minutes: thresholds(minutes, success=0.95, failures=4),
    "Kayenta": kayenta,
}


def information(p: float, q: float) -> float:
    """By how much a request whose rate is p speaks against the rate q, on average, as the logarithm of a likelihood ratio."""
    return (p * math.log(p / q) if p else 0.0) + (1 - p) * math.log((1 - p) / (1 - q))


def wald(share: float, stable: float, canary: float, tolerated: float = 0.001, alpha: float = 0.01) -> float:
    """Requests to the canary that a test with power 1 needs on average at least to reject that its rate is at most ``tolerated`` higher:
    log(1/alpha) by the information against the pair of such rates that is hardest to reject."""
    others = (1 - share) / share
    rates = (stable + (canary - stable) * step / 1000 for step in range(1001))
    least = min(
        information(canary, min(rate + tolerated, canary)) + others * information(stable, rate) for rate in rates
    )
    return -math.log(alpha) / least


def fewest(share: float, alpha: float = 0.01) -> float:
    """Windows that a test needs at least when all that fails in one of them may have one cause, which chance gave to the canary."""
    return math.log(alpha) / math.log(share)


def wald_promotion(share: float, rate: float, increase: float = 0.01, alpha: float = 0.01) -> float:
    """Requests to the canary that a test with power 1 needs on average at least to reject that its rate is higher by ``increase``, when
    both arms have ``rate``: log(1/alpha) by the information against the pair of such rates that is hardest to reject."""

    others = (1 - share) / share
    rates = (rate * step / 1000 for step in range(1, 1001))
    return -math.log(alpha) / min(information(rate, one + increase) + others * information(rate, one) for one in rates)


def grid() -> Iterator[Trouble]:
    for per_minute, shares in ((10, (0.2,)), (100, (0.2, 0.5)), (300, (0.05, 0.2, 0.5)), (1000, (0.05, 0.2, 0.5))):
        for share in shares:
            for canary in (0.005, 0.01, 0.02, 0.05):
                name = f"{per_minute}/min, {share:.0%}, {canary:.1%} errors"
                yield Trouble(name, per_minute, share, canary=canary)


def outage(play: Play, minute: int) -> tuple[float, float]:
    rate = 0.1 if 5 <= minute < 15 else play.trouble.stable
    return max(rate, play.trouble.canary), rate


def drift(play: Play, minute: int) -> tuple[float, float]:
    factor = 1 + 0.8 * math.sin(minute / 10)
    return play.trouble.canary * factor, play.trouble.stable * factor


def cold(play: Play, minute: int) -> tuple[float, float]:
    return (0.05 if minute < 2 else play.trouble.canary), play.trouble.stable


def cold_latency(play: Play, minute: int) -> tuple[float, float]:
    return (0.8 if minute < 3 else 0.2), 0.2


def sticky(play: Play, minute: int) -> tuple[float, float]:
    """A client with 2 % of the traffic, half of whose requests fail, changes the revision every 5 minutes."""
    if minute % 5 == 0:
        play.memory["client"] = float(play.source.random() < play.trouble.share)
    share, extra = play.trouble.share, 0.01
    at_canary = play.memory["client"]
    return play.trouble.canary + at_canary * extra / share, play.trouble.stable + (1 - at_canary) * extra / (1 - share)


def pods(play: Play, minute: int) -> tuple[float, float]:
    """Of 2 pods of the canary and 8 of the stable revision each fails one of five requests in 2 % of the minutes."""

    def rate(count: int, base: float) -> float:
        return base + 0.2 * sum(play.source.random() < 0.02 for _ in range(count)) / count

    return rate(2, play.trouble.canary), rate(8, play.trouble.stable)


def unaligned_pods(play: Play, minute: int) -> tuple[float, float]:
    """The same, from any second on: a part of it lies in the next minute."""

    def rate(arm: str, count: int, base: float) -> float:
        begun = [play.source.random() for _ in range(count) if play.source.random() < 0.02]
        left, play.memory[arm] = play.memory.get(arm, 0.0), sum(begun)
        return round(base + 0.2 * (left + len(begun) - sum(begun)) / count, 4)

    return rate("canary", 2, play.trouble.canary), rate("stable", 8, play.trouble.stable)


def growing(play: Play, minute: int) -> tuple[float, float]:
    return round(play.trouble.stable + 0.001 * minute, 4), play.trouble.stable


def crashing(play: Play, minute: int) -> tuple[float, float]:
    """The canary fails altogether for 6 s, 4 minutes apart on average."""
    return play.trouble.canary + (0.1 if play.source.random() < 0.25 else 0.0), play.trouble.stable


def retries(play: Play, canary: Arm, stable: Arm) -> tuple[Arm, Arm]:
    """Each failed request is sent three times more, to either revision, and fails again with the probability of one half."""
    extra = 3 * (canary.errors + stable.errors)
    to_canary = play.binomial(extra, play.trouble.share)
    one, other = (
        replace(arm, requests=arm.requests + more, errors=arm.errors + play.binomial(more, 0.5))
        for arm, more in ((canary, to_canary), (stable, extra - to_canary))
    )
    return one, other


def resets(play: Play, canary: Arm, stable: Arm) -> tuple[Arm, Arm]:
    """In a tenth of the minutes a pod of each revision restarts, and a part of its minute is lost."""
    parts = [play.source.random() if play.source.random() < 0.1 else 1.0 for _ in range(2)]
    return _thinned(play, canary, parts[0]), _thinned(play, stable, parts[1])


def jitter(play: Play, canary: Arm, stable: Arm) -> tuple[Arm, Arm]:
    """Scrapes of the two revisions are up to 15 s apart."""
    return _thinned(play, canary, 1 - play.source.random() / 4), _thinned(play, stable, 1 - play.source.random() / 4)


def _thinned(play: Play, arm: Arm, part: float) -> Arm:
    part, kept = round(part, 2), []
    left, before = 0, 0
    for slower in reversed(arm.slower):
        left += play.binomial(slower - before, part)
        before = slower
        kept.append(left)
    errors = play.binomial(arm.errors, part)
    requests = max(left + play.binomial(arm.requests - before, part), errors)
    return Arm(requests, errors, kept[::-1])


def wandering(play: Play, minute: int) -> float:
    """Pods come and go: the canary's share is another one in each minute."""
    return round(play.source.uniform(0.05, 0.4), 2)


def sound(name: str, **changes: object) -> Iterator[Trouble]:
    """The trouble with equal revisions."""
    for per_minute, share in TRAFFIC:
        yield Trouble(f"{name}; {per_minute}/min, {share:.0%}", per_minute, share, **changes)  # type: ignore[arg-type]


def disturbances() -> Iterator[Trouble]:
    for burst in (5, 20, 50):
        yield from sound(f"errors in bursts of {burst}", burst=burst)
    yield from sound("errors in bursts of 1 to 100", sizes=MIXED)
    yield from sound("10 % errors of both, in bursts of 20", stable=0.1, canary=0.1, burst=20)
    yield from sound("10 % errors of both for 10 minutes", rates=outage)
    yield Trouble("the same; 1000/min, 92%", 1000, 0.92, rates=outage)
    yield from sound("p99 450 ms of both", stable_p99=0.45, canary_p99=0.45)
    yield from sound("p99 200 and 220 ms", stable_p99=0.2, canary_p99=0.22)
    yield from sound("counters are reset", spoil=resets, stable_p99=0.2, canary_p99=0.2)
    yield from sound("pods come and go", shares=wandering)
    yield from sound("clocks differ", spoil=jitter, stable_p99=0.2, canary_p99=0.2)
    yield from sound(
        "errors and traffic drift", rates=drift, traffic=lambda play, minute: 1 + 0.5 * math.cos(minute / 7)
    )
    yield from sound("canary cold for 3 minutes", rates=cold, latency=cold_latency)
    yield from sound("a client that fails half, sticky for 5 minutes", rates=sticky)
    yield from sound("each error is retried 3 times", spoil=retries)
    yield from sound("pods that fail for a minute", rates=pods)
    yield from sound("the same, from any second on", rates=unaligned_pods)


def defects() -> Iterator[Trouble]:
    for changes in (
        {"name": "1 point more errors", "canary": 0.015},
        {"name": "2 % errors", "canary": 0.02},
        {"name": "2 % errors, in bursts of 5", "canary": 0.02, "burst": 5},
        {"name": "2 % errors, in bursts of 20", "canary": 0.02, "burst": 20},
        {"name": "5 % errors, in bursts of 20", "canary": 0.05, "burst": 20},
        {"name": "5 % errors, in bursts of 50", "canary": 0.05, "burst": 50},
        {"name": "20 % errors, in bursts of 50", "canary": 0.2, "burst": 50},
        {"name": "2 % errors, in bursts of 1 to 100", "canary": 0.02, "sizes": MIXED},
        {"name": "1.5 points more in bursts of 10, beside single errors", "extra": (0.015, 10)},
        {"name": "3 points more in bursts of 20, beside single errors", "extra": (0.03, 20)},
        {"name": "1.5 points more in bursts of 20, beside single errors", "extra": (0.015, 20)},
        {"name": "fails for 6 s, every 4 minutes on average", "rates": crashing},
        {"name": "errors grow by a tenth of a point each minute", "rates": growing},
        {"name": "2 % errors, and 10 % of both for 10 minutes", "canary": 0.02, "rates": outage},
        {"name": "2 % errors, drift", "canary": 0.02, "rates": drift},
        {"name": "2 % errors, each is retried 3 times", "canary": 0.02, "spoil": retries},
        {"name": "2 % errors, counters are reset", "canary": 0.02, "spoil": resets},
        {"name": "p99 200 and 400 ms", "stable_p99": 0.2, "canary_p99": 0.4},
        {"name": "p99 450 and 900 ms", "stable_p99": 0.45, "canary_p99": 0.9},
        {"name": "every request fails", "canary": 1.0},
    ):
        name = changes.pop("name")
        for per_minute, share in TRAFFIC:
            yield Trouble(f"{name}; {per_minute}/min, {share:.0%}", per_minute, share, **changes)  # type: ignore[arg-type]


def compared(trouble: Trouble, runs: int, seed: int) -> str:
    """A row of the table."""
    found: dict[str, list[Verdict]] = {name: [] for name in JUDGES}
    for run in range(runs):
        minutes = Recorded(Play(trouble, random.Random(f"{seed} {trouble.name} {run}")).minutes())
        for name, judge in JUDGES.items():
            found[name].append(judge(iter(minutes)))
    cells = [cell(verdicts) for verdicts in found.values()]
    bound = ""
    plain = not (trouble.rates or trouble.spoil or trouble.burst > 1 or trouble.sizes or trouble.extra[0])
    if plain and trouble.stable + 0.01 <= trouble.canary < 1:
        to_canary = trouble.per_minute * trouble.share
        least, windows = wald(trouble.share, trouble.stable, trouble.canary), fewest(trouble.share)
        needed = (fmean(minute for _, minute in found["trivet"]) - WARM_UP) * to_canary
        limited = f" ({windows:.2g} windows: {windows * to_canary:.0f})" if windows * to_canary > least else ""
        bound = f"{least:.0f}{limited}; {needed / max(least, windows * to_canary):.2g}"
    return f"| {trouble.name} | {' | '.join(cells)} | {bound} |"


def cell(verdicts: Sequence[Verdict]) -> str:
    """What was decided, in %, and after how many minutes on average."""
    counts = Counter(decision for decision, _ in verdicts)
    shares = "/".join(f"{100 * counts[one] / len(verdicts):.3g}" for one in (ROLL_BACK, PROMOTE, UNDECIDED))
    return f"{shares} {fmean(minute for _, minute in verdicts):.3g}m"


def requests(runs: int, seed: int) -> Iterator[str]:
    """Rows of requests to the canary until it is rolled back, by Wald's bound, for windows of several lengths, after the warm-up."""
    yield f"| | Wald's bound | {' | '.join(f'windows of {seconds} s' for seconds in LENGTHS)} |"
    yield "|---" * (len(LENGTHS) + 2) + "|"
    for per_minute, share, canary in (
        (100, 0.2, 0.05),
        (300, 0.2, 0.02),
        (300, 0.2, 0.05),
        (1000, 0.05, 0.02),
        (1000, 0.2, 0.02),
        (1000, 0.5, 0.02),
    ):
        bound, multiples = wald(share, 0.005, canary), []
        for seconds in LENGTHS:
            trouble = Trouble("requests", round(per_minute * seconds / 60), share, canary=canary)
            needed = []
            for run in range(runs):
                play = Play(trouble, random.Random(f"{seed} {per_minute} {share} {canary} {seconds} {run}"))
                windows = play.minutes(3600 // seconds)
                _, number = trivet(windows, limits=CanaryLimits(warm_up=0), seconds=seconds)
                needed.append(number * trouble.per_minute * share)
            least = fewest(share) * trouble.per_minute * share
            by_windows = f" ({fmean(needed) / least:.2f} of the windows')" if least > bound else ""
            multiples.append(f"{fmean(needed) / bound:.2f}{by_windows}")
        yield f"| {per_minute}/min, {share:.0%}, {canary:.0%} errors | {bound:.0f} | {' | '.join(multiples)} |"


def promotions(runs: int, seed: int) -> Iterator[str]:
    """Rows of requests to a sound canary until it is promoted, after the warm-up, and of what :func:`expected_decision_time` says
    beforehand. The bound is Wald's for single errors, and for bursts the requests among which one in a hundred canaries that is worse by
    the increase of the limits has none."""
    yield "| | errors of both | bursts of up to | bound | promoted | requests, by the bound | said beforehand |"
    yield "|---" * 7 + "|"
    for per_minute, share in ((100, 0.2), (100, 0.5), (300, 0.2), (1000, 0.05), (1000, 0.2), (1000, 0.5)):
        for rate in (0.0, 0.005):
            for burst in (1, 10):
                limits = CanaryLimits(burst_size=burst, warm_up=0, min_seconds=0, deadline=36_000)
                trouble, found = Trouble("promotions", per_minute, share, stable=rate, canary=rate), []
                for run in range(runs):
                    play = Play(trouble, random.Random(f"{seed} {per_minute} {share} {rate} {burst} {run}"))
                    found.append(trivet(play.minutes(600), limits=limits))
                promoted = [minute for decision, minute in found if decision == PROMOTE]
                least = max(wald_promotion(share, rate) if rate else 0.0, math.log(100) * burst / 0.01)
                needed = fmean(promoted) * per_minute * share
                said = expected_decision_time(
                    requests_per_minute=per_minute, canary_share=share, error_rate=rate, slow_rate=0, limits=limits
                )
                yield (
                    f"| {per_minute}/min, {share:.0%} | {rate:.1%} | {burst} | {least:.0f} | {len(promoted) / runs:.3g} | "
                    f"{needed:.0f}, {needed / least:.2f} | {said.canary_requests} |"
                )


def careful(runs: int, seed: int) -> Iterator[str]:
    """Rows of what lasts longer, or makes more requests fail, than the default limits are for."""
    yield "| | default limits | careful |"
    yield "|---|---|---|"
    names = (
        "a client",
        "pods that fail",
        "the same, from any",
        "fails for 6 s",
        "1.5 points more in bursts of 20",
        "2 % errors;",
    )
    for trouble in (*disturbances(), *defects()):
        if trouble.name.startswith(names):
            cells = []
            for limits in (CanaryLimits(), CAREFUL):
                sources = (random.Random(f"{seed} {trouble.name} {run}") for run in range(runs))
                cells.append(cell([trivet(Play(trouble, source).minutes(), limits=limits) for source in sources]))
            yield f"| {trouble.name} | {' | '.join(cells)} |"


def splits(runs: int, seed: int) -> Iterator[str]:
    """Rows of canaries that are worse by just the increase of the limits, all in bursts that lie in several windows: how many of them are
    shown to be not worse, by the evidence for errors alone, within two hours."""
    yield f"| | {' | '.join(f'`burst_windows={parts}`' for parts in (1, 2, 3))} |"
    yield "|---" * 4 + "|"
    for name, per_minute, share, seconds, burst, span, single in (
        ("60 s, bursts of 10, half of each in the next window", 300, 0.2, 60, 10, 0, 0.0),
        ("the same, and 0.5 % single errors of both", 300, 0.2, 60, 10, 0, 0.005),
        ("60 s, bursts of 10, half of each in the next window", 1000, 0.5, 60, 10, 0, 0.0),
        ("15 s, bursts of 10, half of each in the next window", 1000, 0.2, 15, 10, 0, 0.0),
        ("15 s, bursts of 10, half of each in the next window", 400, 0.5, 15, 10, 0, 0.0),
        ("5 s, bursts of 10 within 10 s", 1000, 0.2, 5, 10, 10, 0.0),
        ("5 s, bursts of 83 within 10 s", 1000, 0.5, 5, 83, 10, 0.0),
    ):
        n = round(per_minute * share * seconds / 60)
        m = round(per_minute * seconds / 60) - n
        found = [0, 0, 0]
        for run in range(runs):
            play = Play(Trouble("splits"), random.Random(f"{seed} {name} {per_minute} {run}"))
            counts = [
                (bad + play.binomial(n, single), play.binomial(m, single))
                for bad in split(play, n, seconds, burst, span)
            ]
            for number, parts in enumerate((1, 2, 3)):
                found[number] += shown(counts, n, m, burst, parts)
        yield f"| {name}; {per_minute}/min, {share:.0%} | {' | '.join(f'{100 * one / runs:.2f} %' for one in found)} |"


def split(play: Play, n: int, seconds: int, burst: int, span: int) -> list[int]:
    """Bad requests in each window of two hours, of bursts that begin at any second and are spread over ``span`` seconds; 0: half in the
    next window."""
    counts = [0] * (7200 // seconds)
    for window in range(len(counts)):
        for _ in range(play.binomial(n, 0.01 / burst)):
            begun = play.source.random() * seconds
            for one in range(burst):
                later = (2 * one // burst) if not span else int((begun + span * (one + 0.5) / burst) // seconds)
                if window + later < len(counts):
                    counts[window + later] += 1
    return counts


def shown(counts: Sequence[tuple[int, int]], n: int, m: int, burst: int, parts: int) -> bool:
    """Whether the canary is ever shown to be worse by less than a point, by stakes as BadRequests sets them."""
    evidence, recent = NotWorse([burst], parts=parts), (0.0, 0.0)
    for bad, other_bad in counts:
        evidence.add(bad, n, other_bad, m, margin=0.01, rate=(recent[0] + 0.5) / (recent[1] + 50))
        if evidence.logs[0] >= math.log(100):
            return True
        recent = (recent[0] * KEPT + bad + other_bad, recent[1] * KEPT + n + m)
    return False


class Recorded:
    """Minutes that several judges read, made when the first of them asks."""

    def __init__(self, minutes: Minutes) -> None:
        self._minutes, self._seen = minutes, list[tuple[Arm, Arm]]()

    def __iter__(self) -> Minutes:
        for number in range(LONG):
            if number == len(self._seen):
                self._seen.append(next(self._minutes))
            yield self._seen[number]


TABLES: dict[str, Callable[[], Iterator[Trouble]]] = {
    "grid": grid,
    "disturbances": disturbances,
    "defects": defects,
}


REQUESTS: dict[str, Callable[[int, int], Iterator[str]]] = {
    "requests": requests,
    "promotions": promotions,
    "careful": careful,
    "splits": splits,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", choices=[*TABLES, *REQUESTS], action="append")
    options = arguments.parse_args()
    for name in options.only or [*TABLES, *REQUESTS]:
        began = time.process_time()
        print(
            f"\n{name}: {options.runs} runs a row, seed {options.seed}; rolled back/promoted/undecided in %, mean minutes\n"
        )
        if name in REQUESTS:
            for row in REQUESTS[name](options.runs, options.seed):
                print(row, flush=True)
            continue
        print(f"| | {' | '.join(JUDGES)} | bound; trivet's multiple |")
        print("|---" * (len(JUDGES) + 2) + "|")
        for trouble in TABLES[name]():
            print(compared(trouble, options.runs, options.seed), flush=True)
        print(f"\n{time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
