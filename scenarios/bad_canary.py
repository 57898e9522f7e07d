"""A bad canary before its judge: errors, latency, wrong values at HTTP 200, or no traffic by which anything could be seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.errors import CannotTell, PlatformError
from trivet.integration import (
    Arm,
    Aspect,
    Check,
    Decision,
    Judgement,
    Limits,
    Standing,
    TrackingApi,
    check,
    measured,
    newest_revision,
    observe,
    promote,
    rollback,
    shares,
    v2_request,
    v2_values,
)
from trivet.integration.canary import Ask
from trivet.integration.monitoring import error_rate, latency, number
from trivet.model.clients import ClusterClient, FaultInjector, MetricsClient, TrafficClient, TrainerClient
from trivet.model.fault import SERVING, AffectedObject, Fault, Verb
from trivet.model.feature import CANARY_TRAFFIC, PROMETHEUS
from trivet.model.finding import evidence
from trivet.model.handover import Handover
from trivet.model.scenario import Budgets, Case, Claim, Observation, Workload
from trivet.model.traffic import Answer
from trivet.scenarios import deploying
from trivet.scenarios.deploying import ROWS, SETTLED, Model, all_by, ask_revisions
from trivet.toolkit.client_traffic import answered_by
from trivet.toolkit.rollout import deployed, wait_for
from trivet.toolkit.watch import EFFECT, Watch

NAME = "judged-classifier"
TOUCH = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=NAME, namespace=SERVING)
PERCENT = 20
OBSERVED, INTERVAL, WINDOW = 24.0, 6.0, 15
"""Seconds of an observation, from one check to the next, and that a check looks back: three scrapes of trivet's own Prometheus."""
AFTERWARDS = 20
"""Requests sent after the decision, by which is told what it did to clients."""
KNOWN = [{"a": (i - 10) / 5, "b": (i % 7 - 3) / 3, "c": (i % 3 - 1) / 2} for i in range(20)]
"""Known requests: what the stable model answers to them, by the trainer's own prediction, is right."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One canary before a judge: how its model differs (variations of the trainer's job), the requests per second that the service gets,
    the fewest in a check, whether the judge has known requests asked, whether it knows constants only, the decision that is right, and the
    aspect by which it is right to take the canary back: another one is none of its faults."""

    model: str
    right: Decision
    by: Aspect | None = None
    variation: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 20.0
    fewest: int = 20
    known: bool = True
    constants: bool = False


WRONG = Trial(
    model="model with wrong values", variation={"label_offset": 10}, right=Decision.ROLL_BACK, by=Aspect.VALUES
)
FAILING = Trial(
    model="model that raises",
    variation={"predict_fails": True},
    known=False,
    right=Decision.ROLL_BACK,
    by=Aspect.ERRORS,
)
SLOW = Trial(
    model="slow model",
    variation={"predict_seconds": 0.6},
    right=Decision.ROLL_BACK,
    by=Aspect.LATENCY,
    rate=5.0,
    fewest=10,
)
UNSEEN = replace(FAILING, rate=0.0, right=Decision.UNDECIDED, by=None)
TRIALS: Mapping[str, Trial] = {
    "constants": replace(WRONG, constants=True),
    "constants-no-traffic": replace(UNSEEN, constants=True),
    "wrong-values": WRONG,
    "errors": FAILING,
    "latency": SLOW,
    "no-traffic": UNSEEN,
    "sound": Trial(model="sound model", right=Decision.PROMOTE),
}


