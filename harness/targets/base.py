"""What every target offers, whatever the stack runs on: the same clients under the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from trivet.errors import PlatformError
from trivet.model.handover import Download, HttpExchange, LoggedModel, PipelineRun
from trivet.model.stack import Stack
from trivet.model.subjects import CompiledPipeline, Manifest, ModelDirectory

Rows = Sequence[Mapping[str, Any]]


class DownloadFailed(PlatformError):
    """The storage initializer did not fetch a storage URI; the message holds its own words."""


class TrainerClient(Protocol):
    """The MLflow client of the trainer role."""

    def log_model(self, **variation: Any) -> LoggedModel:
        """Train and log a model; see the trainer's job for the variations (estimator, signature, artifact_path, register_as …)."""

    def predict(self, model_uri: str, rows: Rows) -> list[Any]:
        """The trainer's own predictions by the model at an MLflow URI or a directory."""

    def artifacts(self, uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of what MLflow itself downloads for ``uri``."""

    def call(self, operation: str, **arguments: Any) -> Any:
        """Any other operation of the trainer's job."""


class StoreClient(Protocol):
    """The artefact store behind the tracking server, and the storage initializer in front of the runtime."""

    @property
    def root(self) -> str:
        """The store's root as a URI that a storage initializer can fetch."""

    def files(self, storage_uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of what lies in the store below ``storage_uri``, read without MLflow and without KServe."""

    def write(self, relative: str, files: Mapping[str, bytes]) -> str:
        """Put files below the store's root and return the storage URI of their directory."""

    def download(self, storage_uri: str) -> Download:
        """Have KServe's storage initializer fetch ``storage_uri`` into an empty directory. Raises DownloadFailed."""


class ServingClient(Protocol):
    """One deployed InferenceService, reached over the V2 protocol."""

    @property
    def name(self) -> str:
        """The model's name in V2 URLs."""

    @property
    def ready(self) -> bool:
        """Whether the model itself (not only the server) answered ready before the deadline."""

    @property
    def failure(self) -> str:
        """Why it is not ready, in one line; empty when it is."""

    def infer(self, request: Mapping[str, Any]) -> HttpExchange:
        """POST a V2 inference request. Raises CannotTell when the model never became ready."""

    def get(self, path: str) -> HttpExchange:
        """GET a path of the server, such as ``/v2/models/NAME``."""

    def log(self) -> str:
        """The runtime's log so far."""

    def deploy(self, storage_uri: str) -> AbstractContextManager[ServingClient]:
        """A further service for ``storage_uri``, removed at the end of the ``with`` block."""


class PipelineClient(Protocol):
    """The pipeline under the KFP SDK of the stack."""

    @property
    def compiled(self) -> Path:
        """The example pipeline compiled to IR YAML."""

    @property
    def main_run(self) -> PipelineRun:
        """The run that produced the hand-off."""

    def run(
        self,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        pipeline: Path | None = None,
    ) -> PipelineRun:
        """Run the example pipeline once more, with other arguments or other environment variables.

        ``pipeline`` is a Python file with another KFP pipeline, called ``pipeline``, that takes the example's arguments.
        """


class RuntimeClient(Protocol):
    """The Python environment of the serving runtime."""

    def call(self, operation: str, **arguments: Any) -> Any:
        """An operation of the runtime's job: ``read_signature``, ``load`` …"""


class Session(Protocol):
    """A stack that runs on a target. Clients come into being side by side; asking for one waits until it is there.

    ``client`` raises NotOffered when the target has none of that name (SKIPPED), CannotTell when it could not be had this
    time (INCONCLUSIVE).
    """

    def client(self, name: str) -> Any:
        """The client called ``name``: tracking, trainer, store, serving, pipelines, runtime, handover."""

    def subjects(self, kind: str) -> Sequence[Manifest | ModelDirectory | CompiledPipeline]:
        """What the hand-off made that static contracts read."""

    def features(self) -> Mapping[str, str]:
        """Feature name → how it was measured."""

    def describe(self) -> Mapping[str, str]:
        """The hand-off in words, for the report."""

    def documents(self) -> Mapping[str, Path]:
        """The texts that the hand-off made, by the names that the report gives them: ``inferenceservice.yaml`` …"""


class Target(Protocol):
    """Where a stack runs."""

    name: str

    def plan(self, stack: Stack) -> Sequence[str]:
        """What ``start`` would do, a line each, without doing it."""

    def start(self, stack: Stack, emit: Any) -> AbstractContextManager[Session]:
        """Bring the stack up; leaving the block stops everything that was started, on every way out."""
