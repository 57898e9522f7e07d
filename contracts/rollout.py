"""kserve → knative, live: a roll-out by the core library's plans, as observed by clients. All contracts judge one roll-out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trivet.authoring import (
    CANARY_TRAFFIC,
    MUST,
    SPLIT,
    Answer,
    CannotTell,
    Evidence,
    Finding,
    PlatformError,
    Rollout,
    RolloutChange,
    RolloutStep,
    ServableModel,
    contract,
    evidence,
    failed,
    inconclusive,
    passed,
    plan_share,
    same_values,
)
from trivet.integration import canary_patch, traffic_shares, v2_values

SEAM = ("kserve", "knative")
FEATURES = (CANARY_TRAFFIC,)

VERSIONS: Mapping[str, str] = {"kserve": ">=0.14"}
"""The oldest versions that these contracts were run with."""

ALPHA = 0.001
POWER = 0.99
"""One run in a thousand may fail a correct split; every message states the deviation that is detected with this power."""

BEFORE = 2.0
"""Seconds before a change at which its window begins."""
FEWEST = 20
"""Minimum number of requests in a window: about four seconds of the roll-out's traffic."""
CLIENT_TIMEOUT = 8.0
"""Seconds after which an answer counts as lost, because clients of predictions have given up. It lies between what was measured on two
busy cores: up to 5 s while pods start, and stalls of 9 s and more if traffic goes to a revision at zero."""
RACE = re.compile(
    r"tcp 127\.0\.0\.1:\d+->127\.0\.0\.1:\d+: .*(closed network connection|connection reset|broken pipe)|EOF"
)
RACES = 0.01
"""In each pod the queue-proxy keeps connections to the runtime, which closes idle ones after 5 s (uvicorn's timeout_keep_alive). A request
sent at that moment gets HTTP 502, with or without a change: measured once in 3000. The message states such losses; they count against a
change if they are more than this fraction of its window. Up to that they say nothing of a split and of who serves: either model may have
been asked."""
LAG = 2.0
"""Seconds after the status shows a change in which single answers may still be of the other revision: requests in flight."""


@contract(
    title="A service that is Ready must answer its first request correctly",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Deployments, canaries and clients rely on Ready=True. If it only means that a port is open, the first requests of every "
        "roll-out and of every new pod fail."
    ),
    remedy="Build the service with trivet.integration.build_inference_service, whose readiness probe requests the model itself.",
    sources=(
        "measured: MLServer 1.5.0 under KServe 0.14.1 without a readinessProbe answers 400 'Model … is not ready yet.' after Ready=True",
        "kserve 0.14.1 and 0.20.0 config/runtimes/kserve-mlserver.yaml: no readinessProbe",
    ),
)
def ready_means_loaded(rollout: Rollout) -> Iterator[Finding]:
    if not rollout.first:
        yield inconclusive("no request was sent when the service became Ready")
        return
    wrong = [answer for answer in rollout.first if not _is_of(answer, rollout.stable)]
    waited = rollout.first[0].at - rollout.ready
    proof = (_answers("the first answers", rollout.first),)
    if wrong:
        yield failed(
            f"{len(wrong)} of the first {len(rollout.first)} requests after Ready=True failed: {wrong[0]}",
            evidence=proof,
        )
    else:
        yield passed(
            f"the first request, {waited:.1f} s after Ready=True, and the next {len(rollout.first) - 1} were answered with "
            f"{rollout.stable.answer}",
            evidence=proof,
        )


@contract(
    title="A canary's share of the traffic must be its share of the answers",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=FEATURES,
    rationale=(
        "A canary limits the number of users that a bad model affects. A split that exists only in the status, or differs from the "
        "requested one, exposes all users or none."
    ),
    remedy="Inspect the route of the service (its HTTPRoute or VirtualService) and the configuration of the ingress.",
    sources=(
        "kserve 0.14.1 and 0.20.0 reconcilers/knative/ksvc_reconciler.go, createKnativeService: canaryTrafficPercent to the newest "
        "revision, the rest to latestRolledoutRevision",
        "exact two-sided binomial test, planned before and run once",
    ),
)
def traffic_split_matches_the_request(rollout: Rollout) -> Iterator[Finding]:
    _step(rollout, RolloutChange.CANARY)
    asked = rollout.percent / 100
    plan = plan_share(asked, n=SPLIT, alpha=ALPHA, power=POWER)
    counted = Counter(_whose(answer, rollout) for answer in rollout.split)
    count = counted[rollout.canary.name]
    proof = (evidence("answers by model", "table", {"planned": str(plan), **counted}),)
    races = _races(rollout.split)
    strange = [answer for answer in rollout.split if not _whose(answer, rollout) and answer not in races]
    if strange:
        yield inconclusive(
            f"{len(strange)} of {len(rollout.split)} answers are of neither model, so that the split is unknown: {strange[0]}",
            evidence=proof,
        )
        return
    # Each race may have been the canary's, or not.
    fits = {plan.accepts(canaries, len(rollout.split)) for canaries in (count, count + len(races))}
    observed = f"{count} of {SPLIT} answers ({100 * count / SPLIT:.1f} %) are the canary's{_aside(races)}"
    if fits == {True}:
        yield passed(f"{observed}, {rollout.percent} % were requested ({plan})", evidence=proof)
    elif fits == {False}:
        yield failed(f"{observed}, but {rollout.percent} % were requested ({plan})", evidence=proof)
    else:
        yield inconclusive(f"{observed}, so that the split of {rollout.percent} % is unknown ({plan})", evidence=proof)


