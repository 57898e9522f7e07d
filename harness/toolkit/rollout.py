"""Drives one roll-out by the core library's plans, under traffic: deploy, canary, abort, resume, promote, roll back; where the earlier
revision still ran then, promote once more and roll back as if it did not.

It records and judges nothing: several contracts read one record, as they read one handover. The two models answer the same request with
different values, so that an answer tells which of them gave it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from trivet.errors import TrivetError
from trivet.integration import (
    RollbackPlan,
    canary_patch,
    newest_revision,
    plan_rollback,
    promotion_patch,
    traffic_shares,
    v2_request,
)
from trivet.model.clients import Background, ClusterClient, TrafficClient
from trivet.model.handover import ServableModel
from trivet.model.rollout import Rollout, RolloutChange, RolloutStep
from trivet.toolkit.models import DEFAULT_ROWS, ModelMaker
from trivet.toolkit.readiness import SERVICE_LABEL, ready_pods
from trivet.toolkit.services import Service, deployed, minimal_service, wait_for_service

SERVICE = "rolling-classifier"

RATE = 5.0
"""Requests per second in the background: enough to see a gap of a second, little beside what the models can answer."""
PERCENT = 20
SPLIT = 1000
"""Answers over which the split is counted; what they can show is planned in the contract that judges them."""
FIRST = 10
LEAD = 3.0
HOLD = 5.0
"""Seconds of traffic before the first step, and after each one."""

SETTLED = 180.0
"""Seconds within which the service must show a change. A pod starts in 20 to 40 on two busy cores."""

SOURCE_URI = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""The annotation by which KServe tells its pod webhook what to fetch (kserve 0.14.1 and 0.20.0 pkg/constants/constants.go)."""

RollbackPlanner = Callable[[Service, Service], RollbackPlan]
"""Plans a rollback from the service as it is and as it was before the roll-out."""


def drive(
    *,
    cluster: ClusterClient,
    traffic: TrafficClient,
    models: ModelMaker,
    deployment: Mapping[str, Any] | None = None,
    name: str = SERVICE,
    alter: Callable[[dict[str, Any]], dict[str, Any]] = lambda service: service,
    rollback: RollbackPlanner | None = None,
    last: RolloutChange = RolloutChange.RESTORED,
    load_seconds: float = 0.0,
) -> Rollout:
    """Deploy a model, roll a second one out beside it and back, and remove the service again.

    ``deployment`` is what the platform at hand needs of ``build_inference_service`` (mode, autoscaler). ``alter`` changes each
    InferenceService before it is applied, and ``rollback`` plans the rollback after the promotion: where they are given, what happens is
    not what the core library would do. ``last`` is the step to end with, and the models take ``load_seconds`` longer to load than they
    would. Raises CannotTell when not even the first model gets ready.
    """
    request = v2_request(None, DEFAULT_ROWS)
    registered = f"trivet-{name}-{uuid4().hex[:8]}"
    made: list[ServableModel] = []
    services: list[dict[str, Any]] = []
    for offset in (0, 10):
        model = models.make(
            f"model with labels from {offset}", register_as=registered, label_offset=offset, load_seconds=load_seconds
        )
        made.append(replace(model, name=f"version {model.version}"))
        built = minimal_service(
            name,
            model,
            exists=bool(services),
            canary_percent=PERCENT if services else None,
            **{**(deployment or {}), "namespace": cluster.namespace, "min_replicas": 1, "max_replicas": 1},
        )
        services.append(alter(built))
    with deployed(cluster, services[0]) as stable:
        ready = time.monotonic()
        first = traffic.send(name, request, times=FIRST, concurrency=1)
        with traffic.background(name, request, rate=RATE) as background:
            run = _Run(cluster, traffic, background, name, services[1], stable, rollback, last)
            try:
                run.go(request)
            except TrivetError as error:
                run.failure = run.failure or error.message
        return Rollout(
            stable=made[0],
            canary=made[1],
            applied=services[1],
            ready=ready,
            first=first,
            steps=run.steps,
            last=last,
            percent=PERCENT,
            split=run.split,
            split_service=run.split_service,
            stream=background.stream,
            uris=_uris(cluster, name),
            failure=run.failure,
        )


