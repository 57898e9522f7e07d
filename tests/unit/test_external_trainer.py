"""External trainers: the resolution of their requirements, and its failure."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trivet.errors import CannotTell, PlatformError
from trivet.model.stack import Role
from trivet.targets.common import external_trainer as module
from trivet.targets.common.external_trainer import ExternalTrainer

LOCK = "mlflow==3.17.2 \\\n    --hash=sha256:00\n"


class FakeIndex:
    """Resolves to one lock, and records the cut-off dates."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.days: list[str] = []
        self.away = False
        monkeypatch.setattr(module, "resolve", self.resolve)
        monkeypatch.setattr(module, "build_environment", lambda role, stop: SimpleNamespace(python=Path("/python")))

    def resolve(self, role: str, settings: Mapping[str, Any], cutoff: str, stack: str) -> str:
        if self.away:
            raise PlatformError("could not resolve it")
        self.days.append(cutoff)
        return LOCK


class FakeWorker:
    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, operation: str, **arguments: Any) -> Any:
        self.asked.append((operation, arguments))
        return [1]


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> FakeIndex:
    return FakeIndex(monkeypatch)


def made(tmp_path: Path, workers: list[FakeWorker] | None = None) -> ExternalTrainer:
    def start(trainer: Role, python: Path) -> Any:
        worker = FakeWorker()
        (workers if workers is not None else []).append(worker)
        return worker

    return ExternalTrainer(tmp_path, start, threading.Event())


def test_requirements_are_resolved_once_for_each_day(index: FakeIndex, tmp_path: Path) -> None:
    external_trainer = made(tmp_path)
    today = external_trainer.unlocked(["mlflow"])

    assert external_trainer.unlocked(["mlflow"]) is today
    assert today.pins == {"mlflow": "3.17.2"}
    assert today.lock.read_text() == LOCK
    assert external_trainer.unlocked(["mlflow"], cutoff="2024-11-15").lock != today.lock
    assert index.days[1:] == ["2024-11-15"]


def test_a_failed_resolution_is_cannot_tell(index: FakeIndex, tmp_path: Path) -> None:
    index.away = True

    with pytest.raises(CannotTell, match="could not resolve it"):
        made(tmp_path).unlocked(["mlflow"])


def test_a_trainer_is_started_once_and_saves_each_model_in_a_directory_of_its_own(
    index: FakeIndex, tmp_path: Path
) -> None:
    workers: list[FakeWorker] = []
    external_trainer = made(tmp_path, workers)
    trainer = external_trainer.of_stack("2024.11")

    first, second = (external_trainer.save_model(trainer, label_offset=offset) for offset in (0, 10))

    assert first != second
    assert external_trainer.predict(trainer, first, [{"a": 1.0}]) == [1]
    (worker,) = workers
    assert worker.asked[1] == ("save_model", {"directory": str(second), "label_offset": 10})
    assert trainer.pins["scikit-learn"] == "1.5.2"