@contract(
    title="Starting and promoting a canary must lose no request",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=FEATURES,
    rationale="Models are rolled out often, under traffic, and each lost request affects a user.",
    remedy=(
        "Change nothing but the percentage (trivet.integration.canary_patch, promotion_patch), and let readiness depend on the model: "
        "traffic must not move to a pod that has not loaded it."
    ),
    sources=(
        "reference platform: canary 20 %, then promotion",
        "Knative moves the traffic of a revision when its pods are ready",
    ),
)
def promotion_loses_no_request(rollout: Rollout) -> Iterator[Finding]:
    names = (
        RolloutChange.CANARY,
        RolloutChange.RESUMED,
        RolloutChange.PROMOTED,
        *((RolloutChange.REPEATED,) if _ran_on(rollout) else ()),
    )
    for name in names:
        yield _lossless(rollout, _step(rollout, name))


@contract(
    title="Rolling back a canary, or a promotion, must lose no request",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=FEATURES,
    rationale=(
        "A rollback happens during an incident. Sending all traffic to a revision at zero pods stalls every request until a pod is up, "
        "and fails requests while its model loads."
    ),
    remedy=(
        "Plan it with trivet.integration.plan_rollback: percentage 0 while the earlier revision runs, otherwise the earlier model as a "
        "new revision."
    ),
    sources=(
        "measured (KServe 0.14.1, Knative 1.15): canaryTrafficPercent 0 after a promotion caused a stall of 10 s and 15 s of HTTP 400, "
        "while the service stayed Ready=True",
        "knative.dev/serving pkg/reconciler/autoscaling: min-scale holds for reachable revisions only",
        "measured (KServe 0.14.1, Knative 1.15, readiness probe on the model): 14 s after a promotion the earlier revision's pod ends, "
        "and percentage 0 then stalls 9 s; with the HPA class the pod stays, and percentage 0 takes 2 to 10 s",
    ),
)
def rollback_loses_no_request(rollout: Rollout) -> Iterator[Finding]:
    for name in (
        RolloutChange.ABORTED,
        RolloutChange.ROLLED_BACK,
        *((RolloutChange.RESTORED,) if _ran_on(rollout) else ()),
    ):
        yield _lossless(rollout, _step(rollout, name))


@contract(
    title="The status of an InferenceService must name the revisions that serve the traffic",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=FEATURES,
    rationale=(
        "During an incident with wrong answers the status shows which model gives them; a rollback is planned from it too."
    ),
    remedy="Compare status.components.predictor.traffic with the route of the Knative service and with the ingress.",
    sources=("kserve 0.14.1 and 0.20.0 pkg/apis/serving/v1beta1/inference_service_status.go, PropagateStatus",),
)
def status_names_the_serving_revisions(rollout: Rollout) -> Iterator[Finding]:
    yield _named(rollout, f"at {rollout.percent} %", rollout.split_service or {}, rollout.split)
    for name in (
        RolloutChange.ABORTED,
        RolloutChange.PROMOTED,
        RolloutChange.ROLLED_BACK,
        *((RolloutChange.RESTORED,) if _ran_on(rollout) else ()),
    ):
        step = _step(rollout, name)
        if step.settled is None:
            yield inconclusive(f"{name}: {rollout.failure}")
        else:
            tail = _window(rollout, step.settled + LAG, step.ended)
            yield _named(rollout, f"after {name}", step.service, tail)


