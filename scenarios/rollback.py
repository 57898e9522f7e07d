"""A rollback to a revision that is scaled to zero: how many requests it loses, by how it is done and how it is prepared."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import (
    CANARY_TRAFFIC,
    DEFAULT_ROWS,
    FAULT,
    SCALE_TO_ZERO,
    SERVING,
    AffectedObject,
    Budgets,
    CannotTell,
    Case,
    Claim,
    ClusterClient,
    Fault,
    FaultInjector,
    ModelMaker,
    NotYet,
    Observation,
    Probed,
    ServableModel,
    TrafficClient,
    Verb,
    Watch,
    Workload,
    answered_by,
    eventually,
    remedied,
    scenario,
    symptom_not_observed,
    symptom_observed,
    unprotected,
    wait_for_service,
)
from trivet.integration import (
    canary_patch,
    is_ready,
    newest_revision,
    plan_rollback,
    promotion_patch,
    traffic_shares,
    v2_request,
)
from trivet.scenarios import _deployments
from trivet.scenarios._deployments import (
    READY,
    SCALED_DOWN,
    SETTLED,
    Document,
    answered_only_by,
    ask_revisions,
    ready_pods_by_revision,
)

NAME = "returning-classifier"
# Two changes: one variant first sends 1 % of the traffic to the old revision.
SERVICE = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=NAME, namespace=SERVING, count=2)
MIN_SCALE, INITIAL_SCALE = "autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/initial-scale"
"""The least number of pods of a revision, and its initial number. KServe sets the first one itself, from minReplicas."""
RETENTION = "autoscaling.knative.dev/scale-to-zero-pod-retention-period"
DEADLINE = "serving.knative.dev/progress-deadline"
WITHOUT_PROBE = ("percent-zero", "quick-model")
REDEPLOYING = ("uri-swap", "reapply", "library")
"""Variants that deploy the earlier model again, so that the state of its first revision does not matter."""
KEEPING = ("min-scale", "retention", "canary-share")
"""Variants whose remedy is to keep the pod of the earlier revision."""
KEPT = 45.0
"""Seconds after which a remaining pod counts as kept; measured: without a remedy it was gone 14 s after the promotion."""
COLD_START = 120.0
"""Seconds until a revision at zero must answer."""
LOADING = 15.0
"""Seconds that the models take to load, like real ones: what a pod answers meanwhile must not depend on the machine's speed."""
AFTER = 40.0
"""Seconds of traffic after the earlier model answers: a pod starts in 20 to 40 s on two busy cores."""