@scenario(
    title="A bad canary is promoted",
    happens=(
        "A new model gets 20 % of the traffic and is judged by its error rate and latency against constants. It answers wrong values with "
        "HTTP 200, or nobody asks it at all and no data counts as no error: every check passes, and it gets all traffic."
    ),
    recognise=(
        "Complaints, or a quality metric measured later, set in after a promotion whose checks all passed; Prometheus has few or no "
        "requests of the canary's revision, or its answers to known requests are other ones."
    ),
    remedy=(
        "Judge with trivet.integration: it holds the canary against the stable revision, asks both known requests, and leaves what was not "
        "measured undecided. Promote on PROMOTE only."
    ),
    variants=(
        unprotected("constants", "wrong values, judged by error rate and latency against constants"),
        unprotected(
            "constants-no-traffic",
            "a model that only raises, without traffic, judged so, no data being no errors",
            extended=True,
        ),
        remedied("wrong-values", "wrong values, judged by the core library"),
        remedied(
            "errors", "a model that only raises, judged by the core library without known requests", extended=True
        ),
        remedied("latency", "a model that takes 0.6 s longer, judged by the core library", extended=True),
        remedied(
            "no-traffic",
            "a model that only raises, without traffic or known requests, judged by the core library",
            extended=True,
        ),
        remedied("sound", "a model as good as the one before: the core library promotes it", extended=True),
    ),
    affected_objects=(TOUCH,),
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
            text="No errors in the metrics means that a canary makes none.",
            holds=False,
            found="one that only raises passed every check while nobody asked it, and every request failed after its promotion",
            variants=("constants-no-traffic", "no-traffic"),
        ),
        Claim(
            text="An error rate of three times the threshold takes a canary back at once.",
            holds=True,
            found="of a model that only raises, the second check, 12 s after it had traffic, ended it; the first had too little data",
            variants=("errors",),
        ),
    ),
    sources=(
        "canary judgement of the reference platform, with its known weaknesses",
        "measured: MLServer 1.5.0 counts a prediction that raises with a status of 5xx",
        "flagger pkg/controller/scheduler_metrics.go halts where no values are found; kayenta MannWhitneyClassifier passes an empty series",
    ),
)
def bad_model_promoted(
    cluster: ClusterClient,
    traffic: TrafficClient,
    metrics: MetricsClient,
    trainer: TrainerClient,
    tracking: TrackingApi,
    handover: Handover,
    variant: str,
) -> Iterator[Case]:
    trial = TRIALS[variant]
    root = handover.artifact_root
    stable = deploying.model(trainer, tracking, root, key="stable model")
    canary = deploying.model(trainer, tracking, root, key=trial.model, **trial.variation)
    expected = trainer.predict(f"models:/{stable.registered}/{stable.version}", KNOWN)
    workload = Workload(
        service=NAME, request=v2_request(None, ROWS), models={stable.name: stable.answer}, rate=trial.rate or 5
    )

    def ask(promql: str) -> float | None:
        found = metrics.query(promql)
        return number(found[0][1]) if found else None

    document = deploying.service(NAME, stable, cluster)
    # The first revision has no other to share with; the next one will, and no other field need change then.
    document["spec"]["predictor"]["canaryTrafficPercent"] = PERCENT
    with deployed(cluster, document) as observed:
        before = newest_revision(observed)

        def symptom(watch: Watch) -> Observation:
            new = newest_revision(cluster.get("inferenceservice", NAME) or {})

            def look() -> Check:
                if trial.constants:
                    return by_constants(ask, cluster.namespace, new)
                arms = [measured(ask, NAME, cluster.namespace, revision=one, window=WINDOW) for one in (new, before)]
                if trial.known:
                    arms = answering(cluster, (new, before), arms, expected)
                return check(*arms, limits=Limits(requests=trial.fewest))

            judgement = observe(look, seconds=OBSERVED, interval=INTERVAL)
            decided = round(watch.mark(judgement.decision.value) - watch.since(EFFECT), 1)
            follow(cluster, judgement.decision, new, before)
            answers = traffic.send(NAME, workload.request, times=AFTERWARDS, at_once=2, timeout=10)
            return judged(trial, judgement, answers, workload, decided)

        yield Case(
            fault=_begun(canary, before),
            steady_state=lambda: all_by(traffic, workload, stable.name),
            symptom=symptom,
            workload=workload if trial.rate else None,
        )


def by_constants(ask: Ask, namespace: str, revision: str) -> Check:
    """A check as many have it: error rate and latency against constants, where no data is zero."""
    limits, within = Limits(), f"{WINDOW}s"
    errors = ask(error_rate(NAME, namespace, revision=revision, window=within)) or 0.0
    p99 = ask(latency(NAME, namespace, revision=revision, window=within)) or 0.0
    exceeded = {Aspect.ERRORS: errors > limits.error_rate, Aspect.LATENCY: p99 > limits.latency}
    failed = tuple(aspect for aspect, too_much in exceeded.items() if too_much)
    return Check(
        standing=Standing.FAILED if failed else Standing.PASSED,
        reasons=(f"error rate {errors:.1%}, 99th percentile {p99:.2f} s",),
        at_once=errors > limits.at_once * limits.error_rate,
        failed=failed,
    )


