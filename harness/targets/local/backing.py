"""The storage backends of a local session: files on this machine, or a database and an S3 server in containers.

Each kind of database and of store is one class, selected by name. The containers use the same images as a cluster of the stack.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trivet.errors import unknown
from trivet.host.containers import Containers, Service, pull, require_docker
from trivet.host.journal import Run
from trivet.host.signals import interruptible, uninterruptible
from trivet.host.worker import Worker
from trivet.model.clients import StoreClient
from trivet.model.events import Emit, phase
from trivet.model.handover import Download
from trivet.model.stack import Stack
from trivet.provision.images.build import build
from trivet.provision.images.progress import steps_as_phases
from trivet.provision.images.pulled import mirrored
from trivet.provision.images.recipes import images_of
from trivet.targets.common.clients import DirectoryStore, S3Store
from trivet.targets.local.servers import responds_ok

BUCKET = "mlflow"
REGION = "us-east-1"


class Database(Protocol):
    """MLflow's database. ``image`` is the path of the server's image; empty when there is no server."""

    title: str
    image: str

    def start(self) -> str:
        """Start the server, if there is one; returns the SQLAlchemy URL."""


class Artifacts(Protocol):
    """The artifact store. ``root`` is its root as a URI; ``image`` as in :class:`Database`."""

    title: str
    image: str
    root: str

    def start(self) -> Mapping[str, str]:
        """Start the server, if there is one; returns the environment variables with which MLflow's clients and KServe access it."""

    def client(self, job: Callable[[], Worker], fetch: Callable[[str], Download]) -> StoreClient:
        """The store client. ``job`` starts ``trivet.fixtures.jobs.store``; ``fetch`` downloads with the storage initializer."""


class Sqlite:
    """A SQLite file."""

    title = "SQLite"
    image = ""

    def __init__(self, directory: Path, containers: Containers) -> None:
        self._file = directory / "mlflow.db"

    def start(self) -> str:
        return f"sqlite:///{self._file}"


class Postgresql:
    """A PostgreSQL server with its data in memory."""

    title = "PostgreSQL"
    image = "library/postgres"

    def __init__(self, directory: Path, containers: Containers) -> None:
        self._containers = containers

    def start(self) -> str:
        password = secrets.token_hex(16)
        service = Service(
            name="database",
            image=self.image,
            port=5432,
            # The data is deleted with the run, so fsync is not needed.
            command=("postgres", "-c", "fsync=off"),
            environment={"POSTGRES_USER": "mlflow", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "mlflow"},
            memory=("/var/lib/postgresql/data",),
            ready=accepts_postgresql_clients,
        )
        return f"postgresql+psycopg2://mlflow:{password}@{self._containers.start(service)}/mlflow"


class Directory:
    """A directory on this machine."""

    title = "a directory"
    image = ""

    def __init__(self, directory: Path, containers: Containers) -> None:
        self._directory = directory / "artifacts"
        self.root = f"file://{self._directory}"

    def start(self) -> Mapping[str, str]:
        self._directory.mkdir()
        return {}

    def client(self, job: Callable[[], Worker], fetch: Callable[[str], Download]) -> StoreClient:
        return DirectoryStore(self._directory, fetch)


class S3Bucket:
    """An S3 server with one bucket in memory."""

    title = "S3"
    image = "versity/versitygw"
    root = f"s3://{BUCKET}"

    def __init__(self, directory: Path, containers: Containers) -> None:
        self._containers = containers

    def start(self) -> Mapping[str, str]:
        key, secret = "trivet", secrets.token_hex(20)
        service = Service(
            name="store",
            image=self.image,
            port=7070,
            command=(
                *("--port", ":7070", "--region", REGION, "--health", "/health"),
                *("posix", "--sidecar", "/sidecar", "/data"),
            ),
            environment={"ROOT_ACCESS_KEY_ID": key, "ROOT_SECRET_ACCESS_KEY": secret},
            # versitygw serves every directory in /data as a bucket, so this mount creates the bucket.
            memory=(f"/data/{BUCKET}", "/sidecar"),
            ready=lambda address: responds_ok(f"http://{address}/health"),
        )
        return s3_environment(self._containers.start(service), key, secret)

    def client(self, job: Callable[[], Worker], fetch: Callable[[str], Download]) -> StoreClient:
        return S3Store(self.root, job(), fetch)