class _Run:
    """The steps of one roll-out, recorded as far as it gets."""

    def __init__(
        self,
        cluster: ClusterClient,
        traffic: TrafficClient,
        background: Background,
        name: str,
        candidate: Service,
        stable: Service,
        rollback: RollbackPlanner | None,
        last: RolloutChange,
    ) -> None:
        self._cluster = cluster
        self._traffic = traffic
        self._background = background
        self._name = name
        self._candidate = candidate
        self._stable = stable
        self._plan_rollback = rollback or self._plan_by_pods
        self._last = last
        self.steps: list[RolloutStep] = []
        self.split: list[Any] = []
        self.split_service: Service | None = None
        self.failure = ""

    def go(self, request: Service) -> None:
        old = newest_revision(self._stable)
        time.sleep(LEAD)
        observed = self._step(
            RolloutChange.CANARY,
            self._candidate,
            lambda seen: traffic_shares(seen).get(newest_revision(seen), 0) == PERCENT,
            apply=True,
        )
        new = newest_revision(observed)
        self.split = self._traffic.send(self._name, request, times=SPLIT)
        self.split_service = self._cluster.get("inferenceservice", self._name)
        self._step(
            RolloutChange.ABORTED, plan_rollback(observed).patch, lambda seen: traffic_shares(seen) == {old: 100}
        )
        self._step(
            RolloutChange.RESUMED,
            canary_patch(PERCENT),
            lambda seen: traffic_shares(seen) == {new: PERCENT, old: 100 - PERCENT},
        )
        promoted = self._step(
            RolloutChange.PROMOTED,
            promotion_patch(),
            lambda seen: traffic_shares(seen) == {new: 100} and _rolled_out(seen) == new,
        )
        plan = self._plan_rollback(promoted, self._stable)
        self._step(RolloutChange.ROLLED_BACK, plan.patch, lambda seen: _is_back(seen, plan, new))
        if plan.revision and self._last == RolloutChange.RESTORED:
            self._step(
                RolloutChange.REPEATED,
                promotion_patch(),
                lambda seen: traffic_shares(seen) == {new: 100} and _rolled_out(seen) == new,
            )
            redeploy = plan_rollback(promoted, previous=self._stable)
            self._step(RolloutChange.RESTORED, redeploy.patch, lambda seen: _is_back(seen, redeploy, new))

    def _plan_by_pods(self, observed: Service, previous: Service) -> RollbackPlan:
        """The core library's plan, which depends on whether the earlier revision has a ready pod that is not terminating."""
        old = newest_revision(previous)
        found = self._cluster.get("pod", selector=f"serving.knative.dev/revision={old}") or {}
        warm = bool(ready_pods(found.get("items") or ()))
        return plan_rollback(observed, previous=previous, previous_is_warm=warm)

    def _step(
        self, name: RolloutChange, change: Service, holds: Callable[[Service], bool], *, apply: bool = False
    ) -> Service:
        began = self._background.mark(name)
        if apply:
            self._cluster.apply(change)
        else:
            self._cluster.patch("inferenceservice", self._name, change)
        observed: Service = {}
        settled: float | None = None
        try:
            observed = wait_for_service(
                self._cluster, self._name, f"to show the effect of: {name}", holds, timeout=SETTLED
            )
            settled = self._background.mark(f"{name}: settled")
            time.sleep(HOLD)
        finally:
            ended = time.monotonic()
            self.steps.append(
                RolloutStep(name=name, change=change, began=began, settled=settled, ended=ended, service=observed)
            )
        return observed


def _is_back(observed: Service, plan: RollbackPlan, from_revision: str) -> bool:
    """Whether all traffic is where a rollback wants it: at a revision that there is, or at one newer than ``from_revision``."""
    newest = newest_revision(observed)
    if plan.revision:
        return traffic_shares(observed) == {plan.revision: 100}
    return newest not in ("", from_revision) and traffic_shares(observed) == {newest: 100}


def _rolled_out(observed: Service) -> str:
    component = ((observed.get("status") or {}).get("components") or {}).get("predictor") or {}
    return str(component.get("latestRolledoutRevision") or "")


def _uris(cluster: ClusterClient, name: str) -> dict[str, str]:
    found = cluster.get("revision.serving.knative.dev", selector=f"{SERVICE_LABEL}={name}") or {}
    return {
        item["metadata"]["name"]: str((item["metadata"].get("annotations") or {}).get(SOURCE_URI, ""))
        for item in found.get("items") or ()
    }
