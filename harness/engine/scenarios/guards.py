"""Guards: they refuse scenarios before anything is changed, with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trivet.errors import UsageError
from trivet.model.clients import FaultClient
from trivet.model.fault import PLATFORM
from trivet.model.scenario import Scenario
from trivet.model.target import Target

MOST_OBJECTS = 10
"""Objects that one scenario may change."""


def check_target(target: Target, *, allow_faults: bool, context: str) -> None:
    """Refuse a cluster that is not trivet's own, unless faults are allowed and its context is named. Raises UsageError."""
    if getattr(target, "owns_cluster", False):
        return
    if not allow_faults:
        raise UsageError(
            f"the target {target.name!r} is not a cluster of trivet's own, and scenarios inject faults",
            remedy="use --target kind, or pass --allow-faults and name the context",
        )
    if not context:
        raise UsageError(
            "faults are allowed, and no context is named; the current context is not used by default",
            remedy="name it: --context, or context in [tool.trivet.existing]",
        )


def check_cluster(scenarios: Sequence[Scenario], faults: FaultClient, *, allow_faults: bool) -> None:
    """Refuse scenarios that this cluster does not allow: not owned, foreign namespaces, too many objects. Raises UsageError."""
    found = list(_objections(scenarios, faults, allow_faults))
    if found:
        raise UsageError(
            "; ".join(found), remedy="leave these scenarios out, or use a cluster of trivet's own (--target kind)"
        )


def _objections(scenarios: Sequence[Scenario], faults: FaultClient, allow_faults: bool) -> Iterator[str]:
    if not faults.owned and not allow_faults:
        yield f"the cluster of context {faults.context!r} is not trivet's own, and --allow-faults is not given"
    for scenario in scenarios:
        for affected in scenario.affected_objects:
            if affected.namespace not in faults.namespaces:
                whose = "the shared services" if affected.namespace == PLATFORM else f"the role {affected.namespace!r}"
                yield f"{scenario.id} would {affected}, and on this cluster no fault may change the namespace of {whose}"
        count = sum(affected.count for affected in scenario.affected_objects)
        if count > MOST_OBJECTS:
            yield f"{scenario.id} affects up to {count} objects; the maximum is {MOST_OBJECTS}"
