"""External trainers: environments on this machine with other versions than the stack under test, which save models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from trivet.errors import CannotTell, PlatformError
from trivet.host.journal import make_below
from trivet.host.worker import Worker
from trivet.model.clients import Rows
from trivet.model.stack import Role
from trivet.stacks.environments import build_environment
from trivet.stacks.lock import resolve
from trivet.stacks.read import load_stack, pins_of

PYTHON = "3.11"


class ExternalTrainer:
    """Implements ``trivet.model.clients.ExternalTrainerClient``. ``start`` starts the trainer's job with an interpreter."""

    def __init__(self, directory: Path, start: Callable[[Role, Path], Worker], stop: threading.Event) -> None:
        self._directory = directory
        self._start = start
        self._stop = stop
        self._unlocked: dict[tuple[tuple[str, ...], str], Role] = {}
        self._workers: dict[Path, Worker] = {}
        self._numbers = count(1)
        self._lock = threading.Lock()

    def of_stack(self, name: str) -> Role:
        """The trainer of a shipped stack, from its lock."""
        return load_stack(name).roles["trainer"]

    def unlocked(self, requires: Sequence[str], *, cutoff: str = "") -> Role:
        """A trainer with the packages that ``requires`` resolve to. Equal arguments are resolved once per session."""
        with self._lock:
            key = (tuple(requires), cutoff)
            if key not in self._unlocked:
                self._unlocked[key] = self._resolved(tuple(requires), cutoff)
            return self._unlocked[key]

    def save_model(self, trainer: Role, **variation: Any) -> Path:
        """The directory of a model that ``trainer`` trained and saved."""
        with self._lock:
            worker = self._worker(trainer)
            directory = self._directory / f"model-{next(self._numbers)}"
        worker.call("save_model", directory=str(directory), **variation)
        return directory

    def predict(self, trainer: Role, directory: Path, rows: Rows) -> list[Any]:
        """The trainer's predictions with a model that it saved."""
        with self._lock:
            worker = self._worker(trainer)
        return list(worker.call("predict", model_uri=str(directory), rows=[dict(row) for row in rows]))

    def _resolved(self, requires: tuple[str, ...], cutoff: str) -> Role:
        # Without a cut-off date, the newest versions: tomorrow excludes nothing.
        day = cutoff or (date.today() + timedelta(days=1)).isoformat()
        with _errors_as_cannot_tell():
            text = resolve("trainer", {"requires": requires, "python": PYTHON}, day, "unlocked")
        unlocked = f"{self._directory.name}/built-{len(self._unlocked) + 1}"
        lock = make_below(self._directory.parent, unlocked) / "trainer.lock"
        lock.write_text(text, encoding="utf-8")
        return Role(
            name="trainer", python=PYTHON, requires=requires, cutoff=day, lock=lock, pins=pins_of(text, PYTHON, lock)
        )

    def _worker(self, trainer: Role) -> Worker:
        if trainer.lock not in self._workers:
            with _errors_as_cannot_tell():
                python = build_environment(trainer, stop=self._stop).python
            self._workers[trainer.lock] = self._start(trainer, python)
        return self._workers[trainer.lock]


@contextmanager
def _errors_as_cannot_tell() -> Iterator[None]:
    """Turn a failed resolution or build into CannotTell: without a package index the check has no result."""
    try:
        yield
    except PlatformError as error:
        raise CannotTell(error.message, remedy=error.remedy) from error
