"""A rollback to a revision that was scaled to zero: how many requests it loses, by the way that it is done and by how it was prepared."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring.scenarios import remedied, scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.errors import CannotTell
from trivet.integration import (
    TrackingApi,
    is_ready,
    newest_revision,
    promote,
    rollback,
    set_canary,
    shares,
    v2_request,
)
from trivet.model.clients import ClusterClient, FaultInjector, TrafficClient, TrainerClient
from trivet.model.fault import SERVING, AffectedObject, Fault, Verb
from trivet.model.feature import CANARY_TRAFFIC, SCALE_TO_ZERO
from trivet.model.handover import Handover
from trivet.model.scenario import Budgets, Case, Claim, Observation, Workload
from trivet.scenarios import deploying
from trivet.scenarios.deploying import READY, ROWS, SETTLED, ZERO, Document, Model, all_by, ask_revisions, pods
from trivet.toolkit.client_traffic import answered_by
from trivet.toolkit.rollout import wait_for
from trivet.toolkit.watch import FAULT, Watch, until

NAME = "returning-classifier"
# Who warms up first changes the service twice.
TOUCH = AffectedObject(verb=Verb.PATCH, kind="inferenceservice", name=NAME, namespace=SERVING, count=2)
MIN_SCALE, INITIAL_SCALE = "autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/initial-scale"
"""How many pods a revision has at least, and at its beginning. KServe writes the first one itself, from minReplicas."""
RETENTION = "autoscaling.knative.dev/scale-to-zero-pod-retention-period"
DEADLINE = "serving.knative.dev/progress-deadline"
WITHOUT_PROBE = ("percent-zero", "quick-model")
ANEW = ("uri-swap", "reapply", "library")
"""Variants in which the earlier model is deployed again, so that it does not matter what became of its first revision."""
KEEPING = ("scales", "retention", "canary-slice")
"""Variants whose remedy is to keep the pod of the earlier revision."""
KEPT = 45.0
"""Seconds after which a pod that is still there was kept: without a remedy it ended 14 s after the promotion."""
COLD = 120.0
"""Seconds that a revision at zero may take to answer."""
LOADING = 15.0
"""Seconds that the models take to load, as real ones do: what a pod answers meanwhile must not hang on the speed of the machine."""
AFTER = 40.0
"""Seconds of traffic after the rollback shows in the status: a pod starts in 20 to 40 s on two busy cores."""


@scenario(
    title="Rolling back to a revision that was scaled to zero loses requests",
    happens=(
        "A new model is promoted to all traffic, and Knative scales the revision before it to zero: minReplicas holds only for revisions "
        "with traffic. The rollback sends every request to a revision without a pod; they wait for its cold start, and are answered "
        "HTTP 400 while the pod is ready and its model is not loaded."
    ),
    recognise=(
        "Right after the rollback all requests stall for the cold start of a pod, then fail with 'Model … is not ready yet', while the "
        "InferenceService says Ready=True all along; the old revision's deployment had 0 replicas."
    ),
    remedy=(
        "Roll back with trivet.integration.rollback, which deploys the earlier model anew and lets Knative move the traffic when it is "
        "ready; and give services a readiness probe that asks for the model."
    ),
    variants=(
        unprotected("percent-zero", "canaryTrafficPercent: 0, the service as KServe's runtime has it, minReplicas 1"),
        unprotected(
            "quick-model", "the same, with a model that loads at once, in less than the probe's patience", extended=True
        ),
        remedied(
            "model-probe", "the same, with a readiness probe that asks for the model", protects=False, extended=True
        ),
        remedied(
            "patience",
            "the same, with a probe of 10 minutes' patience and a progress deadline of 20 minutes",
            protects=False,
            extended=True,
        ),
        remedied(
            "scales",
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
            "canary-slice",
            "the same, with the probe, the old revision kept at 1 % of the traffic until then",
            extended=True,
        ),
        remedied(
            "slice-first",
            "the same, with the probe, after 1 % of the traffic has woken the old revision",
            protects=False,
            extended=True,
        ),
        remedied(
            "woken",
            "the same, with the probe, after a request to the old revision's own Service has woken it",
            extended=True,
        ),
        remedied("uri-swap", "the storage URI of the earlier model, patched in, with the probe", extended=True),
        remedied("reapply", "the earlier manifest, with the probe", extended=True),
        remedied("library", "the change that trivet.integration.rollback plans, with the probe"),
    ),
    affected_objects=(TOUCH,),
    budgets=Budgets(steady_state=120, symptom=COLD + AFTER, recovery=240),
    features=(CANARY_TRAFFIC, SCALE_TO_ZERO),
    claims=(
        Claim(
            text="minReplicas ≥ 1 keeps the previous revision warm.",
            holds=False,
            found=(
                "the previous revision goes down to no pod as soon as it has no traffic, with minReplicas 1 and with min-scale, "
                "initial-scale or a pod retention on the revision itself"
            ),
            variants=("percent-zero", "model-probe", "scales", "retention"),
        ),
        Claim(
            text="A longer readiness probe makes the rollback work.",
            holds=False,
            found=(
                "a probe that asks for the model ends the HTTP 400 while it loads; the wait for the pod's cold start stays, however "
                "patient the probe and the progress deadline are"
            ),
            variants=("model-probe", "patience"),
        ),
        Claim(
            text="Rolling back by swapping the storage URI avoids the cold start of a revision at zero.",
            holds=True,
            found="a new revision is started beside the one that serves, and gets the traffic when it is ready",
            variants=("uri-swap", "reapply", "library"),
        ),
        Claim(
            text="Keeping the previous revision at a small share of the traffic keeps the way back warm.",
            holds=True,
            found=(
                "with 1 % it keeps its pod, and the rollback loses nothing; of a revision that is at zero already the 1 % wait for the "
                "cold start, where a request to the revision's own Service wakes it at no client's cost"
            ),
            variants=("canary-slice", "slice-first", "woken"),
        ),
    ),
    sources=("knative.dev/serving pkg/reconciler/autoscaling: min-scale holds for reachable revisions only",),
)
def revision_at_zero(
    cluster: ClusterClient,
    traffic: TrafficClient,
    trainer: TrainerClient,
    tracking: TrackingApi,
    handover: Handover,
    variant: str,
) -> Iterator[Case]:
    loading = 0.0 if variant == "quick-model" else LOADING
    old, new = (
        deploying.model(
            trainer,
            tracking,
            handover.artifact_root,
            key=f"{key} model, loading {loading:g} s",
            label_offset=offset,
            load_seconds=loading,
        )
        for key, offset in (("earlier", 0), ("new", 10))
    )
    workload = Workload(
        service=NAME,
        request=v2_request(None, ROWS),
        models={one.name: one.answer for one in (old, new)},
        # Of so many some are among the 1 %, however soon the revision is up.
        rate=20.0 if variant == "slice-first" else 5.0,
    )

    try:
        cluster.apply(service(cluster, old, variant))
        stable = wait_for(cluster, NAME, is_ready, "says Ready=True", seconds=READY)
        before = newest_revision(stable)
        cluster.apply(service(cluster, new, variant))
        wait_for(
            cluster,
            NAME,
            lambda seen: newest_revision(seen) not in ("", before),
            "has a second revision that is ready",
            seconds=READY,
        )
        keep = set_canary(99) if variant == "canary-slice" else promote()
        cluster.patch("inferenceservice", NAME, keep)
        share = {before: 1} if variant == "canary-slice" else {}
        wait_for(
            cluster,
            NAME,
            lambda seen: shares(seen) == {newest_revision(seen): 100 - sum(share.values()), **share},
            "gives the second revision its traffic",
            seconds=SETTLED,
        )
        if variant not in ANEW:
            _settle(cluster, before, variant)
        yield Case(
            fault=_rolled_back(cluster, variant, stable, old, before, workload),
            steady_state=lambda: (_mostly if variant == "canary-slice" else all_by)(traffic, workload, new.name),
            symptom=lambda watch: _lost(watch, workload, old),
            workload=workload,
            gauges={"pods ready": lambda: pods(cluster, NAME)},
        )
    finally:
        cluster.delete("inferenceservice", NAME)


def _lost(watch: Watch, workload: Workload, old: Model) -> Observation:
    """Whether clients lost anything since the rollback was sent; that they got to the earlier model, first of all."""
    watch.until(
        f"{old.name} answers",
        lambda: True if [a for a in watch.answers(FAULT) if answered_by(a, workload.models) == old.name] else None,
    )
    watch.wait(AFTER)
    last = [answered_by(answer, workload.models) for answer in watch.answers(FAULT)[-5:]]
    if set(last) != {old.name}:
        raise CannotTell(
            f"at the end not only {old.name} answered, so that the rollback is not shown: {', '.join(last)}"
        )
    watch.settle()
    outage = watch.outage()
    told = symptom_observed if outage.lost else symptom_not_observed
    return told(
        str(outage),
        requests=outage.requests,
        lost=outage.lost,
        errors=outage.errors,
        outage_seconds=outage.seconds,
        slowest_seconds=outage.stall,
    )


def _settle(cluster: ClusterClient, before: str, variant: str) -> None:
    """Wait until the earlier revision has no pod; in a variant that is to keep it, no longer than an unkept one would take."""
    deadline = time.monotonic() + KEPT

    def look() -> bool | None:
        kept = variant in KEEPING and time.monotonic() > deadline
        return True if kept or not pods(cluster, NAME).get(before) else None

    until(f"{before} has no pod", look, seconds=ZERO)
    if variant == "scales":
        found = cluster.get("revision.serving.knative.dev", before) or {}
        annotations = (found.get("metadata") or {}).get("annotations") or {}
        if (annotations.get(MIN_SCALE), annotations.get(INITIAL_SCALE)) != ("1", "1"):
            raise CannotTell(f"{before} is not annotated as the remedy has it: {annotations}")


def _rolled_back(
    cluster: ClusterClient, variant: str, stable: Mapping[str, Any], old: Model, before: str, workload: Workload
) -> Fault:
    observed = cluster.get("inferenceservice", NAME) or {}
    current = newest_revision(observed)
    if variant == "uri-swap":
        patch: Mapping[str, Any] = {"spec": {"predictor": {"model": {"storageUri": old.storage_uri}}}}
    elif variant == "reapply":
        patch = {key: stable[key] for key in ("spec",)}
    elif variant == "library":
        patch = rollback(observed, previous=stable).patch
    else:
        patch = set_canary(0)
    back = before if patch == set_canary(0) else ""

    def inject(injector: FaultInjector) -> None:
        if variant == "slice-first":
            injector.patch("inferenceservice", NAME, set_canary(99), namespace=SERVING)
            until(f"{before} has a pod", lambda: pods(cluster, NAME).get(before) or None, seconds=COLD)
        elif variant == "woken":
            status, said = ask_revisions(cluster, NAME, (before,), workload.request, timeout=COLD)[before]
            if status != 200:
                raise CannotTell(f"{before} was not woken by a request: {status} {said}")
        injector.patch("inferenceservice", NAME, patch, namespace=SERVING)

    def verify_injected(injector: FaultInjector) -> str:
        seen_ = injector.get("inferenceservice", NAME, namespace=SERVING) or {}
        said = shares(seen_)
        there = back or newest_revision(seen_)
        return f"the status gives {there} all traffic" if there not in ("", current) and said == {there: 100} else ""

    return Fault(
        name="the rollback", affected_objects=(TOUCH,), inject=inject, verify_injected=verify_injected, budget=SETTLED
    )


def service(cluster: ClusterClient, of: Model, variant: str) -> Document:
    """The InferenceService for one of the two models, prepared as the variant has it."""
    document = deploying.service(NAME, of, cluster)
    annotations = document["metadata"]["annotations"]
    if variant in WITHOUT_PROBE:
        return deploying.without_probe(document)
    if variant == "retention":
        annotations[RETENTION] = "10m"
    elif variant == "scales":
        annotations |= {MIN_SCALE: "1", INITIAL_SCALE: "1"}
    elif variant == "patience":
        annotations[DEADLINE] = "20m"
        probe = document["spec"]["predictor"]["model"]["readinessProbe"]
        probe["failureThreshold"] = 600 // probe["periodSeconds"]
    return document


def _mostly(traffic: TrafficClient, workload: Workload, new: str) -> str:
    """With 1 % at the earlier model single answers are its own; both are well."""
    answers = [
        answered_by(a, workload.models) for a in traffic.send(NAME, workload.request, times=5, at_once=1, timeout=10)
    ]
    return f"{answers.count(new)} of 5 answers are of {new}" if all(answers) and new in answers else ""
