"""The record of a canary roll-out: a second model beside the first, promoted and rolled back, with the answers that clients got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trivet.model.handover import ServableModel
from trivet.model.traffic import Answer, Stream


class RolloutChange(StrEnum):
    """The changes of a roll-out, in their order."""

    CANARY = "canary start"
    ABORTED = "canary rollback"
    RESUMED = "canary resumption"
    PROMOTED = "promotion"
    ROLLED_BACK = "rollback"
    REPEATED = "second promotion"
    RESTORED = "rollback by a new revision"


@dataclass(frozen=True, kw_only=True)
class RolloutStep:
    """One change of the InferenceService.

    The change was sent at ``began``. At ``settled`` the status reflected it (None: not before the timeout); ``service`` is the
    InferenceService at that time. Traffic continued until ``ended``. Times are of ``time.monotonic``.
    """

    name: RolloutChange
    change: Mapping[str, Any]
    began: float
    settled: float | None
    ended: float
    service: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The changes of one InferenceService in order, and what was observed. The answers of the two models differ.

    ``ready`` is the time of its first ``Ready=True``, ``first`` are the answers to the requests sent from then on. ``split`` are the
    answers while the canary had ``percent`` % of the traffic, ``split_service`` is the InferenceService after the last of them. ``stream``
    is the traffic from before the first step until after the last one. ``uris`` maps a revision to the storage URI of its pods. ``last`` is
    the final step; when steps before it are missing, ``failure`` says why. After a rollback that needed a new revision there are no more
    steps.
    """

    stable: ServableModel
    canary: ServableModel
    applied: Mapping[str, Any]
    ready: float
    first: Sequence[Answer]
    steps: Sequence[RolloutStep] = ()
    last: RolloutChange = RolloutChange.RESTORED
    percent: int = 0
    split: Sequence[Answer] = ()
    split_service: Mapping[str, Any] | None = None
    stream: Stream | None = None
    uris: Mapping[str, str]
    failure: str = ""

    def step(self, name: RolloutChange) -> RolloutStep | None:
        """The step of that name; None when it was not reached."""
        return next((step for step in self.steps if step.name == name), None)