def _named(rollout: Rollout, when: str, service: Mapping[str, Any], answers: Sequence[Answer]) -> Finding:
    shares = traffic_shares(service)
    proof = (
        evidence(
            "traffic by the status",
            "table",
            {name: f"{shares[name]} % {rollout.uris.get(name, '')}" for name in shares},
        ),
        _answers("answers", answers),
    )
    models = {model.storage_uri: model.name for model in (rollout.stable, rollout.canary)}
    named = {models.get(rollout.uris.get(revision, ""), revision) for revision in shares}
    races = _races(answers)
    answers = [answer for answer in answers if answer not in races]
    answering = {_whose(answer, rollout) or "neither model" for answer in answers}
    if not shares or not answers:
        return inconclusive(f"{when} there is {'no answer' if shares else 'no traffic in the status'}", evidence=proof)
    if named != answering:
        return failed(
            f"{when} the status names {_list(named)} ({_list(shares)}), but {_list(answering)} answered", evidence=proof
        )
    return passed(
        f"{when} the status names {_list(shares)}, of {_list(named)}, which {len(answers)} answers confirm{_aside(races)}",
        evidence=proof,
    )


def _lossless(rollout: Rollout, step: RolloutStep) -> Finding:
    """Judge the window around a step: one of the two models must answer every request within the client timeout."""
    answers = _window(rollout, step.began - BEFORE, step.ended)
    lost = [answer for answer in answers if not _whose(answer, rollout) or answer.seconds > CLIENT_TIMEOUT]
    races = _races(answers)
    lost = [answer for answer in lost if answer not in races]
    span = f"{step.ended - step.began + BEFORE:.0f} s around {step.name}"
    proof = (
        _answers(f"lost around {step.name}", [*lost, *races] or answers[:5]),
        evidence("the change", "manifest", step.change),
    )
    if lost:
        first, last = lost[0].at - step.began, lost[-1].at - step.began
        return failed(
            f"{len(lost)} of {len(answers)} requests in the {span} were lost, sent from {first:+.1f} s to {last:+.1f} s relative to it; "
            f"the first: {lost[0]}",
            evidence=proof,
        )
    if len(answers) < FEWEST:
        return inconclusive(f"only {len(answers)} requests in the {span}, fewer than {FEWEST}", evidence=proof)
    if step.settled is None:
        return inconclusive(f"{step.name} did not complete: {rollout.failure}", evidence=proof)
    slowest = max(answer.seconds for answer in answers)
    return passed(
        f"{len(answers) - len(races)} requests in the {span} were answered, the slowest after {slowest:.1f} s{_aside(races)}; the change "
        f"took {step.settled - step.began:.1f} s",
        evidence=proof,
    )


def _races(answers: Sequence[Answer]) -> list[Answer]:
    """The requests that hit a connection that the runtime was closing; none of them if they are more than such a race explains."""
    races = [answer for answer in answers if answer.status == 502 and RACE.search(str(answer.body))]
    return races if len(races) <= max(1, RACES * len(answers)) else []


def _aside(races: Sequence[Answer]) -> str:
    return f", {len(races)} more hit a connection that the runtime was closing" if races else ""


def _ran_on(rollout: Rollout) -> bool:
    """Whether the first rollback was to a running revision, so that the roll-out went on to test a rollback to an earlier model."""
    back = rollout.step(RolloutChange.ROLLED_BACK)
    return back is not None and back.change == canary_patch(0) and rollout.last == RolloutChange.RESTORED


def _window(rollout: Rollout, begin: float, end: float) -> list[Answer]:
    return rollout.stream.between(begin, end) if rollout.stream else []


def _step(rollout: Rollout, name: RolloutChange) -> RolloutStep:
    step = rollout.step(name)
    if step is None:
        raise CannotTell(f"the roll-out did not reach its step {name!r}: {rollout.failure or 'the step was skipped'}")
    return step


def _whose(answer: Answer, rollout: Rollout) -> str:
    """The model that gave an answer; empty if neither did."""
    return next((model.name for model in (rollout.stable, rollout.canary) if _is_of(answer, model)), "")


def _is_of(answer: Answer, model: ServableModel) -> bool:
    if answer.status != 200:
        return False
    try:
        return same_values(v2_values(answer.body), model.answer)
    except PlatformError:
        return False


def _answers(name: str, answers: Sequence[Answer]) -> Evidence:
    return evidence(name, "table", [vars(answer) for answer in answers[:20]])


def _list(names: Mapping[str, int] | set[str]) -> str:
    if isinstance(names, Mapping):
        return " and ".join(f"{name} at {percent} %" for name, percent in sorted(names.items())) or "nobody"
    return " and ".join(sorted(names)) or "nobody"
