"""The driver of a roll-out, on a fake cluster whose controller acts at once: the order of steps, both ways back, and what is left."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from trivet.errors import CannotTell
from trivet.model.rollout import Rollout, RolloutChange
from trivet.model.traffic import Answer, Stream
from trivet.toolkit import models
from trivet.toolkit import rollout as driver
from trivet.toolkit.rollout import SOURCE_URI, drive
from trivet.toolkit.services import deployed


class Controller:
    """KServe and Knative for one service: a revision per predictor, traffic by the percentage, all in no time."""

    namespace = "serving"

    def __init__(self, *, warm: bool = True, stuck: str = "") -> None:
        self.warm = warm
        self.stuck = stuck
        self.service: dict[str, Any] = {}
        self.models: list[str] = []
        self.rolled_out = ""
        self.before = ""
        self.deleted: list[str] = []

    def apply(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        self.service = {key: document[key] for key in ("metadata", "spec")}
        return self._act()

    def patch(self, kind: str, name: str, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        predictor = dict(self.service["spec"]["predictor"])
        for key, value in patch["spec"]["predictor"].items():
            if value is None:
                predictor.pop(key, None)
            else:
                predictor[key] = {**predictor[key], **value} if isinstance(value, dict) else value
        self.service = {**self.service, "spec": {"predictor": predictor}}
        return self._act()

    def _act(self) -> Mapping[str, Any]:
        predictor = self.service["spec"]["predictor"]
        uri = predictor["model"]["storageUri"]
        if uri == self.stuck and self.models:
            return self.service
        if not self.models or self.models[-1] != uri:
            self.models.append(uri)
        newest = f"c-{len(self.models)}"
        percent = predictor.get("canaryTrafficPercent")
        if percent is None or not self.rolled_out:
            if newest != self.rolled_out:
                self.before, self.rolled_out = self.rolled_out, newest
            shares = {newest: 100}
        else:
            if percent == 0 and self.rolled_out == newest:
                self.rolled_out = self.before
            shares = {newest: percent, self.rolled_out: 100 - percent}
        component = {
            "latestCreatedRevision": newest,
            "latestReadyRevision": newest,
            "latestRolledoutRevision": self.rolled_out,
            "previousRolledoutRevision": self.before,
            "traffic": [{"revisionName": name, "percent": share} for name, share in shares.items()],
        }
        ready = {"type": "Ready", "status": "True"}
        self.service["status"] = {"conditions": [ready], "components": {"predictor": component}}
        return self.service

    def get(self, kind: str, name: str = "", *, selector: str = "") -> Mapping[str, Any] | None:
        if kind == "inferenceservice":
            return dict(self.service)
        if kind == "pod":
            pod = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
            return {"items": [pod] if self.warm else []}
        made = enumerate(self.models, start=1)
        return {
            "items": [{"metadata": {"name": f"c-{number}", "annotations": {SOURCE_URI: uri}}} for number, uri in made]
        }

    def delete(self, kind: str, name: str) -> None:
        self.deleted.append(name)


class Clients:
    def send(self, service: str, request: Mapping[str, Any], *, times: int, concurrency: int = 4) -> list[Answer]:
        return [Answer(at=time.monotonic(), seconds=0.01, status=200)] * times

    @contextmanager
    def background(self, service: str, request: Mapping[str, Any], *, rate: float) -> Iterator[Any]:
        stream = Stream(request=request, rate=rate, answers=(), marks={})
        yield SimpleNamespace(mark=lambda name: time.monotonic(), stream=stream)


class Trainer:
    version = 0

    def log_model(self, **variation: Any) -> Any:
        self.version += 1
        return SimpleNamespace(version=str(self.version), run_id="0123")

    def predict(self, model_uri: str, rows: Any) -> list[Any]:
        return [model_uri]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(driver, "SETTLED", 0.01)
    monkeypatch.setattr(models, "resolve_storage_uri", lambda uri, **_: f"s3://{uri.rpartition('/')[2]}/")


def driven(cluster: Controller, **changes: Any) -> Rollout:
    trainer: Any = Trainer()
    tracking: Any = None
    clients: Any = {"cluster": cluster, "traffic": Clients(), "models": models.ModelMaker(trainer, tracking)}
    return drive(**clients, **changes)


def names(rollout: Rollout) -> list[str]:
    return [step.name for step in rollout.steps]


def test_a_revision_that_still_runs_is_gone_back_to_and_then_the_other_way_is_taken() -> None:
    rollout = driven(Controller())
    assert names(rollout) == [
        RolloutChange.CANARY,
        RolloutChange.ABORTED,
        RolloutChange.RESUMED,
        RolloutChange.PROMOTED,
        RolloutChange.ROLLED_BACK,
        RolloutChange.REPEATED,
        RolloutChange.RESTORED,
    ]
    assert not rollout.failure
    assert all(step.settled for step in rollout.steps)
    assert rollout.uris == {"c-1": "s3://1/", "c-2": "s3://2/", "c-3": "s3://1/"}


def test_a_revision_that_is_gone_is_created_again() -> None:
    rollout = driven(Controller(warm=False))
    assert names(rollout)[-1] == RolloutChange.ROLLED_BACK
    assert rollout.steps[-1].change["spec"]["predictor"]["model"] == {"storageUri": "s3://1/"}


def test_a_roll_out_ends_after_the_given_step() -> None:
    assert names(driven(Controller(), last=RolloutChange.ROLLED_BACK))[-1] == RolloutChange.ROLLED_BACK


def test_a_step_that_fails_is_recorded_with_the_reason_and_the_service_is_removed() -> None:
    cluster = Controller(stuck="s3://2/")
    rollout = driven(cluster)
    (step,) = rollout.steps
    assert (step.name, step.settled) == (RolloutChange.CANARY, None)
    assert "waiting for InferenceService rolling-classifier to show the effect of: canary start" in rollout.failure
    assert cluster.deleted == ["rolling-classifier"]


def test_a_service_that_never_gets_ready_is_removed_and_its_conditions_are_in_the_error() -> None:
    cluster = Controller()
    condition = {"type": "PredictorReady", "status": "False", "reason": "RevisionFailed", "message": "Insufficient cpu"}

    def get(kind: str, name: str = "", **_: str) -> Mapping[str, Any]:
        return {"status": {"conditions": [condition]}}

    cluster.get = get  # type: ignore[method-assign]
    service = {"metadata": {"name": "c"}, "spec": {"predictor": {"model": {"storageUri": "s3://1/"}}}}
    with pytest.raises(CannotTell, match=r"PredictorReady=False \(RevisionFailed: Insufficient cpu\)"):  # noqa: SIM117
        with deployed(cluster, service, timeout=0):  # type: ignore[arg-type]
            pass
    assert cluster.deleted == ["c"]
