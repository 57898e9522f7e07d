"""The hand-off that was driven: what training left behind and what serving was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """A model in MLflow, as the client that wrote it reports it.

    ``artifact_path`` is the name below the run (``model``); ``version`` and ``registered_name`` are empty when it was not
    registered; ``model_id`` is MLflow 3's ``m-…``, empty under MLflow 2.
    """

    run_id: str
    artifact_path: str
    registered_name: str = ""
    version: str = ""
    model_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Handover:
    """One model on its way from KFP through MLflow to KServe.

    ``storage_uri`` is what the core library resolved and ``service`` the InferenceService that it built; ``artifact_root``
    is the store behind the tracking server, as a URI; ``alias`` points at the version.
    """

    tracking_uri: str
    artifact_root: str
    model: LoggedModel
    alias: str
    storage_uri: str
    service: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Download:
    """What the storage initializer left in an empty directory: relative path → SHA-256, and its own log."""

    directory: Path
    files: Mapping[str, str]
    log: str


@dataclass(frozen=True, kw_only=True)
class HttpExchange:
    """One request and its answer. ``body`` is the parsed JSON, or the text when the answer was not JSON. ``seconds`` is wall time."""

    method: str
    url: str
    request: Any
    status: int
    body: Any
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PipelineRun:
    """One run of a pipeline. ``outputs`` maps task → output name → value, for the tasks that really ran.

    ``refused`` is what the backend said when it does not run conditions: the branch then ran as a pipeline of its own.
    """

    succeeded: bool
    outputs: Mapping[str, Mapping[str, Any]]
    log: str
    refused: str = ""