@scenario(
    title="Rolling back to a revision that is scaled to zero loses requests",
    happens=(
        "A new model is promoted to all traffic, and Knative scales the previous revision to zero: minReplicas applies only to revisions "
        "with traffic. The rollback routes every request to a revision without a pod; they wait for its cold start, and are answered "
        "HTTP 400 while the pod is ready and its model is not loaded."
    ),
    recognise=(
        "Right after the rollback all requests stall for the cold start of a pod, then fail with 'Model … is not ready yet', while the "
        "InferenceService stays Ready=True; the old revision's deployment had 0 replicas."
    ),
    remedy=(
        "Roll back with trivet.integration.plan_rollback, which redeploys the earlier model and lets Knative move the traffic when it is "
        "ready; and give services a readiness probe for the model."
    ),
    variants=(
        unprotected("percent-zero", "canaryTrafficPercent: 0, with KServe's runtime as it is and minReplicas 1"),
        unprotected(
            "quick-model", "the same, with a model that loads at once, within the probe's threshold", extended=True
        ),
        remedied("model-probe", "the same, with a readiness probe for the model", protects=False, extended=True),
        remedied(
            "tolerant-probe",
            "the same, with a probe that may fail for 10 minutes and a progress deadline of 20 minutes",
            protects=False,
            extended=True,
        ),
        remedied(
            "min-scale",
            "the same, with the probe, and min-scale and initial-scale 1 on every revision",
            protects=False,
            extended=True,
        ),
        remedied(
            "retention",
            "the same, with the probe and a pod retention of 10 minutes on every revision",
            protects=False,
            extended=True,
        ),
        remedied(
            "canary-share",
            "the same, with the probe, the old revision kept at 1 % of the traffic until then",
            extended=True,
        ),
        remedied(
            "share-first",
            "the same, with the probe, after 1 % of the traffic scaled the old revision up",
            protects=False,
            extended=True,
        ),
        remedied(
            "request-first",
            "the same, with the probe, after a request to the old revision's own Service scaled it up",
            extended=True,
        ),
        remedied("uri-swap", "the storage URI is patched back to the earlier model's, with the probe", extended=True),
        remedied("reapply", "the earlier manifest is applied again, with the probe", extended=True),
        remedied("library", "the change that trivet.integration.plan_rollback plans, with the probe"),
    ),
    affected_objects=(SERVICE,),
    budgets=Budgets(steady_state=120, symptom=COLD_START + AFTER, recovery=240),
    features=(CANARY_TRAFFIC, SCALE_TO_ZERO),
    claims=(
        Claim(
            text="minReplicas ≥ 1 keeps the previous revision warm.",
            holds=False,
            found=(
                "the previous revision is scaled to zero as soon as it has no traffic, with minReplicas 1 and with min-scale, "
                "initial-scale or a pod retention on the revision itself"
            ),
            variants=("percent-zero", "model-probe", "min-scale", "retention"),
        ),
        Claim(
            text="A longer readiness probe makes the rollback work.",
            holds=False,
            found=(
                "a probe for the model prevents the HTTP 400 while it loads; requests still wait for the pod's cold start, however long "
                "the probe may fail and the progress deadline is"
            ),
            variants=("model-probe", "tolerant-probe"),
        ),
        Claim(
            text="Rolling back by swapping the storage URI avoids the cold start of a revision at zero.",
            holds=True,
            found="a new revision is started beside the serving one, and gets the traffic when it is ready",
            variants=("uri-swap", "reapply", "library"),
        ),
        Claim(
            text="Keeping the previous revision at a small share of the traffic keeps it warm for a rollback.",
            holds=True,
            found=(
                "with 1 % it keeps its pod, and the rollback loses nothing; if the revision is at zero already, the 1 % wait for the cold "
                "start, which a request to the revision's own Service triggers without affecting a client"
            ),
            variants=("canary-share", "share-first", "request-first"),
        ),
    ),
    sources=("knative.dev/serving pkg/reconciler/autoscaling: min-scale applies to reachable revisions only",),
)
def revision_at_zero(
    cluster: ClusterClient,
    traffic: TrafficClient,
    models: ModelMaker,
    variant: str,
) -> Iterator[Case]:
    loading = 0.0 if variant == "quick-model" else LOADING
    old, new = (
        models.make(f"{which} model, loading {loading:g} s", label_offset=offset, load_seconds=loading)
        for which, offset in (("earlier", 0), ("new", 10))
    )
    workload = Workload(
        service=NAME,
        request=v2_request(None, DEFAULT_ROWS),
        models={one.name: one.answer for one in (old, new)},
        # At this rate the 1 % has requests before the revision is up.
        rate=20.0 if variant == "share-first" else 5.0,
    )

    try:
        cluster.apply(service(cluster, old, variant))
        stable = wait_for_service(cluster, NAME, "to be Ready", is_ready, timeout=READY)
        before = newest_revision(stable)
        cluster.apply(service(cluster, new, variant))
        wait_for_service(
            cluster,
            NAME,
            "to have a second ready revision",
            lambda observed: newest_revision(observed) not in ("", before),
            timeout=READY,
        )
        keep = canary_patch(99) if variant == "canary-share" else promotion_patch()
        cluster.patch("inferenceservice", NAME, keep)
        share = {before: 1} if variant == "canary-share" else {}
        wait_for_service(
            cluster,
            NAME,
            "to give the second revision its traffic",
            lambda observed: (
                traffic_shares(observed) == {newest_revision(observed): 100 - sum(share.values()), **share}
            ),
            timeout=SETTLED,
        )
        if variant not in REDEPLOYING:
            _await_scale_down(cluster, before, variant)
        yield Case(
            fault=_rolled_back(cluster, variant, stable, old, before, workload),
            steady_state=lambda: (_answered_mostly_by if variant == "canary-share" else answered_only_by)(
                traffic, workload, new.name
            ),
            symptom=lambda watch: _observe(watch, workload, old),
            workload=workload,
            gauges={"pods ready": lambda: ready_pods_by_revision(cluster, NAME)},
        )
    finally:
        cluster.delete("inferenceservice", NAME)


def _observe(watch: Watch, workload: Workload, old: ServableModel) -> Observation:
    """Whether clients lost requests since the rollback; first that the earlier model answers."""
    watch.eventually(
        f"{old.name} to answer",
        watch.answers_so_far,
        until=lambda answers: any(answered_by(answer, workload.models) == old.name for answer in answers),
        describe=lambda answers: str(answers[-1]) if answers else "no answer",
    )
    watch.wait(AFTER)
    last = [answered_by(answer, workload.models) for answer in watch.answers(FAULT)[-5:]]
    if set(last) != {old.name}:
        raise CannotTell(
            f"the rollback is not complete: the last answers are of {', '.join(one or 'no model' for one in last)}, expected {old.name}"
        )
    watch.settle()
    outage = watch.outage()
    result = symptom_observed if outage.lost else symptom_not_observed
    return result(
        str(outage),
        requests=outage.requests,
        lost=outage.lost,
        errors=outage.errors,
        outage_seconds=outage.seconds,
        slowest_seconds=outage.stall,
    )


