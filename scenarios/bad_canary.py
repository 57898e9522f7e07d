"""The analysis of a bad canary: errors, latency, wrong values at HTTP 200, or no traffic to measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    PlatformError,
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
    CanaryAspect,
    CanaryCheck,
    CanaryDecision,
    CanaryJudgement,
    CanaryLimits,
    CheckOutcome,
    RevisionMetrics,
    check_canary,
    measure_revision,
    newest_revision,
    observe_canary,
    plan_rollback,
    promotion_patch,
    traffic_shares,
    v2_request,
    v2_values,
)
from trivet.integration.canary import Query
from trivet.integration.monitoring import error_rate_query, latency_query, sample_value
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import SETTLED, answered_only_by, ask_revisions

NAME = "judged-classifier"
SERVICE = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=NAME, namespace=SERVING)
PERCENT = 20
OBSERVED, INTERVAL, WINDOW = 24.0, 6.0, 15
"""Seconds of the analysis, between two checks, and of the window of a check: three scrapes of trivet's own Prometheus."""
AFTERWARDS = 20
"""Requests after the decision, which show its effect on clients."""
KNOWN = [{"a": (i - 10) / 5, "b": (i % 7 - 3) / 3, "c": (i % 3 - 1) / 2} for i in range(20)]
"""Requests with known answers: the trainer's own predictions by the stable model."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The analysis of one canary.

    ``model`` and ``variation`` (of the trainer's job) are the canary's model, ``rate`` the requests per second to the service, ``fewest``
    the requests that a check needs, ``known`` whether known requests are sent too, ``constants`` whether metrics are compared with
    constants only. ``right`` is the right decision, and ``by`` the aspect that must fail for a rollback to be right.
    """

    model: str
    right: CanaryDecision
    by: CanaryAspect | None = None
    variation: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 20.0
    fewest: int = 20
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
    fewest=10,
)
NO_TRAFFIC = replace(FAILING, rate=0.0, right=CanaryDecision.INCONCLUSIVE, by=None)
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
        "canary without measurements inconclusive. Promote on PROMOTE only."
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
            found="with predictions that raise, the second check, 12 s after the first traffic, ended it; the first had too little data",
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

            def look() -> CanaryCheck:
                if trial.constants:
                    return by_constants(ask, cluster.namespace, new)
                arms = [
                    measure_revision(ask, NAME, cluster.namespace, revision=one, window=WINDOW) for one in (new, before)
                ]
                if trial.known:
                    arms = answering(cluster, (new, before), arms, expected)
                return check_canary(*arms, limits=CanaryLimits(min_requests=trial.fewest))

            judgement = observe_canary(look, seconds=OBSERVED, interval=INTERVAL)
            decided = round(watch.mark(judgement.decision.value) - watch.since(INJECTED), 1)
            follow(cluster, judgement.decision, new, before)
            answers = traffic.send(NAME, workload.request, times=AFTERWARDS, concurrency=2, timeout=10)
            return judged(trial, judgement, answers, workload, decided)

        yield Case(
            fault=_canary_started(canary, before),
            steady_state=lambda: answered_only_by(traffic, workload, stable.name),
            symptom=symptom,
            workload=workload if trial.rate else None,
        )


def by_constants(ask: Query, namespace: str, revision: str) -> CanaryCheck:
    """A common check: error rate and latency compared with constants, where no data is zero."""
    limits, within = CanaryLimits(), f"{WINDOW}s"
    errors = ask(error_rate_query(NAME, namespace, revision=revision, window=within)) or 0.0
    p99 = ask(latency_query(NAME, namespace, revision=revision, window=within)) or 0.0
    exceeded = {CanaryAspect.ERRORS: errors > limits.max_error_rate, CanaryAspect.LATENCY: p99 > limits.max_latency}
    failed = tuple(aspect for aspect, too_much in exceeded.items() if too_much)
    return CanaryCheck(
        outcome=CheckOutcome.FAILED if failed else CheckOutcome.PASSED,
        reasons=(f"error rate {errors:.1%}, 99th percentile {p99:.2f} s",),
        abort=errors > limits.abort_factor * limits.max_error_rate,
        failed=failed,
    )


def answering(
    cluster: ClusterClient, revisions: Sequence[str], arms: Sequence[RevisionMetrics], expected: Sequence[Any]
) -> list[RevisionMetrics]:
    """The arms with the results of the known requests."""
    found = ask_revisions(cluster, NAME, revisions, v2_request(None, KNOWN))
    return [
        replace(arm, known_requests=len(expected), expected_answers=right(*found[revision], expected))
        for revision, arm in zip(revisions, arms, strict=True)
    ]


def right(status: int, body: Any, expected: Sequence[Any]) -> int | None:
    """The number of known requests that were answered correctly; None without an answer, which is not a wrong one."""
    if not status:
        return None
    try:
        values: Sequence[Any] = v2_values(body) if status == 200 else ()
    except PlatformError:
        return 0
    return sum(bool(value == other) for value, other in zip(values, expected, strict=False))


def follow(cluster: ClusterClient, decision: CanaryDecision, new: str, before: str) -> None:
    """Apply the decision, and wait until the status shows it."""
    if decision is CanaryDecision.INCONCLUSIVE:
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
    trial: Trial, judgement: CanaryJudgement, answers: Sequence[Answer], workload: Workload, decided: float
) -> Observation:
    """The effect of a decision on clients. The incident is a bad canary that is promoted, or a sound one that is rolled back.

    Raises CannotTell for a decision that is right by chance: the checks failed in another aspect than the canary's defect.
    """
    bad = [one for one in answers if not answered_by(one, workload.models) or one.seconds > CanaryLimits().max_latency]
    message = (
        f"{judgement.decision.value} after {decided:.0f} s, {judgement.reason}; "
        f"after that {len(bad)} of {len(answers)} requests were answered wrongly, late or not at all"
    )
    table = [{"outcome": one.outcome.value, "reasons": "; ".join(one.reasons)} for one in judgement.checks]
    checks = (evidence("checks", "table", table),)
    numbers = {"decided_seconds": decided, "checks": len(judgement.checks), "bad_afterwards": len(bad)}
    if judgement.decision is trial.right:
        if bad and trial.right is not CanaryDecision.INCONCLUSIVE:
            raise CannotTell(f"the right decision, but clients still fail: {message}; first failed request: {bad[0]}")
        failed = {aspect for one in judgement.checks for aspect in one.failed}
        if trial.by and trial.by not in failed:
            others = " and ".join(sorted(failed)) or "nothing"
            raise CannotTell(
                f"the right decision by chance: expected {trial.by} to fail, but {others} failed: {message}"
            )
        return symptom_not_observed(message, evidence=checks, **numbers)
    hurt = CanaryDecision.ROLL_BACK if trial.right is CanaryDecision.PROMOTE else CanaryDecision.PROMOTE
    if judgement.decision is not hurt or (hurt is CanaryDecision.PROMOTE and not bad):
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
