"""What every target offers, whatever the stack runs on: the same clients under the same names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from trivet.errors import PlatformError
from trivet.model.cluster import Admission, Glimpse, Reach, Sample, ScrapeTarget, Series
from trivet.model.handover import Download, HttpExchange, LoggedModel, PipelineRun
from trivet.model.stack import Stack
from trivet.model.subjects import CompiledPipeline, Manifest, ModelDirectory
from trivet.model.traffic import Slice

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


class ServiceClient(ServingClient, Protocol):
    """An InferenceService on a cluster: the serving client, and the object behind it."""

    @property
    def namespace(self) -> str:
        """Where it is."""

    @property
    def document(self) -> Mapping[str, Any]:
        """The InferenceService as it is stored at this moment, ``status`` included. Raises CannotTell when it is gone."""

    def update(self, document: Mapping[str, Any], *, wait: bool = True) -> None:
        """Apply a new version of the same service; with ``wait`` return once its generation is observed and it is Ready.

        Raises CannotTell, with the evidence collected, when that does not come about in time.
        """

    def wait(
        self, what: str, look: Callable[[Mapping[str, Any]], bool], *, seconds: float = 120.0
    ) -> Mapping[str, Any]:
        """The first stored object that satisfies ``look``. Raises CannotTell, with the object's conditions, when there is none in time."""

    def history(self) -> Sequence[Glimpse]:
        """Its status over time since it was applied, one entry per change, watched from before the first."""

    def pods(self) -> Sequence[Mapping[str, Any]]:
        """Its predictor's pods, those that are ending included."""


class ClusterClient(Protocol):
    """The cluster itself, as far as the session's own namespaces go. What is made here is removed at the end of the session."""

    @property
    def pipeline_namespace(self) -> str:
        """Where pipelines run and train; allowed to reach MLflow and the store."""

    @property
    def serving_namespace(self) -> str:
        """Where InferenceServices live."""

    def feature(self, name: str) -> str:
        """How the feature ``name`` was measured, waiting for the measurement. Raises NotOffered, with what was seen, when it is not there.

        NetworkPolicyEnforced, Serverless, StandardDeployment, CanaryTraffic, ScaleToZero, CpuAutoscaling, PrometheusScrape.
        """

    def service_document(self, storage_uri: str, **choices: Any) -> dict[str, Any]:
        """An InferenceService by the core library for ``storage_uri``, sized for this cluster, in the serving namespace.

        ``choices`` are arguments of ``trivet.integration.build_inference_service``; a fresh ``name`` is chosen without one.
        """

    def service(
        self, document: Mapping[str, Any], *, wait: bool = True, seconds: float = 300.0
    ) -> AbstractContextManager[ServiceClient]:
        """Apply an InferenceService; with ``wait`` until it is Ready or ``seconds`` are over (``ready`` tells). Removed with the block."""

    def admit(self, document: Mapping[str, Any], *, strict: bool = True) -> Admission:
        """Have the API server and its webhooks judge ``document`` without storing it (server-side dry run).

        ``strict`` false asks as the Python clients do by default: unknown fields are dropped silently.
        """

    def applied(self, *documents: Mapping[str, Any]) -> AbstractContextManager[Sequence[Mapping[str, Any]]]:
        """The documents applied (serving namespace unless they name another of ours), as stored; removed at the end of the block."""

    def get(self, kind: str, name: str, namespace: str = "") -> Mapping[str, Any] | None:
        """One object; by default in the serving namespace. None when it is not there."""

    def objects(self, kind: str, selector: str = "", namespace: str = "") -> Sequence[Mapping[str, Any]]:
        """Objects of one kind; by default in the serving namespace."""

    def events(self, namespace: str = "") -> Sequence[Mapping[str, Any]]:
        """The events of a namespace, oldest first; by default the serving namespace."""

    def log(self, pod: str, container: str, *, previous: bool = False, namespace: str = "") -> str:
        """A container's log; by default in the serving namespace. Empty when there is none."""

    def reach(
        self,
        host: str,
        port: int,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        seconds: float = 3.0,
    ) -> Reach:
        """Try a TCP connection from a pod in ``namespace`` (default: serving) with ``labels``. Such a pod is kept for the session."""

    def places(self) -> Mapping[str, tuple[str, int]]:
        """Where the platform's paths lead, as host and port inside the cluster: ``tracking``, ``store``, ``dns``, ``api``."""


class MetricsClient(Protocol):
    """Prometheus of the platform. Queries raise CannotTell when it cannot be asked; an empty answer is an empty sequence."""

    def query(self, expression: str) -> Sequence[Sample]:
        """An instant query, now."""

    def range(self, expression: str, *, begin: float, end: float, step: float = 5.0) -> Sequence[Series]:
        """A range query; times in seconds since the epoch."""

    def targets(self) -> Sequence[ScrapeTarget]:
        """What is scraped at this moment."""

    def wait(
        self, expression: str, look: Callable[[Sequence[Sample]], bool], *, seconds: float = 60.0
    ) -> Sequence[Sample]:
        """The first answer that satisfies ``look``. Raises CannotTell, with the last answer, when there is none in time."""


class Stream(Protocol):
    """Background traffic that is under way. Requests go out when they are due, whether or not earlier ones were answered."""

    def mark(self) -> float:
        """This moment, in seconds since the epoch, to cut the answers at."""

    def run(self, seconds: float) -> None:
        """Let it flow for ``seconds``."""

    def between(self, name: str, begin: float, end: float) -> Slice:
        """The answers to what was sent in a stretch of time, once they are all there. Raises CannotTell when there are none."""

    def since(self, name: str, begin: float) -> Slice:
        """As ``between``, up to now."""


class TrafficClient(Protocol):
    """Open-loop clients in the background."""

    def flow(
        self, service: ServingClient, requests: Sequence[Mapping[str, Any]], *, rate: float, timeout: float = 30.0
    ) -> AbstractContextManager[Stream]:
        """Send ``requests`` in turn, ``rate`` per second, until the end of the block.

        Leaving the block stops sending and waits for what is out. Raises CannotTell there when the client itself could not keep the rate.
        """


class Session(Protocol):
    """A stack that runs on a target. Clients come into being side by side; asking for one waits until it is there.

    ``client`` raises NotOffered when the target has none of that name (SKIPPED), CannotTell when it could not be had this
    time (INCONCLUSIVE).
    """

    def client(self, name: str) -> Any:
        """The client called ``name``: tracking, trainer, store, serving, pipelines, runtime, handover; on clusters also cluster,
        metrics, traffic."""

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