def answering(
    cluster: ClusterClient, revisions: Sequence[str], arms: Sequence[Arm], expected: Sequence[Any]
) -> list[Arm]:
    """The arms with what became of the known requests."""
    found = ask_revisions(cluster, NAME, revisions, v2_request(None, KNOWN))
    return [
        replace(arm, known=len(expected), right=right(*found[revision], expected))
        for revision, arm in zip(revisions, arms, strict=True)
    ]


def right(status: int, body: Any, expected: Sequence[Any]) -> int | None:
    """How many of the known requests were answered as expected; None where nobody answered: that is no wrong answer."""
    if not status:
        return None
    try:
        values: Sequence[Any] = v2_values(body) if status == 200 else ()
    except PlatformError:
        return 0
    return sum(bool(value == other) for value, other in zip(values, expected, strict=False))


def follow(cluster: ClusterClient, decision: Decision, new: str, before: str) -> None:
    """Send the change that a decision asks for, and wait until the status shows it."""
    if decision is Decision.UNDECIDED:
        return
    observed = cluster.get("inferenceservice", NAME) or {}
    patch, revision = (promote(), new) if decision is Decision.PROMOTE else (rollback(observed).patch, before)
    cluster.patch("inferenceservice", NAME, patch)
    wait_for(
        cluster, NAME, lambda found: shares(found) == {revision: 100}, f"gives {revision} all traffic", seconds=SETTLED
    )


def judged(
    trial: Trial, judgement: Judgement, answers: Sequence[Answer], workload: Workload, decided: float
) -> Observation:
    """What a decision did to clients. The incident is that a bad canary was promoted, or a sound one taken back.

    Raises CannotTell for a decision that is right by chance: the checks failed in another aspect than the canary's own fault.
    """
    bad = [one for one in answers if not answered_by(one, workload.models) or one.seconds > Limits().latency]
    told = (
        f"{judgement.decision.value} after {decided:.0f} s, {judgement.reason}; "
        f"after that {len(bad)} of {len(answers)} requests were answered wrongly, late or not at all"
    )
    table = [{"standing": one.standing.value, "reasons": "; ".join(one.reasons)} for one in judgement.checks]
    proof = (evidence("checks", "table", table),)
    numbers = {"decided_seconds": decided, "checks": len(judgement.checks), "bad_afterwards": len(bad)}
    if judgement.decision is trial.right:
        if bad and trial.right is not Decision.UNDECIDED:
            raise CannotTell(f"the right decision, and yet clients are not well: {told}; the first: {bad[0]}")
        failed = {aspect for one in judgement.checks for aspect in one.failed}
        if trial.by and trial.by not in failed:
            others = " and ".join(sorted(failed)) or "nothing"
            raise CannotTell(f"the right decision by chance: {trial.by} should fail, and {others} did: {told}")
        return symptom_not_observed(told, evidence=proof, **numbers)
    hurt = Decision.ROLL_BACK if trial.right is Decision.PROMOTE else Decision.PROMOTE
    if judgement.decision is not hurt or (hurt is Decision.PROMOTE and not bad):
        raise CannotTell(f"that shows nothing: {told}")
    return symptom_observed(told, evidence=proof, **numbers)


def _begun(canary: Model, before: str) -> Fault:
    """The bad model rolled out as a canary."""
    patch = {"spec": {"predictor": {"model": {"storageUri": canary.storage_uri}}}}

    def verify_injected(injector: FaultInjector) -> str:
        found = injector.get("inferenceservice", NAME, namespace=SERVING) or {}
        new = newest_revision(found)
        there = new not in ("", before) and shares(found) == {new: PERCENT, before: 100 - PERCENT}
        return f"the status gives {new} {PERCENT} % of the traffic" if there else ""

    return Fault(
        name=f"a canary with a {canary.name}",
        affected_objects=(TOUCH,),
        inject=lambda injector: injector.patch("inferenceservice", NAME, patch, namespace=SERVING),
        verify_injected=verify_injected,
        budget=SETTLED,
    )
