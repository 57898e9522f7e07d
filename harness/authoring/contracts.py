"""What a contract is written with: the ``@contract`` decorator and one function per outcome that a check may yield."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from trivet.errors import UsageError
from trivet.model.contract import STATIC_SUBJECTS, Check, Contract
from trivet.model.outcome import Level

MUST = Level.MUST
SHOULD = Level.SHOULD


def contract(
    *,
    title: str,
    level: Level,
    seam: tuple[str, str],
    rationale: str,
    remedy: str,
    versions: Mapping[str, str] | None = None,
    features: tuple[str, ...] = (),
    sources: tuple[str, ...] = (),
    since: str = "0.1",
) -> Callable[[Check], Contract]:
    """Make a function that yields findings into a contract.

    The id is ``module.function``. The function's parameters are the clients, or the one static subject, that it observes.
    ``title`` says what holds ("X must Y"), ``rationale`` what breaks otherwise, ``remedy`` what to do.
    """

    def make(check: Check) -> Contract:
        wants = tuple(inspect.signature(check).parameters)
        if sum(name in STATIC_SUBJECTS for name in wants) > 1:
            raise UsageError(
                f"contract {check.__name__} reads more than one of {', '.join(STATIC_SUBJECTS)}",
                remedy="split it: a static check runs once per subject",
            )
        return Contract(
            id=f"{check.__module__.rpartition('.')[2]}.{check.__name__}",
            title=title,
            level=level,
            seam=seam,
            rationale=rationale,
            remedy=remedy,
            check=check,
            wants=wants,
            versions=dict(versions or {}),
            features=features,
            sources=sources,
            since=since,
        )

    return make
