"""Guards: what refuses scenarios before anything is touched. Each says why, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trivet.errors import UsageError
from trivet.model.clients import FaultClient
from trivet.model.fault import PLATFORM
from trivet.model.scenario import Scenario

OWN_TARGETS = ("kind",)
"""Targets whose cluster is trivet's own."""
MOST_OBJECTS = 10
"""Objects that one scenario may touch."""


def check_target(target: str, *, allow_faults: bool, context: str) -> None:
    """Refuse a cluster that is not trivet's own, unless faults were allowed and its context was named. Raises UsageError."""
    if target in OWN_TARGETS:
        return
    if not allow_faults:
        raise UsageError(
            f"the target {target!r} is not a cluster of trivet's own, and scenarios disturb what they run on",
            remedy="use --target kind, or say --allow-faults and name the context",
        )
    if not context:
        raise UsageError(
            "faults are allowed, and no context is named: the current one is nobody's choice",
            remedy="name it: --context, or context in [tool.trivet.existing]",
        )


def check_cluster(scenarios: Sequence[Scenario], faults: FaultClient, *, allow_faults: bool) -> None:
    """Refuse what the cluster at hand does not allow: not owned, namespaces not ours, too many objects. Raises UsageError."""
    found = list(_objections(scenarios, faults, allow_faults))
    if found:
        raise UsageError(
            "; ".join(found), remedy="leave these scenarios out, or use a cluster of trivet's own (--target kind)"
        )


def _objections(scenarios: Sequence[Scenario], faults: FaultClient, allow_faults: bool) -> Iterator[str]:
    if not faults.owned and not allow_faults:
        yield f"the cluster of context {faults.context!r} is not trivet's own, and --allow-faults was not said"
    for scenario in scenarios:
        for touch in scenario.affected_objects:
            if touch.namespace not in faults.namespaces:
                whose = "the shared services" if touch.namespace == PLATFORM else f"the role {touch.namespace!r}"
                yield f"{scenario.id} would {touch}, and on this cluster no fault may touch the namespace of {whose}"
        count = sum(touch.count for touch in scenario.affected_objects)
        if count > MOST_OBJECTS:
            yield f"{scenario.id} touches up to {count} objects, and {MOST_OBJECTS} are the most"