DATABASES: Mapping[str, type[Sqlite] | type[Postgresql]] = {"sqlite": Sqlite, "postgresql": Postgresql}
STORES: Mapping[str, type[Directory] | type[S3Bucket]] = {"files": Directory, "s3": S3Bucket}


def accepts_postgresql_clients(address: str) -> bool:
    """Whether a PostgreSQL server at ``host:port`` accepts clients: it responds to an SSLRequest with ``N`` or ``S``.

    A successful connect is not enough: Docker accepts connections before the server does, and the server that initialises the database in
    a new container accepts none over the network. Source: PostgreSQL 15, "Frontend/Backend Protocol", SSLRequest.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
            return connection.recv(1) in (b"N", b"S")
    except OSError:
        return False


def s3_environment(address: str, key: str, secret: str) -> dict[str, str]:
    """The variables that KServe sets in the storage initializer for an S3 secret with an endpoint without TLS.

    In addition MLflow's variable for the endpoint, and variables that disable the user's settings for other stores and for proxies.
    Source: kserve 0.14.1 and 0.20.0, pkg/credentials/s3: ``BuildSecretEnvs``, ``BuildS3EnvVars``.
    """
    no_proxy = f"127.0.0.1,localhost,{address.rpartition(':')[0]}"
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "S3_USE_HTTPS": "0",
        "S3_ENDPOINT": address,
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_DEFAULT_REGION": REGION,
        "MLFLOW_S3_ENDPOINT_URL": f"http://{address}",
        # A pod has no such files; the user's may set another endpoint or a profile.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }


@dataclass(frozen=True, kw_only=True)
class Backing:
    """The names of database and store, and the source of images for those in containers.

    ``images`` is ``pull`` or ``build``; ``mirror`` is the URL of a mirror to pull images from, empty for none. Raises UsageError for an
    unknown name.
    """

    store: str = "files"
    database: str = "sqlite"
    images: str = "pull"
    mirror: str = ""

    def __post_init__(self) -> None:
        for kind, name, known in (("database", self.database, DATABASES), ("store", self.store, STORES)):
            if name not in known:
                raise unknown(kind, name, known)

    def plan(self, stack: Stack) -> Sequence[str]:
        """A line for each container."""
        if not (paths := self._paths()):
            return ()
        images = images_of(stack)
        source = "built from packages" if self.images == "build" else "pulled"
        return [f"container: {images.image(path).reference}, {source} if missing" for path in paths]

    def options(self, stack: Stack) -> Mapping[str, str]:
        """Database and store, with the images of those in containers: what results rest on."""
        return {
            "database": self._described(DATABASES[self.database], stack),
            "store": self._described(STORES[self.store], stack),
        }

    def _described(self, backend: type[Database] | type[Artifacts], stack: Stack) -> str:
        return (
            f"{backend.title} in {images_of(stack).image(backend.image).reference}" if backend.image else backend.title
        )

    @contextmanager
    @uninterruptible
    def open(self, stack: Stack, run: Run, stop: threading.Event, emit: Emit) -> Iterator[tuple[Database, Artifacts]]:
        """Database and store, not started yet; their containers are removed at the end of the block.

        Raises PlatformError when they need containers and Docker is not available, or an image cannot be built or pulled.
        """
        names = self._ensure_images(stack, stop, emit) if self._paths() else {}
        with Containers(run, names, stop) as containers:
            yield (
                DATABASES[self.database](run.directory, containers),
                STORES[self.store](run.directory, containers),
            )

    def _paths(self) -> list[str]:
        return [backend.image for backend in (DATABASES[self.database], STORES[self.store]) if backend.image]

    @interruptible
    def _ensure_images(self, stack: Stack, stop: threading.Event, emit: Emit) -> dict[str, str]:
        """Path → the image's name in Docker, after it has been built or pulled."""
        require_docker()
        images = images_of(stack)
        needed = {path: images.image(path) for path in self._paths()}
        if self.images == "build":
            store = build(images, only=list(needed.values()), on_step=steps_as_phases(emit), stop=stop)
            repository = f"127.0.0.1:{store.port}/{images.key}"
            names = {path: f"{repository}/{path}:{image.reference.tag}" for path, image in needed.items()}
        else:
            names = {
                path: mirrored(image.pull, self.mirror) if self.mirror else image.pull for path, image in needed.items()
            }
        for path, name in names.items():
            with phase(emit, f"image {path}"):
                pull(name)
        return names
