"""What a session's tracking server and artefact store keep things in: this machine's files, or servers in containers.

Each kind of database and of store is one class here, chosen by name. The containers run what a cluster of the same stack runs.
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
from trivet.targets.local.servers import answers

BUCKET = "mlflow"
REGION = "us-east-1"


class Database(Protocol):
    """Where MLflow keeps its records. ``image`` is the path of the image that it runs from; empty when it is no server."""

    title: str
    image: str

    def start(self) -> str:
        """Start it, if it is a server, and return its SQLAlchemy URL."""


class Artifacts(Protocol):
    """Where artefacts are kept. ``root`` is its root as a URI."""

    title: str
    image: str
    root: str

    def start(self) -> Mapping[str, str]:
        """Start it, if it is a server, and return the environment variables by which MLflow's clients and KServe reach it."""

    def client(self, job: Callable[[], Worker], fetch: Callable[[str], Download]) -> StoreClient:
        """The store's client; ``job`` starts ``trivet.fixtures.jobs.store``, ``fetch`` is the storage initializer."""


class Sqlite:
    """A file."""

    title = "SQLite"
    image = ""

    def __init__(self, directory: Path, containers: Containers) -> None:
        self._file = directory / "mlflow.db"

    def start(self) -> str:
        return f"sqlite:///{self._file}"


class Postgresql:
    """A server, with its data in memory."""

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
            # Nothing of it outlives the run, so that nothing need be flushed to a disk.
            command=("postgres", "-c", "fsync=off"),
            environment={"POSTGRES_USER": "mlflow", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "mlflow"},
            memory=("/var/lib/postgresql/data",),
            ready=speaks_postgresql,
        )
        return f"postgresql+psycopg2://mlflow:{password}@{self._containers.start(service)}/mlflow"


class Directory:
    """A directory of this machine."""

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
    """An S3 server with one bucket, kept in memory."""

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
            # The gateway takes every directory in /data for a bucket, so that this makes ours.
            memory=(f"/data/{BUCKET}", "/sidecar"),
            ready=lambda address: answers(f"http://{address}/health"),
        )
        return s3_environment(self._containers.start(service), key, secret)

    def client(self, job: Callable[[], Worker], fetch: Callable[[str], Download]) -> StoreClient:
        return S3Store(self.root, job(), fetch)


DATABASES: Mapping[str, type[Sqlite] | type[Postgresql]] = {"sqlite": Sqlite, "postgresql": Postgresql}
STORES: Mapping[str, type[Directory] | type[S3Bucket]] = {"files": Directory, "s3": S3Bucket}


def speaks_postgresql(address: str) -> bool:
    """Whether a server that takes clients answers there, with one of the two letters that its protocol has for a request for TLS.

    The server that sets the database up in a fresh container takes none over the network, and Docker accepts connections before any
    does. Source: PostgreSQL 15, "Frontend/Backend Protocol", SSLRequest.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
            return connection.recv(1) in (b"N", b"S")
    except OSError:
        return False


def s3_environment(address: str, key: str, secret: str) -> dict[str, str]:
    """What KServe injects into the storage initializer for an S3 secret with an endpoint without TLS.

    Beside that MLflow's own variable for the endpoint, and what keeps the user's settings for other stores and for proxies away.
    Source: kserve 0.14.1 and 0.20.0, pkg/credentials/s3: ``BuildSecretEnvs``, ``BuildS3EnvVars``.
    """
    proxied_never = f"127.0.0.1,localhost,{address.rpartition(':')[0]}"
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "S3_USE_HTTPS": "0",
        "S3_ENDPOINT": address,
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_DEFAULT_REGION": REGION,
        "MLFLOW_S3_ENDPOINT_URL": f"http://{address}",
        # A pod has no such files; the user's may name another place or a profile.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": proxied_never,
        "no_proxy": proxied_never,
    }


@dataclass(frozen=True, kw_only=True)
class Backing:
    """What the user chose: a database and a store by name, and where the images of those in containers come from.

    ``images`` is ``pull`` or ``build``; ``mirror`` is the URL of a registry to pull them from instead of their own, empty for none.
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
        return [f"container: {images.image(path).reference}, {source} unless it is there" for path in paths]

    @contextmanager
    @uninterruptible
    def open(self, stack: Stack, run: Run, stop: threading.Event, emit: Emit) -> Iterator[tuple[Database, Artifacts]]:
        """Both, not started yet; what they start in containers is removed at the end of the block.

        Raises PlatformError when there is no Docker to start them, or an image is not to be had.
        """
        names = self._in_docker(stack, stop, emit) if self._paths() else {}
        with Containers(run, names, stop) as containers:
            yield (
                DATABASES[self.database](run.directory, containers),
                STORES[self.store](run.directory, containers),
            )

    def _paths(self) -> list[str]:
        return [chosen.image for chosen in (DATABASES[self.database], STORES[self.store]) if chosen.image]

    @interruptible
    def _in_docker(self, stack: Stack, stop: threading.Event, emit: Emit) -> dict[str, str]:
        """Path → the name under which Docker has the image, once it has them all."""
        require_docker()
        images = images_of(stack)
        wanted = {path: images.image(path) for path in self._paths()}
        if self.images == "build":
            store = build(images, only=list(wanted.values()), on_step=steps_as_phases(emit), stop=stop)
            place = f"127.0.0.1:{store.port}/{images.key}"
            names = {path: f"{place}/{path}:{image.reference.tag}" for path, image in wanted.items()}
        else:
            names = {
                path: mirrored(image.pull, self.mirror) if self.mirror else image.pull for path, image in wanted.items()
            }
        for path, name in names.items():
            with phase(emit, f"image {path}"):
                pull(name)
        return names
