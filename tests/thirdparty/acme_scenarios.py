"""A third party's scenario in one module: Acme's feature store is stopped, and whether its model still answers.

Name the module under ``plugins`` in ``[tool.trivet]`` (or pass ``--plugin acme_scenarios``), and it is listed, planned and played like
trivet's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType

from trivet.authoring.scenarios import scenario, symptom_not_observed, symptom_observed, unprotected
from trivet.hookspecs import hookimpl
from trivet.model.fault import SERVING
from trivet.model.scenario import Case, Observation, Workload
from trivet.toolkit.faults import stopped
from trivet.toolkit.watch import Watch

AWAY = stopped("features", namespace=SERVING)


@scenario(
    title="The model does not answer without the feature store",
    happens="The feature store is stopped, and every request fails, those included that need no feature.",
    recognise="HTTP errors from the moment the store is away; the model's pods are well.",
    remedy="Answer with defaults.",
    variants=[unprotected("as-it-is", "the model as it is deployed", expected=None)],
    affected_objects=AWAY.affected_objects,
)
def feature_store_away(cluster) -> Iterator[Case]:  # type: ignore[no-untyped-def]
    def symptom(watch: Watch) -> Observation:
        watch.wait(2)
        outage = watch.outage(since="in effect")
        return symptom_observed(str(outage)) if outage.lost else symptom_not_observed(str(outage))

    def steady_state() -> str:
        return "a replica is there" if (cluster.get("deployment", "features") or {})["spec"]["replicas"] else ""

    yield Case(
        fault=AWAY,
        steady_state=steady_state,
        symptom=symptom,
        workload=Workload(service="classifier", request={"inputs": []}, rate=20),
    )


@hookimpl
def trivet_scenarios() -> Iterable[ModuleType]:
    """This module's scenarios."""
    return [sys.modules[__name__]]
