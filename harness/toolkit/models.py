"""Models for one check: trained, registered, and resolved to the storage URI that a storage initializer fetches.

The resolver is bound to the tracking server and the artefact root of a session, so that nobody has to wait for a pipeline run to know them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any
from uuid import uuid4

from trivet.integration import TrackingApi, resolve_storage_uri
from trivet.model.clients import TrainerClient

DEFAULT_ROWS = [{"a": 0.5, "b": -0.25, "c": 1.5}]
"""The default request, in the columns that the trainer's job fits by default."""


@dataclass(frozen=True, kw_only=True)
class ServableModel:
    """A registered model version that can be served.

    ``name`` is what messages call it. ``storage_uri`` is where a storage initializer finds it. ``answer`` is the trainer's own prediction
    for the rows that the model was made with, by which an answer of a service shows which model gave it; empty for a model whose
    predictions raise.
    """

    name: str
    registered: str
    version: str
    storage_uri: str
    answer: Sequence[Any]


class ModelMaker:
    """Makes models by the trainer, and resolves MLflow's URIs, for one tracking server and artefact root."""

    def __init__(self, trainer: TrainerClient, tracking: TrackingApi, artifact_root: str) -> None:
        self.artifact_root = artifact_root
        """The store behind the tracking server, as a URI."""
        self._trainer = trainer
        self._tracking = tracking
        self._registered = f"trivet-model-{uuid4().hex[:8]}"
        self._made: dict[tuple[str, str, str], ServableModel] = {}
        self._lock = Lock()

    def resolve(self, model_uri: str) -> str:
        """The storage URI behind an MLflow URI: ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or ``runs:/RUN/PATH``.

        Raises UsageError for a URI that does not lead to a model in the store, TrackingError when the server does not answer.
        """
        return resolve_storage_uri(model_uri, tracking=self._tracking, artifact_root=self.artifact_root)

    def make(
        self, name: str, *, rows: Sequence[Mapping[str, Any]] = DEFAULT_ROWS, register_as: str = "", **variation: Any
    ) -> ServableModel:
        """A model that the trainer logs with ``variation`` (``trivet.fixtures.jobs.trainer``, ``log_model``).

        The same arguments give the same model throughout a session. Models are versions of one registered model, unless
        ``register_as`` names another one. ``rows`` are what its ``answer`` is the answer to. A ``label_offset`` of its own makes a
        model's answers differ from those of others.
        """
        identity = (register_as, name, json.dumps([rows, variation], sort_keys=True))
        with self._lock:
            if identity not in self._made:
                registered = register_as or self._registered
                logged = self._trainer.log_model(
                    **{"estimator": "logistic-regression", "register_as": registered, **variation}
                )
                model_uri = f"models:/{registered}/{logged.version}"
                self._made[identity] = ServableModel(
                    name=name,
                    registered=registered,
                    version=logged.version,
                    storage_uri=self.resolve(model_uri),
                    answer=() if variation.get("predict_fails") else self._trainer.predict(model_uri, rows),
                )
            return self._made[identity]
