"""The storage backends of the local target: kinds, starts, and errors without Docker."""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from trivet.errors import PlatformError, UsageError
from trivet.host import containers
from trivet.host.containers import Containers, Service, docker_error, require_docker
from trivet.host.journal import Run, leftovers
from trivet.host.processes import Processes
from trivet.model.handover import Download
from trivet.stacks.read import load_stack
from trivet.targets.common.clients import S3Store
from trivet.targets.local import backing
from trivet.targets.local.backing import Backing, Postgresql, S3Bucket, accepts_postgresql_clients, s3_environment
from trivet.targets.local.session import LocalSession
from trivet.targets.local.target import LocalTarget


class FakeContainer:
    """A fake of testcontainers' container; ``history`` has the calls."""

    def __init__(self, history: list[str], *, status: str = "running", refuses: bool = False) -> None:
        self.history = history
        self.status = status
        self.ports: dict[str, Any] = {}
        self._refuses = refuses

    def get_docker_client(self) -> FakeContainer:
        return self

    def with_name(self, name: str) -> FakeContainer:
        self.history.append(f"named {name}")
        return self

    def start(self) -> None:
        if self._refuses:
            raise RuntimeError("no space left on device")
        self.history.append("started")

    def stop(self) -> None:
        self.history.append("removed")

    def get_container_host_ip(self) -> str:
        return "192.0.2.7"

    def get_exposed_port(self, port: int) -> int:
        return port + 1

    def reload(self) -> None:
        pass

    def get_logs(self) -> tuple[bytes, bytes]:
        return b"hello\n", b"no such table\n"


@pytest.fixture
def run() -> Iterator[Run]:
    with Run() as made:
        yield made


def service(ready: Callable[[str], bool] = lambda address: True) -> Service:
    return Service(name="store", image="a/b", port=70, command=("x",), environment={}, memory=(), ready=ready)


def containers_of(
    run: Run, monkeypatch: pytest.MonkeyPatch, fake: FakeContainer, *, here: bool = True, stop: bool = False
) -> Containers:
    monkeypatch.setattr(Containers, "_container", lambda self, service: fake)
    monkeypatch.setattr(containers, "_is_local", lambda client: here)
    event = threading.Event()
    if stop:
        event.set()
    return Containers(run, {"a/b": "docker.io/a/b:1"}, event)


def journal(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.directory / "journal.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("here", "address"), [(True, "127.0.0.1:71"), (False, "192.0.2.7:71")])
def test_a_container_is_journalled_started_and_removed(
    run: Run, monkeypatch: pytest.MonkeyPatch, here: bool, address: str
) -> None:
    fake = FakeContainer([])
    with containers_of(run, monkeypatch, fake, here=here) as started:
        assert started.start(service()) == address
        assert fake.ports == {"70/tcp": ("127.0.0.1",) if here else None}
    name = f"trivet-{run.id}-store"
    assert fake.history == [f"named {name}", "started", "removed"]
    (cleanup,) = [entry for entry in journal(run) if entry["event"] == "cleanup"]
    assert cleanup["command"][0] == "docker"
    assert cleanup["command"][-4:] == ["rm", "--force", "--volumes", name]


def test_a_container_whose_start_failed_is_removed_and_in_the_journal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeContainer([], refuses=True)
    with (
        containers_of(run, monkeypatch, fake) as started,
        pytest.raises(PlatformError, match=r"start the container of the store: no space left"),
    ):
        started.start(service())
    assert fake.history[-1] == "removed"
    assert [entry["event"] for entry in journal(run)] == ["owner", "cleanup"]


def test_a_container_that_cannot_be_removed_stays_in_the_journal_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: FakeContainer) -> None:
        raise RuntimeError("no daemon")

    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    monkeypatch.setattr(FakeContainer, "stop", stop)
    with Run() as run, containers_of(run, monkeypatch, FakeContainer([])) as started:
        started.start(service())
    (left,) = leftovers()
    assert left.cleanups == (f"container trivet-{run.id}-store",)


def test_a_session_whose_start_fails_has_ended_its_parts_before_containers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def prepare(self: LocalSession) -> None:
        def part() -> None:
            self._processes.closed.wait(5)
            time.sleep(0.05)
            order.append("part ended")

        self._pool.submit(part)
        raise RuntimeError("can't start new thread")

    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    monkeypatch.setattr(LocalSession, "_prepare", prepare)
    monkeypatch.setattr(Containers, "__exit__", lambda *_: order.append("containers removed"))
    with pytest.raises(RuntimeError, match="new thread"):
        LocalTarget().start(load_stack("current"), lambda event: None).__enter__()
    assert order == ["part ended", "containers removed"]
    assert leftovers() == []