def _await_scale_down(cluster: ClusterClient, before: str, variant: str) -> None:
    """Wait until the earlier revision has no ready pod; in a variant whose remedy keeps it, until it counts as kept."""
    deadline = time.monotonic() + KEPT

    eventually(
        f"{before} to be scaled to zero",
        lambda: ready_pods_by_revision(cluster, NAME),
        until=lambda pods: (variant in KEEPING and time.monotonic() > deadline) or not pods.get(before),
        describe=lambda pods: f"ready pods by revision: {pods}",
        timeout=SCALED_DOWN,
    )
    if variant == "min-scale":
        found = cluster.get("revision.serving.knative.dev", before) or {}
        annotations = (found.get("metadata") or {}).get("annotations") or {}
        if (annotations.get(MIN_SCALE), annotations.get(INITIAL_SCALE)) != ("1", "1"):
            raise CannotTell(f"the remedy's annotations are missing from {before}: {annotations}")


def _rolled_back(
    cluster: ClusterClient, variant: str, stable: Mapping[str, Any], old: ServableModel, before: str, workload: Workload
) -> Fault:
    observed = cluster.get("inferenceservice", NAME) or {}
    current = newest_revision(observed)
    if variant == "uri-swap":
        patch: Mapping[str, Any] = _deployments.model_patch(old)
    elif variant == "reapply":
        patch = {key: stable[key] for key in ("spec",)}
    elif variant == "library":
        patch = plan_rollback(observed, previous=stable).patch
    else:
        patch = canary_patch(0)
    target = before if patch == canary_patch(0) else ""

    def inject(injector: FaultInjector) -> None:
        if variant == "share-first":
            injector.patch("inferenceservice", NAME, canary_patch(99), namespace=SERVING)
            eventually(
                f"{before} to have a ready pod",
                lambda: ready_pods_by_revision(cluster, NAME),
                until=lambda pods: pods.get(before),
                describe=lambda pods: f"ready pods by revision: {pods}",
                timeout=COLD_START,
            )
        elif variant == "request-first":
            status, body = ask_revisions(cluster, NAME, (before,), workload.request, timeout=COLD_START)[before]
            if status != 200:
                raise CannotTell(f"the request that should scale {before} up was answered with HTTP {status}: {body}")
        injector.patch("inferenceservice", NAME, patch, namespace=SERVING)

    def verify_injected(injector: FaultInjector) -> Probed:
        found = injector.get("inferenceservice", NAME, namespace=SERVING) or {}
        revision = target or newest_revision(found)
        complete = revision not in ("", current) and traffic_shares(found) == {revision: 100}
        return (
            f"the status gives {revision} all traffic"
            if complete
            else NotYet(f"traffic by revision: {traffic_shares(found)}")
        )

    return Fault(
        name="the rollback", affected_objects=(SERVICE,), inject=inject, verify_injected=verify_injected, budget=SETTLED
    )


def service(cluster: ClusterClient, model: ServableModel, variant: str) -> Document:
    """The InferenceService for one of the two models, prepared for the variant."""
    document = _deployments.service(NAME, model, cluster)
    annotations = document["metadata"]["annotations"]
    if variant in WITHOUT_PROBE:
        return _deployments.without_probe(document)
    if variant == "retention":
        annotations[RETENTION] = "10m"
    elif variant == "min-scale":
        annotations |= {MIN_SCALE: "1", INITIAL_SCALE: "1"}
    elif variant == "tolerant-probe":
        annotations[DEADLINE] = "20m"
        probe = document["spec"]["predictor"]["model"]["readinessProbe"]
        probe["failureThreshold"] = 600 // probe["periodSeconds"]
    return document


def _answered_mostly_by(traffic: TrafficClient, workload: Workload, new: str) -> Probed:
    """Like ``answered_only_by`` where the earlier model answers 1 % of the requests."""
    answers = [
        answered_by(a, workload.models)
        for a in traffic.send(NAME, workload.request, times=5, concurrency=1, timeout=10)
    ]
    shown = f"{answers.count(new)} of 5 answers are of {new}"
    return shown if all(answers) and new in answers else NotYet(f"{shown}, {answers.count('')} of no model")
