"""Models for one check: trained, registered, and resolved to the storage URI that a storage initializer fetches.

The maker is bound to the trainer and the tracking server of a session, so that nobody has to wait for a pipeline run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any
from uuid import uuid4

from trivet.integration import TrackingApi, resolve_storage_uri
from trivet.model.clients import TrainerClient
from trivet.model.handover import ServableModel

DEFAULT_ROWS = [{"a": 0.5, "b": -0.25, "c": 1.5}]
"""The default request, in the columns that the trainer's job fits by default."""


class ModelMaker:
    """Makes models by the trainer, and resolves MLflow's URIs, for one tracking server."""

    def __init__(self, trainer: TrainerClient, tracking: TrackingApi) -> None:
        self._trainer = trainer
        self._tracking = tracking
        self._registered = f"trivet-model-{uuid4().hex[:8]}"
        self._made: dict[tuple[str, str, str], ServableModel] = {}
        self._lock = Lock()

    def resolve(self, model_uri: str) -> str:
        """The storage URI behind an MLflow URI: ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or ``runs:/RUN/PATH``.

        Raises UsageError for a URI that does not lead to a model in the store, TrackingError when the server does not answer.
        """
        return resolve_storage_uri(model_uri, tracking=self._tracking)

    def make(
        self, name: str, *, rows: Sequence[Mapping[str, Any]] = DEFAULT_ROWS, register_as: str = "", **variation: Any
    ) -> ServableModel:
        """A model that the trainer logs with ``variation`` (``trivet.fixtures.jobs.trainer``, ``log_model``).

        The same arguments give the same model throughout a session. Models are versions of one registered model, unless
        ``register_as`` names another one. ``answer`` has its predictions for ``rows``. A ``label_offset`` of its own makes a
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
                    run_id=logged.run_id,
                    storage_uri=self.resolve(model_uri),
                    answer=() if variation.get("predict_fails") else self._trainer.predict(model_uri, rows),
                )
            return self._made[identity]
