"""The analysis of a bad canary: errors, latency, wrong values at HTTP 200, or no traffic to measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from trivet.authoring import (
    CANARY_TRAFFIC,
    DEFAULT_ROWS,
    INJECTED,
    PROMETHEUS,
    SERVING,
    AffectedObject,
    Answer,
    Budgets,
    CannotTell,
    Case,
    Claim,
    ClusterClient,
    Fault,
    FaultInjector,
    MetricsClient,
    ModelMaker,
    NotYet,
    Observation,
    Probed,
    ServableModel,
    TrafficClient,
    TrainerClient,
    Verb,
    Watch,
    Workload,
    answered_by,
    deployed,
    evidence,
    remedied,
    scenario,
    symptom_not_observed,
    symptom_observed,
    unprotected,
    wait_for_service,
)
from trivet.integration import (
    ArmCounts,
    CanaryAspect,
    CanaryDecision,
    CanaryJudge,
    CanaryLimits,
    CanaryWindow,
    KnownRequest,
    newest_revision,
    plan_rollback,
    promotion_patch,
    traffic_shares,
    v2_request,
)
from trivet.integration.monitoring import error_rate_query, latency_query, sample_value
from trivet.integration.request_metrics import MLSERVER_REST
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import SETTLED, answered_only_by, ask_revisions

NAME = "judged-classifier"
SERVICE = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=NAME, namespace=SERVING)
PERCENT = 20
OBSERVED, INTERVAL, WINDOW = 24.0, 6.0, 15
"""Seconds of the analysis with constants, between two of its checks or windows, and of the rates of such a check: three scrapes of trivet's
own Prometheus."""
LIMITS = CanaryLimits(
    max_error_increase=0.1,
    max_slow_increase=0.1,
    max_quality_loss=0.05,
    burst_size=1,
    min_seconds=24,
    warm_up=12,
    deadline=72,
)
"""Limits of the analysis by the core library: a minute of this traffic can show no smaller difference, and only for requests that fail
independently, as those do that the scenario sends."""
AFTERWARDS = 20
"""Requests after the decision, which show its effect on clients."""
KNOWN = [{"a": (i - 10) / 5, "b": (i % 7 - 3) / 3, "c": (i % 3 - 1) / 2} for i in range(20)]
"""Requests with known answers: the trainer's own predictions by the stable model."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The analysis of one canary.

    ``model`` and ``variation`` (of the trainer's job) are the canary's model, ``rate`` the requests per second to the service, ``known``
    whether known requests are sent too, ``constants`` whether metrics are compared with constants only. ``right`` is the right decision,
    and ``by`` the aspect that must fail for a rollback to be right.
    """

    model: str
    right: CanaryDecision
    by: CanaryAspect | None = None
    variation: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 20.0
    known: bool = True
    constants: bool = False


WRONG = Trial(
    model="model with wrong values",
    variation={"label_offset": 10},
    right=CanaryDecision.ROLL_BACK,
    by=CanaryAspect.VALUES,
)
FAILING = Trial(
    model="model that raises",
    variation={"predict_fails": True},
    known=False,
    right=CanaryDecision.ROLL_BACK,
    by=CanaryAspect.ERRORS,
)
SLOW = Trial(
    model="slow model",
    variation={"predict_seconds": 0.6},
    right=CanaryDecision.ROLL_BACK,
    by=CanaryAspect.LATENCY,
    rate=5.0,
)
NO_TRAFFIC = replace(FAILING, rate=0.0, right=CanaryDecision.UNDECIDED, by=None)
TRIALS: Mapping[str, Trial] = {
    "constants": replace(WRONG, constants=True),
    "constants-no-traffic": replace(NO_TRAFFIC, constants=True),
    "wrong-values": WRONG,
    "errors": FAILING,
    "latency": SLOW,
    "no-traffic": NO_TRAFFIC,
    "sound": Trial(model="sound model", right=CanaryDecision.PROMOTE),
}


@scenario(
    title="A bad canary is promoted",
    happens=(
        "A new model gets 20 % of the traffic, and its error rate and latency are compared with constants. It answers wrong values with "
        "HTTP 200, or it gets no request and missing data counts as no errors: every check passes, and it gets all traffic."
    ),
    recognise=(
        "Complaints, or a worse quality metric, begin after a promotion whose checks all passed; Prometheus has few or no requests of the "
        "canary's revision, or its answers to known requests differ."
    ),
    remedy=(
        "Analyse with trivet.integration: it compares the canary with the stable revision, sends known requests to both, and leaves a "
        "canary without measurements undecided. Promote on PROMOTE only."
    ),
    variants=(
        unprotected("constants", "wrong values, with error rate and latency compared with constants"),
        unprotected(
            "constants-no-traffic",
            "a model whose predictions raise, without traffic, analysed the same way, where no data is no errors",
            extended=True,
        ),
        remedied("wrong-values", "wrong values, analysed by the core library"),
        remedied(
            "errors",
            "a model whose predictions raise, analysed by the core library without known requests",
            extended=True,
        ),
        remedied("latency", "a model that takes 0.6 s longer, analysed by the core library", extended=True),
        remedied(
            "no-traffic",
            "a model whose predictions raise, without traffic or known requests, analysed by the core library",
            extended=True,
        ),
        remedied("sound", "a model as good as the previous one: the core library promotes it", extended=True),
    ),
    affected_objects=(SERVICE,),
    budgets=Budgets(steady_state=60, symptom=120, recovery=150),
    features=(CANARY_TRAFFIC, PROMETHEUS),
    claims=(
        Claim(
            text="A canary is good when its error rate is at most 2 % and its 99th percentile at most 500 ms.",
            holds=False,
            found="with wrong values at HTTP 200 every check passed, and after the promotion every answer was wrong",
            variants=("constants", "wrong-values", "sound"),
        ),
        Claim(
            text="No errors in the metrics means that a canary has none.",
            holds=False,
            found="one whose predictions raise passed every check without traffic, and every request failed after its promotion",
            variants=("constants-no-traffic", "no-traffic"),
        ),
        Claim(
            text="An error rate of three times the threshold rolls a canary back at once.",
            holds=True,
            found="with predictions that raise, the second window, 12 s after the first traffic, ended it",
            variants=("errors",),
        ),
    ),
    sources=(
        "canary analysis of the reference platform, with its known weaknesses",
        "measured: MLServer 1.5.0 counts a prediction that raises with a status of 5xx",
        "flagger pkg/controller/scheduler_metrics.go halts when no values are found; kayenta MannWhitneyClassifier passes an empty series",
    ),
)
def bad_model_promoted(
    cluster: ClusterClient,
    traffic: TrafficClient,
    metrics: MetricsClient,
    trainer: TrainerClient,
    models: ModelMaker,
    variant: str,
) -> Iterator[Case]:
    trial = TRIALS[variant]
    stable = models.make("stable model")
    canary = models.make(trial.model, **trial.variation)
    expected = trainer.predict(f"models:/{stable.registered}/{stable.version}", KNOWN)
    workload = Workload(
        service=NAME, request=v2_request(None, DEFAULT_ROWS), models={stable.name: stable.answer}, rate=trial.rate or 5
    )

    def ask(promql: str) -> float | None:
        found = metrics.query(promql)
        return sample_value(found[0][1]) if found else None

    document = _deployments.service(NAME, stable, cluster)
    # Without effect on the first revision; the next one gets this share without a change of another field.
    document["spec"]["predictor"]["canaryTrafficPercent"] = PERCENT
    with deployed(cluster, document) as observed:
        before = newest_revision(observed)

        def symptom(watch: Watch) -> Observation:
            new = newest_revision(cluster.get("inferenceservice", NAME) or {})
            if trial.constants:
                analysis = analysed_by_constants(partial(by_constants, ask, cluster.namespace, new))
            else:
                asking = partial(answering, cluster, (new, before), expected) if trial.known else None
                analysis = analysed_by_windows(partial(counted, metrics, cluster.namespace, (new, before)), asking)
            decided = round(watch.mark(analysis.decision.value) - watch.since(INJECTED), 1)
            follow(cluster, analysis.decision, new, before)
            answers = traffic.send(NAME, workload.request, times=AFTERWARDS, concurrency=2, timeout=10)
            return judged(trial, analysis, answers, workload, decided)

        yield Case(
            fault=_canary_started(canary, before),
            steady_state=lambda: answered_only_by(traffic, workload, stable.name),
            symptom=symptom,
            workload=workload if trial.rate else None,
        )


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What was decided, why, by which aspects a canary failed, and a table of the checks or windows."""

    decision: CanaryDecision
    reason: str
    failed: Sequence[CanaryAspect] = ()
    table: Sequence[Mapping[str, str]] = ()


Check = tuple[str, Sequence[CanaryAspect]]
"""What a check saw, and the aspects that exceed their constants."""


def by_constants(ask: Callable[[str], float | None], namespace: str, revision: str) -> Check:
    """A common check: error rate and latency compared with constants, where no data is zero."""
    limits, within = CanaryLimits(), f"{WINDOW}s"
    errors = ask(error_rate_query(NAME, namespace, revision=revision, window=within)) or 0.0
    p99 = ask(latency_query(NAME, namespace, revision=revision, window=within)) or 0.0
    exceeded = {CanaryAspect.ERRORS: errors > limits.max_error_rate, CanaryAspect.LATENCY: p99 > limits.max_latency}
    return (
        f"error rate {errors:.1%}, 99th percentile {p99:.2f} s",
        [aspect for aspect, too_much in exceeded.items() if too_much],
    )


def analysed_by_constants(check: Callable[[], Check], wait: Callable[[float], None] = time.sleep) -> Analysis:
    """A common analysis: promoted when nine of ten checks pass. A check without an answer of Prometheus is none."""
    table: list[Mapping[str, str]] = []
    failed: list[CanaryAspect] = []
    seen = ""
    passed = answered = 0
    for _ in range(int(OBSERVED / INTERVAL)):
        wait(INTERVAL)
        try:
            seen, aspects = check()
        except CannotTell as error:
            table.append({"outcome": "INCONCLUSIVE", "reasons": error.message})
            continue
        answered += 1
        passed += not aspects
        failed += aspects
        table.append({"outcome": "FAILED" if aspects else "PASSED", "reasons": seen})
    counts = f"{passed} of {len(table)} checks passed, {answered - passed} failed, {len(table) - answered} inconclusive"
    decision = CanaryDecision.PROMOTE if passed >= 0.9 * answered else CanaryDecision.ROLL_BACK
    return Analysis(
        decision=decision if answered else CanaryDecision.UNDECIDED,
        reason=f"{counts}: {seen}",
        failed=failed,
        table=table,
    )


Counts = tuple[ArmCounts, ArmCounts]
"""Of the canary and of the stable revision."""


def analysed_by_windows(
    count: Callable[[], Counts],
    asking: Callable[[], Counts] | None,
    wait: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Analysis:
    """The core library's analysis: a window every INTERVAL, of what ``count`` counted since the last one and ``asking`` found."""
    judge, table = CanaryJudge(LIMITS), []
    start, before = now(), count()
    while True:
        wait(INTERVAL)
        end, after = now(), count()
        canary, stable = map(_since, before, after)
        if asking:
            canary, stable = map(_with_answers, (canary, stable), asking())
        judgement = judge.add(CanaryWindow(start=start, end=end, canary=canary, stable=stable))
        table.append({"outcome": judgement.decision.value, "reasons": judgement.reason})
        if judgement.decision is not CanaryDecision.CONTINUE:
            return Analysis(decision=judgement.decision, reason=judgement.reason, failed=judgement.failed, table=table)
        start, before = end, after


def counted(metrics: MetricsClient, namespace: str, revisions: Sequence[str]) -> Counts:
    """What MLServer counted of both revisions until now, in one query for each, so that no scrape lies between its counters."""
    canary, stable = (_counted(metrics, namespace, revision) for revision in revisions)
    return canary, stable


def _counted(metrics: MetricsClient, namespace: str, revision: str) -> ArmCounts:
    (requests,), bucket = MLSERVER_REST.requests, f"{MLSERVER_REST.duration}_bucket"
    where = f'__name__=~"{requests.name}|{bucket}",{requests.where}'
    selector = MLSERVER_REST.selector(namespace, service=NAME, revision=revision, where=where)
    total = errors = answers = fast = 0.0
    for labels, value in metrics.query(f"sum by (__name__, status_code, le) ({selector})"):
        if labels["__name__"] == requests.name:
            total += value
            errors += value if labels["status_code"].startswith("5") else 0.0
        elif float(labels["le"]) == LIMITS.max_latency:
            fast += value
        elif labels["le"] == "+Inf":
            answers += value
    return ArmCounts(
        requests=round(total), errors=round(errors), slower={LIMITS.max_latency: round(min(answers - fast, total))}
    )


def _since(before: ArmCounts, after: ArmCounts) -> ArmCounts:
    """The difference; a counter that begins anew with another pod counts as nothing new."""
    requests = max(after.requests - before.requests, 0)
    return ArmCounts(
        requests=requests,
        errors=min(max((after.errors or 0) - (before.errors or 0), 0), requests),
        slower={
            bound: min(max(slower - before.slower.get(bound, 0), 0), requests) for bound, slower in after.slower.items()
        },
    )


def _with_answers(counts: ArmCounts, answers: ArmCounts) -> ArmCounts:
    return replace(counts, known_requests=answers.known_requests, unexpected_answers=answers.unexpected_answers)


def answering(cluster: ClusterClient, revisions: Sequence[str], expected: Sequence[Any]) -> Counts:
    """How many of the known requests the revisions answered with another value. What was not answered was not known either."""
    found = ask_revisions(cluster, NAME, revisions, v2_request(None, KNOWN))
    rights = [right(*found[revision], expected) for revision in revisions]
    canary, stable = (
        ArmCounts(requests=0, errors=None)
        if one is None
        else ArmCounts(requests=0, errors=None, known_requests=len(expected), unexpected_answers=len(expected) - one)
        for one in rights
    )
    return canary, stable


def right(status: int, body: Any, expected: Sequence[Any]) -> int | None:
    """The number of known requests that were answered correctly; None without an answer, which is not a wrong one."""
    if not status:
        return None
    known = KnownRequest(request=v2_request(None, KNOWN), answers=expected)
    return len(expected) - known.wrong(status, body)


def follow(cluster: ClusterClient, decision: CanaryDecision, new: str, before: str) -> None:
    """Apply the decision, and wait until the status shows it."""
    if decision is CanaryDecision.UNDECIDED:
        return
    observed = cluster.get("inferenceservice", NAME) or {}
    patch, revision = (
        (promotion_patch(), new) if decision is CanaryDecision.PROMOTE else (plan_rollback(observed).patch, before)
    )
    cluster.patch("inferenceservice", NAME, patch)
    wait_for_service(
        cluster,
        NAME,
        f"to give {revision} all traffic",
        lambda found: traffic_shares(found) == {revision: 100},
        timeout=SETTLED,
    )


def judged(
    trial: Trial, analysis: Analysis, answers: Sequence[Answer], workload: Workload, decided: float
) -> Observation:
    """The effect of a decision on clients. The incident is a bad canary that is promoted, or a sound one that is rolled back.

    Raises CannotTell for a decision that is right by chance: another aspect failed than the canary's defect.
    """
    bad = [one for one in answers if not answered_by(one, workload.models) or one.seconds > LIMITS.max_latency]
    message = (
        f"{analysis.decision.value} after {decided:.0f} s, {analysis.reason}; "
        f"after that {len(bad)} of {len(answers)} requests were answered wrongly, late or not at all"
    )
    checks = (evidence("checks", "table", analysis.table),)
    numbers = {"decided_seconds": decided, "checks": len(analysis.table), "bad_afterwards": len(bad)}
    if analysis.decision is trial.right:
        if bad and trial.right is not CanaryDecision.UNDECIDED:
            raise CannotTell(f"the right decision, but clients still fail: {message}; first failed request: {bad[0]}")
        if trial.by and trial.by not in analysis.failed:
            others = " and ".join(sorted(set(analysis.failed))) or "nothing"
            raise CannotTell(
                f"the right decision by chance: expected {trial.by} to fail, but {others} failed: {message}"
            )
        return symptom_not_observed(message, evidence=checks, **numbers)
    hurt = CanaryDecision.ROLL_BACK if trial.right is CanaryDecision.PROMOTE else CanaryDecision.PROMOTE
    if analysis.decision is not hurt or (hurt is CanaryDecision.PROMOTE and not bad):
        raise CannotTell(f"neither the right decision nor the incident: {message}")
    return symptom_observed(message, evidence=checks, **numbers)


def _canary_started(canary: ServableModel, before: str) -> Fault:
    """The model rolled out as a canary."""

    def verify_injected(injector: FaultInjector) -> Probed:
        found = injector.get("inferenceservice", NAME, namespace=SERVING) or {}
        new = newest_revision(found)
        started = new not in ("", before) and traffic_shares(found) == {new: PERCENT, before: 100 - PERCENT}
        if not started:
            return NotYet(f"traffic by revision: {traffic_shares(found)}")
        return f"the status gives {new} {PERCENT} % of the traffic"

    return Fault(
        name=f"a canary with a {canary.name}",
        affected_objects=(SERVICE,),
        inject=lambda injector: injector.patch(
            "inferenceservice", NAME, _deployments.model_patch(canary), namespace=SERVING
        ),
        verify_injected=verify_injected,
        budget=SETTLED,
    )
