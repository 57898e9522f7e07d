"""The clients that targets offer: their names, and their protocols, the same whatever the stack runs on. Implements none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from trivet.errors import PlatformError
from trivet.model.contract import STATIC_SUBJECTS
from trivet.model.fault import AffectedObject
from trivet.model.handover import Download, HttpExchange, LoggedModel, PipelineRun
from trivet.model.network import NetworkPath
from trivet.model.stack import Role
from trivet.model.traffic import Answer, Stream
from trivet.model.vocabulary import Vocabulary

CLIENTS = Vocabulary(
    "client",
    {
        "stack": "the stack under test: component versions, roles and what their locks pin",
        "handover": "the hand-off that was driven: run, registered version, storage URI and InferenceService",
        "tracking": "MLflow's REST API",
        "trainer": "the MLflow client of the trainer role: logs models, predicts, downloads",
        "models": "models made by the trainer, with their storage URIs and expected answers; resolves MLflow URIs",
        "external_trainer": "trainers that are no part of the stack under test",
        "store": "the artefact store, and KServe's storage initializer in front of it",
        "serving": "the deployed model over the V2 protocol; deploys further ones",
        "pipelines": "the compiled pipeline, the run that made the hand-off, and further runs",
        "runtime": "the Python environment of the serving runtime",
        "cluster": "objects, commands and ports of the session's own namespaces",
        "traffic": "requests to an InferenceService through the ingress, a number of them or at a steady rate",
        "metrics": "queries to the platform's Prometheus",
        "rollout": "a canary roll-out that was driven under traffic, with every answer",
        "faults": "changes to the platform that are taken back: what scenarios disturb it with",
    },
    reserved=(*STATIC_SUBJECTS, "variant"),
)
"""Client → what it gives, in one sentence. A contract or a scenario asks for one by a parameter of that name."""


OWN_CLIENT = "a client of a target of your own is declared before, with declare_client"


def declare_client(name: str, meaning: str) -> None:
    """Add a client that a target of your own offers. Call it where its module is imported, before contracts ask for it.

    Raises DeclarationError for a name that is no identifier, that stands for something else, or that has another meaning already.
    """
    CLIENTS.declare(name, meaning)


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


class ExternalTrainerClient(Protocol):
    """Trainers that are no part of the stack under test: another team's image, or one that was built on another day.

    They are environments of this machine, made by uv and kept by what is in them; what they save reaches the platform only when a caller
    puts it there.
    """

    def of_stack(self, name: str) -> Role:
        """The trainer of a shipped stack, as its lock has it."""

    def built(self, requires: Sequence[str], *, cutoff: str = "") -> Role:
        """A trainer with what ``requires`` resolve to now, or did on the day ``cutoff`` (YYYY-MM-DD): an image built without a lock.

        Raises CannotTell when the package index does not say.
        """

    def save_model(self, trainer: Role, **variation: Any) -> Path:
        """The directory of a model that ``trainer`` fitted and saved; see ``save_model`` of the trainer's job for the variations.

        Raises CannotTell when the environment cannot be made, PlatformError with the trainer's own words when it does not save.
        """

    def predict(self, trainer: Role, directory: Path, rows: Rows) -> list[Any]:
        """The trainer's own predictions by a model that it saved."""


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


class Refused(PlatformError):
    """The API server, or a webhook behind it, refused an object; the message holds its own words."""


