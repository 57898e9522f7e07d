"""A roll-out that was driven: a second model beside the first, promoted and rolled back, with the answers that clients got meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivet.model.traffic import Answer, Stream

CANARY = "canary begins"
ABORTED = "canary taken back"
RESUMED = "canary resumes"
PROMOTED = "promotion"
ROLLED_BACK = "rollback"
REPEATED = "second promotion"
RESTORED = "rollback by a new revision"


@dataclass(frozen=True, kw_only=True)
class RolloutModel:
    """One of the two models of a roll-out. ``answer`` is what the trainer says that it answers to the roll-out's request; no other model
    answers that."""

    name: str
    storage_uri: str
    answer: Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class RolloutStep:
    """One change of the service.

    It was sent at ``began``; at ``settled`` the service's status agreed with it (None: not before the deadline), and ``service`` is the
    InferenceService then. Traffic went on until ``ended``. Times are of ``time.monotonic``.
    """

    name: str
    change: Mapping[str, Any]
    began: float
    settled: float | None
    ended: float
    service: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What was done to one InferenceService, in order, and what came of it.

    ``ready`` is the time at which it first said ``Ready=True``, and ``first`` the answers to the requests sent from then on. ``split`` are
    answers while the canary had ``percent`` % of the traffic, ``split_service`` the InferenceService after the last of them. ``stream`` ran
    from before the first step to after the last one. ``uris`` maps a revision to the storage URI that its pods were made with. ``trouble``
    says why steps are missing before ``last``, the one to end with. After a rollback that needed a new revision there are no further ones.
    """

    stable: RolloutModel
    canary: RolloutModel
    applied: Mapping[str, Any]
    ready: float
    first: Sequence[Answer]
    steps: Sequence[RolloutStep] = ()
    last: str = RESTORED
    percent: int = 0
    split: Sequence[Answer] = ()
    split_service: Mapping[str, Any] | None = None
    stream: Stream | None = None
    uris: Mapping[str, str]
    trouble: str = ""

    def step(self, name: str) -> RolloutStep | None:
        """The step of that name, if it was come to."""
        return next((step for step in self.steps if step.name == name), None)
