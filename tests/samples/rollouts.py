"""Roll-outs for tests: what the driver would record of a sound one, second by second, for tests to spoil."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trivet.integration import canary_patch, promotion_patch
from trivet.model.handover import ServableModel
from trivet.model.rollout import Rollout, RolloutChange, RolloutStep
from trivet.model.traffic import Answer, Stream

OLD = ServableModel(name="version 1", storage_uri="s3://models/1/", answer=[1])
NEW = ServableModel(name="version 2", storage_uri="s3://models/2/", answer=[11])
URIS = {"c-00001": OLD.storage_uri, "c-00002": NEW.storage_uri, "c-00003": OLD.storage_uri}
STEPS: tuple[tuple[RolloutChange, Mapping[str, Any], Mapping[str, int]], ...] = (
    (RolloutChange.CANARY, {}, {"c-00001": 80, "c-00002": 20}),
    (RolloutChange.ABORTED, canary_patch(0), {"c-00001": 100}),
    (RolloutChange.RESUMED, canary_patch(20), {"c-00001": 80, "c-00002": 20}),
    (RolloutChange.PROMOTED, promotion_patch(), {"c-00002": 100}),
    (RolloutChange.ROLLED_BACK, canary_patch(0), {"c-00001": 100}),
    (RolloutChange.REPEATED, promotion_patch(), {"c-00002": 100}),
    (RolloutChange.RESTORED, {}, {"c-00003": 100}),
)
LENGTH = 10.0
"""Seconds from one step to the next; a step settles after 4 and ends after 9."""


def answer(at: float, value: int, *, status: int = 200, seconds: float = 0.02) -> Answer:
    """An answer of a model, or an error."""
    body: Any = {"outputs": [{"name": "predict", "shape": [1], "datatype": "INT64", "data": [value]}]}
    return Answer(at=at, seconds=seconds, status=status, body=body if status == 200 else {"error": "not ready yet"})


def service(traffic: Mapping[str, int]) -> dict[str, Any]:
    """An InferenceService whose status names this traffic."""
    targets = [{"revisionName": name, "percent": percent} for name, percent in traffic.items()]
    return {"status": {"components": {"predictor": {"traffic": targets}}}}


def stream(values: Sequence[Sequence[int]]) -> Stream:
    """Four requests a second; in each step the answers go around in ``values``, in the four seconds before it settles around all of both
    steps'."""
    answers = []
    for number, after in enumerate(values):
        before = values[number - 1] if number else [OLD.answer[0]]
        for quarter in range(int(LENGTH * 4)):
            choice = [*before, *after] if quarter < 16 else after
            answers.append(answer(number * LENGTH + quarter / 4, choice[quarter % len(choice)]))
    return Stream(request={}, rate=4.0, answers=answers, marks={})


def sound() -> Rollout:
    """A roll-out in which everything went well."""
    old, new = OLD.answer[0], NEW.answer[0]
    return Rollout(
        stable=OLD,
        canary=NEW,
        applied={},
        ready=-5.0,
        first=[answer(-4.8 + number / 10, old) for number in range(10)],
        steps=[
            RolloutStep(
                name=name,
                change=change,
                began=number * LENGTH,
                settled=number * LENGTH + 4,
                ended=number * LENGTH + 9,
                service=service(traffic),
            )
            for number, (name, change, traffic) in enumerate(STEPS)
        ],
        percent=20,
        split=[answer(5.0, new if number % 5 == 0 else old) for number in range(1000)],
        split_service=service(STEPS[0][2]),
        stream=stream([[old, new], [old], [old, new], [new], [old], [new], [old]]),
        uris=URIS,
    )
