"""The handover of a run: the model that training logged, and the storage URI and InferenceService that serving got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """A model in MLflow, as reported by the client that logged it.

    ``artifact_path`` is its path below the run (``model``); ``version`` and ``registered_name`` are empty when it is not registered;
    ``model_id`` is MLflow 3's ``m-…``, empty with MLflow 2.
    """

    run_id: str
    artifact_path: str
    registered_name: str = ""
    version: str = ""
    model_id: str = ""


@dataclass(frozen=True, kw_only=True)
class ServableModel:
    """A model for serving.

    ``name`` is its name in messages. ``answer`` is the trainer's own prediction for the rows that the model was created with, which
    attributes an answer of a service to its model; empty for a model whose predictions raise. Registered version and run are empty for
    a model that is not in MLflow.
    """

    name: str
    storage_uri: str
    answer: Sequence[Any]
    registered: str = ""
    version: str = ""
    run_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Handover:
    """One model on its way from KFP through MLflow to KServe.

    The InferenceService ``service`` was built by the core library, for the storage URI that it resolved; ``alias`` points to the model
    version.
    """

    tracking_uri: str
    model: LoggedModel
    alias: str
    service: Mapping[str, Any]

    @property
    def storage_uri(self) -> str:
        """The storage URI of the service."""
        return str(self.service["spec"]["predictor"]["model"]["storageUri"])


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """A version of a registered model, ``models:/NAME/VERSION``, with its parsed ``MLmodel``."""

    uri: str
    mlmodel: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Download:
    """A download of the storage initializer into an empty directory: relative path → SHA-256 of its files, and the initializer's log."""

    directory: Path
    files: Mapping[str, str]
    log: str


@dataclass(frozen=True, kw_only=True)
class HttpExchange:
    """One request and its response. ``body`` is the parsed JSON, or the text when it is not JSON. ``seconds`` is wall-clock time."""

    method: str
    url: str
    request: Any
    status: int
    body: Any
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PipelineRun:
    """One run of a pipeline. ``outputs`` maps task → output name → value, for the tasks that ran.

    ``refused`` is the error of a backend that does not support conditions, empty otherwise; the conditional branch then ran as a separate
    pipeline.
    """

    succeeded: bool
    outputs: Mapping[str, Mapping[str, Any]]
    log: str
    refused: str = ""
