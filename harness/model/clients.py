"""The clients that targets offer, as names and protocols, which are the same on every target. Implements none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from trivet.errors import PlatformError
from trivet.model.contract import FEATURES_PARAMETER, STATIC_SUBJECTS
from trivet.model.fault import AffectedObject
from trivet.model.handover import Download, HttpExchange, LoggedModel, PipelineRun
from trivet.model.network import NetworkPath
from trivet.model.pipeline_runs import BackendRun
from trivet.model.stack import Role
from trivet.model.traffic import Answer, Stream
from trivet.model.vocabulary import Vocabulary

CLIENTS = Vocabulary(
    "client",
    {
        "stack": "the stack under test: component versions, roles and the pins of their locks",
        "platform": "what is known of the platform's configuration: default deployment mode, domain, runtimes, accompanying objects",
        "running_versions": "the versions that the running components state themselves: component to fact",
        "handover": "the handover of this run: MLflow run, registered version, storage URI and InferenceService",
        "tracking": "MLflow's REST API",
        "trainer": "the MLflow client of the trainer role: logs models, predicts, downloads",
        "predictor": "the model of the handover in the environment that it was trained in",
        "predecessor": "the registered version before the model, with its MLmodel",
        "models": "models trained by the trainer, with their storage URIs and expected answers; resolves MLflow URIs",
        "external_trainer": "trainers that are not part of the stack under test",
        "store": "the artifact store, and downloads from it with KServe's storage initializer",
        "serving": "the deployed model over the V2 protocol; deploys further models",
        "pipelines": "the compiled pipeline, the run that made the handover, and further runs",
        "pipeline_backend": "KFP's API server: small pipelines, compiled by the SDK under test, their runs, and the pods of these",
        "runtime": "the Python environment of the serving runtime",
        "cluster": "objects, commands and ports of the session's own namespaces",
        "traffic": "requests to an InferenceService through the ingress, a number of them or at a constant rate",
        "metrics": "queries to the platform's Prometheus",
        "rollout": "a canary roll-out under traffic, with every response",
        "faults": "faults for scenarios: changes to the platform that are reverted afterwards",
    },
    reserved=(*STATIC_SUBJECTS, FEATURES_PARAMETER, "variant"),
)
"""Client → its description in one phrase. Contracts and scenarios request a client with a parameter of that name."""


OWN_CLIENT = "declare a client of your own target first, with declare_client"


def declare_client(name: str, meaning: str) -> None:
    """Add a client that your own target offers. Call it when the target's module is imported, before contracts that use it are declared.

    Raises DeclarationError for a name that is not an identifier, that is reserved, or that already has another meaning.
    """
    CLIENTS.declare(name, meaning)


Rows = Sequence[Mapping[str, Any]]


class DownloadFailed(PlatformError):
    """The storage initializer failed to download a storage URI; the message has its error."""

    transient = False


class TrainerClient(Protocol):
    """The MLflow client of the trainer role."""

    def log_model(self, **variation: Any) -> LoggedModel:
        """Train and log a model. The trainer's job documents the variations (estimator, signature, artifact_path, register_as …)."""

    def predict(self, model_uri: str, rows: Rows) -> list[Any]:
        """The trainer's predictions with the model at an MLflow URI or in a directory."""

    def artifacts(self, uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of the files that MLflow downloads for ``uri``."""

    def call(self, operation: str, **arguments: Any) -> Any:
        """Any other operation of the trainer's job."""


class PredictorClient(Protocol):
    """The model of the handover, loaded by MLflow in the environment that it was trained in: what its answers should be."""

    def predict(self, rows: Rows) -> list[Any]:
        """The predictions, one per row. Raises PlatformError with MLflow's error when the model rejects the rows."""

    def try_predict(self, rows: Rows) -> Mapping[str, Any]:
        """``{"predictions", "type", "error"}``: the predictions, or type and text of the exception; those are empty on success."""


class ExternalTrainerClient(Protocol):
    """Trainers that are not part of the stack under test: another team's image, or an image that was built on another day.

    They are environments on this machine, built by uv and cached by their content. The models that they save are local directories; the
    caller uploads them to the platform's store.
    """

    def of_stack(self, name: str) -> Role:
        """The trainer of a shipped stack, from its lock."""

    def unlocked(self, requires: Sequence[str], *, cutoff: str = "") -> Role:
        """A trainer as in an image built without a lock: the packages that ``requires`` resolve to now, or on the day ``cutoff``
        (YYYY-MM-DD).

        Raises CannotTell when the resolution fails, for example because the package index is not reachable.
        """

    def save_model(self, trainer: Role, **variation: Any) -> Path:
        """The directory of a model that ``trainer`` trained and saved; ``save_model`` of the trainer's job documents the variations.

        Raises CannotTell when the environment cannot be built, PlatformError with the trainer's error when saving fails.
        """

    def predict(self, trainer: Role, directory: Path, rows: Rows) -> list[Any]:
        """The trainer's predictions with a model that it saved."""


class StoreClient(Protocol):
    """The tracking server's artifact store, and downloads from it with KServe's storage initializer."""

    @property
    def root(self) -> str:
        """The store's root as a URI that the storage initializer supports."""

    def files(self, storage_uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of the files in the store below ``storage_uri``, read without MLflow and without KServe."""

    def write(self, relative: str, files: Mapping[str, bytes]) -> str:
        """Write files (path → content) to the directory ``relative`` below the store's root; returns the directory's storage URI."""

    def download(self, storage_uri: str) -> Download:
        """Download ``storage_uri`` into an empty directory with KServe's storage initializer. Raises DownloadFailed."""


class ServingClient(Protocol):
    """One deployed InferenceService, over the V2 protocol."""

    @property
    def name(self) -> str:
        """The model's name in V2 URLs."""

    @property
    def ready(self) -> bool:
        """Whether the model (not only the server) was ready before the timeout."""

    @property
    def failure(self) -> str:
        """Why the model is not ready, in one line; empty when it is ready."""

    def infer(self, request: Mapping[str, Any]) -> HttpExchange:
        """POST a V2 inference request. Raises CannotTell when the model never became ready."""

    def get(self, path: str) -> HttpExchange:
        """GET a path of the server, such as ``/v2/models/NAME``."""

    def log(self) -> str:
        """The runtime's log so far."""

    def deploy(self, storage_uri: str) -> AbstractContextManager[ServingClient]:
        """A further service for the model at ``storage_uri``, deleted at the end of the ``with`` block."""


class PipelineClient(Protocol):
    """The pipeline under the KFP SDK of the stack."""

    @property
    def compiled(self) -> Path:
        """The example pipeline compiled to IR YAML."""

    @property
    def main_run(self) -> PipelineRun:
        """The run that made the handover."""

    def run(
        self,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        pipeline: Path | None = None,
    ) -> PipelineRun:
        """Run the example pipeline again, with other arguments or environment variables.

        ``pipeline`` is a Python file with another KFP pipeline, called ``pipeline``, that takes the same arguments as the example.
        """


class PipelineBackendClient(Protocol):
    """KFP's API server. Its runs are ended and deleted, with their pipelines, when the session ends.

    Pipelines are named by the functions of ``trivet.fixtures.pipelines.probes``, which the SDK under test compiles.
    """

    experiment: str
    """How the names of the experiments begin that steps may create in MLflow; those are deleted when the session ends."""

    def compile(self, pipeline: str) -> str:
        """The compiled pipeline, with the platform's image for steps in it."""

    def upload(self, compiled: str) -> Mapping[str, Any]:
        """Upload a compiled pipeline, and return it as the API server stores it. Raises Refused with its error."""

    def start(
        self,
        pipeline: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        service_account: str = "",
    ) -> str:
        """Start a run, with variables set in every step; returns its id. Raises Refused with the API server's error."""

    def wait(self, run_id: str, *, until: Callable[[BackendRun], bool] | None = None) -> BackendRun:
        """The run, once it has ended or ``until`` holds. Raises CannotTell with its state at a timeout."""

    def terminate(self, run_id: str) -> None:
        """Ask the API server to end a run."""


class RuntimeClient(Protocol):
    """The Python environment of the serving runtime."""

    def call(self, operation: str, **arguments: Any) -> Any:
        """An operation of the runtime's job: ``read_signature``, ``load`` …"""


class Refused(PlatformError):
    """The API server or an admission webhook rejected an object; the message has its error."""


class ClusterClient(Protocol):
    """The session's namespaces of the cluster. Objects that are created with this client are deleted when the session ends.

    Kinds are named as in kubectl: ``inferenceservice``, ``pod``, ``revision.serving.knative.dev`` … The default of ``namespace`` is the
    serving namespace.
    """

    @property
    def namespace(self) -> str:
        """The namespace of InferenceServices; its default service account has the store's credentials."""

    @property
    def pipeline_namespace(self) -> str:
        """The namespace of pipelines and training."""

    @property
    def images(self) -> Mapping[str, str]:
        """Role → image of the session's pods."""

    @property
    def paths(self) -> Sequence[NetworkPath]:
        """The network paths that the platform needs, and those that it must block, as far as this target knows them."""

    def apply(self, document: Mapping[str, Any], *, strict: bool = True, dry_run: bool = False) -> Mapping[str, Any]:
        """Apply an object and return it as stored by the API server (with ``dry_run``, as it would be stored). Raises Refused.

        With ``strict=False``, unknown fields are dropped silently, as by default in the Python clients.
        """

    def get(self, kind: str, name: str = "", *, namespace: str = "", selector: str = "") -> Mapping[str, Any] | None:
        """One object, or None when it does not exist; without a name, a ``List`` of the objects that ``selector`` matches."""

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str = "") -> Mapping[str, Any]:
        """Apply a JSON merge patch; returns the object as stored. Raises Refused."""

    def delete(self, kind: str, name: str, *, namespace: str = "") -> None:
        """Delete an object and wait until it is removed. An object that does not exist is not an error."""

    def execute(
        self, pod: str, command: Sequence[str], *, container: str = "", namespace: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        """Run a command in a pod; returns its exit status, and standard output followed by standard error."""

    def pod_get(self, pod: str, port: int, path: str, *, namespace: str = "") -> HttpExchange:
        """GET a path of a pod's port through the API server's proxy, which returns 502 or 503 itself when the pod does not respond."""

    def events(self, namespace: str = "") -> Sequence[Mapping[str, Any]]:
        """The events of a namespace, oldest first."""

    def log(self, pod: str, container: str, *, previous: bool = False, namespace: str = "") -> str:
        """A container's log; empty when there is none."""


class MetricsClient(Protocol):
    """The platform's Prometheus."""

    def query(self, promql: str) -> list[tuple[Mapping[str, str], float]]:
        """An instant query at the current time: labels and value of each series. Raises CannotTell when Prometheus does not respond."""

    def range(
        self, promql: str, *, begin: float, end: float, step: float = 5.0
    ) -> list[tuple[Mapping[str, str], list[tuple[float, float]]]]:
        """A range query (times in seconds since the epoch): labels and (time, value) points of each series. Raises CannotTell."""


class Background(Protocol):
    """Requests that are sent at a constant rate in the background."""

    def mark(self, name: str) -> float:
        """Record a mark at the current time and return the time (``time.monotonic``)."""

    @property
    def answers(self) -> Sequence[Answer]:
        """The answered and lost requests so far, ordered by the time at which they were due; all of them after the block."""

    @property
    def stream(self) -> Stream:
        """The requests, answers and marks so far."""


class TrafficClient(Protocol):
    """Load on an InferenceService of the serving namespace, through the ingress."""

    def send(
        self, service: str, request: Mapping[str, Any], *, times: int, concurrency: int = 4, timeout: float = 30.0
    ) -> list[Answer]:
        """Send ``times`` requests, ``concurrency`` of them in flight at a time. ``timeout`` is in seconds."""

    def background(
        self, service: str, request: Mapping[str, Any], *, rate: float, timeout: float = 60.0
    ) -> AbstractContextManager[Background]:
        """Send ``rate`` requests per second until the end of the block (open loop: each is sent when it is due, however slow the responses
        are).

        Leaving the block waits for requests in flight.
        """


class FaultInjector(Protocol):
    """Makes the changes of a fault. Each change is written to a journal on disk, with the command that reverts it, before it is made, and
    only the fault's declared affected objects can be changed. Namespaces are named by their role (``trivet.model.fault``).
    """

    @property
    def namespaces(self) -> Mapping[str, str]:
        """Role → namespace."""

    def get(self, kind: str, name: str, *, namespace: str) -> Mapping[str, Any] | None:
        """One object, or None when it does not exist."""

    def find(self, kind: str, *, namespace: str, selector: str = "") -> Sequence[Mapping[str, Any]]:
        """The objects that ``selector`` matches."""

    def create(self, document: Mapping[str, Any]) -> None:
        """Create an object; its ``metadata.namespace`` is a role. Raises UsageError when an object of that name already exists."""

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *, namespace: str) -> None:
        """Change an object with a JSON merge patch; the revert restores the previous values of its fields."""

    def delete_pod(self, pod: str, *, namespace: str) -> None:
        """Delete a pod, which its controller creates again. Raises UsageError for a pod without a controller."""

    def crash(self, pod: str, container: str, *, namespace: str) -> None:
        """Kill the child processes of a container's first process. When that process exits too, the kubelet restarts the container."""

    def change(self, what: str, apply: Callable[[], object], revert: Callable[[], object]) -> None:
        """Change something that the scenario created and that is not a Kubernetes object, such as an alias of its model.

        ``revert`` may run twice. The change is not in the journal and needs no declared affected object: after a kill it remains, with the
        scenario's model.
        """

    def execute(
        self, pod: str, command: Sequence[str], *, namespace: str, container: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        """Run a command in a pod; returns its exit status, and standard output followed by standard error."""


class RevertibleInjector(FaultInjector, Protocol):
    """A fault injector with the revert, for the engine."""

    @property
    def changed_objects(self) -> Sequence[str]:
        """A description of each change so far."""

    def revert(self) -> Sequence[tuple[str, str]]:
        """Revert every change, the last one first. Returns the changes that remain: the reason, and the command that reverts it."""


class Lease(Protocol):
    """The lease of a cluster, held."""

    @property
    def lost(self) -> str:
        """Why this run no longer holds it, such as that another run does; empty while it holds it."""

    def verify(self) -> None:
        """Read it now, and set ``lost`` if this run no longer holds it. Raises PlatformError when it cannot be read."""


class FaultClient(Protocol):
    """Faults on a cluster: the lease, and fault injectors."""

    @property
    def owned(self) -> bool:
        """Whether the cluster is trivet's own."""

    @property
    def context(self) -> str:
        """The context of the kubeconfig."""

    @property
    def namespaces(self) -> Mapping[str, str]:
        """Role → namespace, for the roles that faults may affect on this cluster."""

    def lease(self, wait: float = 0.0) -> AbstractContextManager[Lease]:
        """Hold the cluster's lease for scenarios during the block; there is one per cluster.

        Raises UsageError when another run still holds it after ``wait`` seconds, and PlatformError when it cannot be released.
        """

    def injector(self, affected_objects: Sequence[AffectedObject]) -> RevertibleInjector:
        """A fault injector that can change only ``affected_objects``."""