class ClusterClient(Protocol):
    """The cluster itself, as far as the session's own namespaces go. What is made through it goes away with the session.

    Kinds are named as kubectl takes them: ``inferenceservice``, ``pod``, ``revision.serving.knative.dev`` …; ``namespace`` is the serving
    namespace unless another one is named.
    """

    @property
    def namespace(self) -> str:
        """The serving namespace: where InferenceServices live, with the store's credentials on its default service account."""

    @property
    def pipeline_namespace(self) -> str:
        """Where pipelines run and train."""

    @property
    def images(self) -> Mapping[str, str]:
        """Role → image of the session's own pods."""

    @property
    def paths(self) -> Sequence[NetworkPath]:
        """The paths through the network that the platform needs, and those that it forbids, as far as this target knows them."""

    def apply(self, document: Mapping[str, Any], *, strict: bool = True, dry_run: bool = False) -> Mapping[str, Any]:
        """Apply an object and return it as the API server stored it (or would, with ``dry_run``). Raises Refused.

        ``strict`` false asks as the Python clients do by default: unknown fields are dropped without a word.
        """

    def get(self, kind: str, name: str = "", *, namespace: str = "", selector: str = "") -> Mapping[str, Any] | None:
        """One object, or None when it is not there; without a name a ``List`` of those that ``selector`` finds."""

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str = "") -> Mapping[str, Any]:
        """A JSON merge patch; the object as stored. Raises Refused."""

    def delete(self, kind: str, name: str, *, namespace: str = "") -> None:
        """Delete an object; it is gone when this returns. One that is not there is fine."""

    def execute(
        self, pod: str, command: Sequence[str], *, container: str = "", namespace: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        """Run a command in a pod: its exit status, and standard output followed by standard error."""

    def pod_get(self, pod: str, port: int, path: str, *, namespace: str = "") -> HttpExchange:
        """GET a path of a pod's port through the API server's proxy, which adds 502 and 503 of its own when nothing answers."""

    def events(self, namespace: str = "") -> Sequence[Mapping[str, Any]]:
        """The events of a namespace, oldest first."""

    def log(self, pod: str, container: str, *, previous: bool = False, namespace: str = "") -> str:
        """A container's log; empty when there is none."""


class MetricsClient(Protocol):
    """Prometheus of the platform."""

    def query(self, promql: str) -> list[tuple[Mapping[str, str], float]]:
        """An instant query now: labels and value of each series. Raises CannotTell when it is not answered."""

    def range(
        self, promql: str, *, begin: float, end: float, step: float = 5.0
    ) -> list[tuple[Mapping[str, str], list[tuple[float, float]]]]:
        """A range query, in seconds since the epoch: labels and (time, value) points of each series. Raises CannotTell."""


class Background(Protocol):
    """Requests that are under way at a steady rate."""

    def mark(self, name: str) -> float:
        """Name this moment (``time.monotonic``) and return it."""

    @property
    def answers(self) -> Sequence[Answer]:
        """What was answered, or lost, so far, in the order in which it was due; everything once the block has ended."""

    @property
    def stream(self) -> Stream:
        """The requests, answers and marks so far."""


class TrafficClient(Protocol):
    """Clients of an InferenceService of the serving namespace, by name, through the ingress."""

    def send(
        self, service: str, request: Mapping[str, Any], *, times: int, at_once: int = 4, timeout: float = 30.0
    ) -> list[Answer]:
        """``times`` requests, ``at_once`` of them under way at any moment."""

    def background(
        self, service: str, request: Mapping[str, Any], *, rate: float, timeout: float = 60.0
    ) -> AbstractContextManager[Background]:
        """``rate`` requests per second until the end of the block, each sent when it is due, however slow the answers are.

        Leaving the block waits for what is under way.
        """


class FaultInjector(Protocol):
    """What changes the platform for a fault. Each change is in a journal on disk, with the command that undoes it, before it is made, and
    only what the fault said that it touches is changed at all. Namespaces are named by their role (``trivet.model.fault``)."""

    @property
    def namespaces(self) -> Mapping[str, str]:
        """Role → namespace."""

    def get(self, kind: str, name: str, *, namespace: str) -> Mapping[str, Any] | None:
        """One object, or None when it is not there."""

    def find(self, kind: str, *, namespace: str, selector: str = "") -> Sequence[Mapping[str, Any]]:
        """The objects that ``selector`` finds."""

    def create(self, document: Mapping[str, Any]) -> None:
        """Make an object; its namespace is given by role. Raises UsageError when there is one of that name already."""

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str) -> None:
        """Change an object by a JSON merge patch; what it held before is put back."""

    def replace(self, pod: str, *, namespace: str) -> None:
        """Delete a pod, which its controller makes again. Raises UsageError for a pod that nothing would bring back."""

    def crash(self, pod: str, container: str, *, namespace: str) -> None:
        """Kill what the first process of a container started; where that ends too, the kubelet starts the container again."""

    def own(self, what: str, change: Callable[[], object], back: Callable[[], object]) -> None:
        """Change something that the scenario made itself and that is no object of Kubernetes', such as an alias of its model.

        ``back``, which may run twice, undoes it. It is in no journal and needs no touch: a killed run leaves it, with what it is a part of.
        """

    def execute(
        self, pod: str, command: Sequence[str], *, namespace: str, container: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        """Run a command in a pod: its exit status, and standard output followed by standard error."""


class RevertibleInjector(FaultInjector, Protocol):
    """Hands as the engine holds them: it can also let go."""

    @property
    def changed_objects(self) -> Sequence[str]:
        """What was changed so far, in words."""

    def revert(self) -> Sequence[tuple[str, str]]:
        """Undo every change, the last one first. Returns what is left behind: why, and the command that removes it."""


class FaultClient(Protocol):
    """The way to faults on a cluster."""

    @property
    def owned(self) -> bool:
        """Whether the cluster is trivet's own."""

    @property
    def context(self) -> str:
        """The context of the kubeconfig."""

    @property
    def namespaces(self) -> Mapping[str, str]:
        """Role → namespace, for the roles that faults may touch on this cluster."""

    def lease(self, wait: float = 0.0) -> AbstractContextManager[None]:
        """Hold the cluster's one lease for scenarios during the block.

        Raises UsageError when another run still holds it after ``wait`` seconds.
        """

    def injector(self, affected_objects: Sequence[AffectedObject]) -> RevertibleInjector:
        """Hands that may change what ``affected_objects`` say."""