def test_a_container_that_ends_is_an_error_with_its_log_tail(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        containers_of(run, monkeypatch, FakeContainer([], status="exited")) as started,
        pytest.raises(PlatformError, match=r"container of the store exited; log tail:\nhello\nno such table"),
    ):
        started.start(service(ready=lambda address: False))


def test_waiting_for_a_container_has_a_timeout(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.host.limits.CONTAINER", 0.05)
    with (
        containers_of(run, monkeypatch, FakeContainer([])) as started,
        pytest.raises(
            PlatformError,
            match=r"timed out after 0\.05 s waiting for the store to be ready: last seen log tail:\nhello",
        ),
    ):
        started.start(service(ready=lambda address: False))


def test_nothing_is_started_once_the_session_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeContainer([])
    with (
        containers_of(run, monkeypatch, fake, stop=True) as started,
        pytest.raises(PlatformError, match="session is ending"),
    ):
        started.start(service())
    assert fake.history == []


@pytest.mark.parametrize(
    ("words", "docker", "message", "remedy"),
    [
        (
            "('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))",
            None,
            "there is no Docker on this machine",
            "install Docker",
        ),
        (
            "('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))",
            "/usr/bin/docker",
            "daemon does not respond (No such file or directory)",
            "start the Docker daemon",
        ),
        (
            "HTTPConnectionPool: Max retries exceeded (Caused by [Errno 111] Connection refused)",
            "/usr/bin/docker",
            "daemon does not respond (Connection refused)",
            "start the Docker daemon",
        ),
        (
            "('Connection aborted.', PermissionError(13, 'Permission denied'))",
            None,
            "no access to the Docker daemon",
            "group `docker`",
        ),
        ("no space left on device", None, "no space left on device", "Docker's message"),
    ],
)
def test_errors_of_the_docker_client_get_a_remedy(
    monkeypatch: pytest.MonkeyPatch, words: str, docker: str | None, message: str, remedy: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: docker)
    error = docker_error("talk to Docker", words)
    assert message in error.message
    assert error.remedy.startswith(remedy) or remedy in error.remedy
    assert error.remedy.endswith(containers.WITHOUT)


def test_a_missing_testcontainers_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("testcontainers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "testcontainers", None)
    with pytest.raises(PlatformError, match="need testcontainers") as caught:
        require_docker()
    assert "trivet[containers]" in caught.value.remedy


@pytest.mark.parametrize(
    ("chosen", "message"),
    [({"store": "s4"}, "unknown store 's4'"), ({"database": "mysql"}, "unknown database 'mysql'")],
)
def test_an_unknown_backend_is_refused_with_the_known_ones(chosen: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Backing(**chosen)
    assert "choose one of: " in caught.value.remedy


def test_files_and_sqlite_need_no_docker(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "require_docker", lambda: pytest.fail("asked for Docker"))
    with Backing().open(load_stack("2024.11-fixed"), run, threading.Event(), lambda event: None) as (
        database,
        artifacts,
    ):
        assert database.start() == f"sqlite:///{run.directory}/mlflow.db"
        assert artifacts.start() == {}
        assert artifacts.root == f"file://{run.directory}/artifacts"
        assert Path(artifacts.root.removeprefix("file://")).is_dir()


def test_the_plan_names_the_containers_and_the_database() -> None:
    stack = load_stack("2024.11-fixed")
    lines = LocalTarget(Backing(store="s3", database="postgresql")).plan(stack)
    assert [line for line in lines if line.startswith("container: ")] == [
        "container: docker.io/library/postgres:15, pulled if missing",
        "container: docker.io/versity/versitygw:v1.8.0, pulled if missing",
    ]
    assert any("on PostgreSQL" in line for line in lines)
    assert not [line for line in LocalTarget().plan(stack) if line.startswith("container: ")]


@pytest.mark.parametrize(
    ("mirror", "name"),
    [
        ("", "docker.io/versity/versitygw:v1.8.0"),
        ("https://mirror.example/proxy", "mirror.example/proxy/versity/versitygw:v1.8.0"),
    ],
)
def test_an_image_is_pulled_from_its_registry_or_from_the_mirror(
    run: Run, monkeypatch: pytest.MonkeyPatch, mirror: str, name: str
) -> None:
    pulled: list[str] = []
    monkeypatch.setattr(backing, "require_docker", lambda: None)
    monkeypatch.setattr(backing, "pull", pulled.append)
    chosen = Backing(store="s3", mirror=mirror)
    with chosen.open(load_stack("2024.11-fixed"), run, threading.Event(), lambda event: None):
        assert pulled == [name]


def started_by(kind: type[S3Bucket] | type[Postgresql], tmp_path: Path) -> tuple[Any, Service]:
    """The result of a backend's ``start``, and the service that it started."""

    class Recorder:
        def start(self, service: Service) -> str:
            self.service = service
            return "192.0.2.7:71"

    recorder = Recorder()
    return kind(tmp_path, recorder).start(), recorder.service  # type: ignore[arg-type]


def test_the_address_of_the_database_holds_the_password_that_the_server_was_given(tmp_path: Path) -> None:
    url, asked = started_by(Postgresql, tmp_path)
    password = asked.environment["POSTGRES_PASSWORD"]
    assert url == f"postgresql+psycopg2://mlflow:{password}@192.0.2.7:71/mlflow"
    assert password not in repr(asked)
    assert password != started_by(Postgresql, tmp_path)[1].environment["POSTGRES_PASSWORD"]


def test_the_store_is_accessed_with_the_variables_that_kserve_sets(tmp_path: Path) -> None:
    environment, asked = started_by(S3Bucket, tmp_path)
    secret = asked.environment["ROOT_SECRET_ACCESS_KEY"]
    assert environment == s3_environment("192.0.2.7:71", "trivet", secret)
    # kserve 0.14.1 and 0.20.0, pkg/credentials/s3/utils.go, for an endpoint with use-https 0.
    injected = {
        "AWS_ACCESS_KEY_ID": "trivet",
        "AWS_SECRET_ACCESS_KEY": secret,
        "S3_USE_HTTPS": "0",
        "S3_ENDPOINT": "192.0.2.7:71",
        "AWS_ENDPOINT_URL": "http://192.0.2.7:71",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    assert injected.items() <= environment.items()
    assert "192.0.2.7" in environment["NO_PROXY"].split(",")


def test_settings_for_other_stores_do_not_reach_the_processes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "of-the-user")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    seen = {foreign: Processes(run, foreign=foreign)._inherited(Path("/bin/true")) for foreign in ((), ("AWS_",))}
    assert [("AWS_PROFILE" in one, "MLFLOW_TRACKING_URI" in one) for one in seen.values()] == [
        (True, False),
        (False, False),
    ]


@pytest.mark.parametrize(("answer", "ready"), [(b"N", True), (b"S", True), (b"", False), (b"H", False)])
def test_a_database_is_ready_when_it_responds_in_its_protocol(answer: bytes, ready: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(8) == b"\0\0\0\x08\x04\xd2\x16\x2f"
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert accepts_postgresql_clients(f"127.0.0.1:{server.getsockname()[1]}") is ready
        thread.join()


def test_a_database_without_a_server_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not accepts_postgresql_clients(f"127.0.0.1:{port}")


class FakeJob:
    """A fake of the store's job that records its calls."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, operation: str, **arguments: Any) -> Any:
        self.asked.append((operation, arguments))
        return {"MLmodel": "digest"}


@pytest.fixture
def job() -> FakeJob:
    return FakeJob()


@pytest.fixture
def store(job: FakeJob) -> S3Store:
    def fetch(storage_uri: str) -> Download:
        return Download(directory=Path(storage_uri), files={}, log="")

    return S3Store("s3://mlflow", job, fetch)  # type: ignore[arg-type]


def test_files_for_s3_are_passed_to_the_job_unchanged(store: S3Store, job: FakeJob) -> None:
    assert store.write("a b/ü%20?", {"data/x": bytes(range(256))}) == "s3://mlflow/a b/ü%20?"
    ((operation, arguments),) = job.asked
    assert (operation, arguments["uri"]) == ("write", "s3://mlflow/a b/ü%20?")
    assert {name: base64.b64decode(text) for name, text in arguments["files"].items()} == {"data/x": bytes(range(256))}


@pytest.mark.parametrize("uri", ["s3://mlflow", "s3://mlflow/", "s3://mlflow/1/model/"])
def test_files_in_the_bucket_are_read(store: S3Store, uri: str) -> None:
    found: Mapping[str, str] = store.files(uri)
    assert found == {"MLmodel": "digest"}


@pytest.mark.parametrize("uri", ["s3://mlflow-other/model/", "file:///mlflow/model", "mlflow/model"])
def test_uris_outside_the_bucket_are_refused(store: S3Store, uri: str) -> None:
    with pytest.raises(UsageError, match="not in this store"):
        store.files(uri)


@pytest.mark.parametrize("relative", ["../outside", "/etc", "a/../../b"])
def test_s3_is_not_written_outside_the_root(store: S3Store, relative: str) -> None:
    with pytest.raises(UsageError, match="outside the store"):
        store.write(relative, {"x": b""})


def test_a_download_is_the_storage_initializers(store: S3Store) -> None:
    assert store.download("s3://mlflow/model/").directory == Path("s3://mlflow/model/")
