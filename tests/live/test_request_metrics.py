"""What was sent is what is counted: a real MLServer scraped by a real Prometheus, and every fault between the two and the judge."""

from __future__ import annotations

import datetime
import ipaddress
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from prometheus_servers import INTERVAL, PrometheusServer, target

from trivet.errors import CannotTell
from trivet.host.processes import free_ports
from trivet.integration import request_metrics
from trivet.integration.canary_counts import ArmCounts
from trivet.integration.monitoring import error_rate_query, latency_query, request_rate_query
from trivet.integration.prometheus import Prometheus, PrometheusError
from trivet.integration.request_metrics import (
    MLSERVER_DATA_PLANE,
    MLSERVER_GRPC,
    MLSERVER_REST,
    RequestSource,
    counts_of,
    detect_source,
    latest_end,
    read_counters,
    read_window,
)
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack
from trivet.toolkit.waiting import last_answer

pytestmark = pytest.mark.processes

NAMESPACE, REVISION = "ml-serving", "echo-predictor-00002"
SCRAPED_WELL = 5
"""Targets of the Prometheus below that answer."""
STARTUP = 90.0

MODEL = """
import asyncio
from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.types import InferenceResponse, ResponseOutput


class Echo(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        value = payload.inputs[0].data[0]
        if value == -1:
            raise RuntimeError("a fault of the server")
        if value == -2:
            raise MLServerError("a fault of the client", 400)
        await asyncio.sleep(value)
        return InferenceResponse(
            model_name=self.name, outputs=[ResponseOutput(name="y", shape=[1], datatype="FP64", data=[value])]
        )
"""

CALLS = """
import sys
import grpc
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

stub = GRPCInferenceServiceStub(grpc.insecure_channel(sys.argv[1]))
for value in map(float, sys.argv[2:]):
    tensor = pb.ModelInferRequest.InferInputTensor(
        name="x", datatype="FP64", shape=[1], contents=pb.InferTensorContents(fp64_contents=[value])
    )
    try:
        stub.ModelInfer(pb.ModelInferRequest(model_name="echo", inputs=[tensor]))
    except grpc.RpcError as error:
        print(error.code().name)
    else:
        print("OK")
"""


class MLServer:
    """MLServer with a model that answers, fails and waits as it is told."""

    def __init__(self, folder: Path, stack: str) -> None:
        self._folder = folder
        self._python = build_environment(load_stack(stack).roles["runtime"]).python
        self.http, self.grpc, self.metrics = free_ports(3)
        folder.mkdir(parents=True)
        (folder / "echo.py").write_text(MODEL)
        (folder / "calls.py").write_text(CALLS)
        (folder / "model-settings.json").write_text('{"name": "echo", "implementation": "echo.Echo"}')
        (folder / "settings.json").write_text(
            f'{{"host": "127.0.0.1", "http_port": {self.http}, "grpc_port": {self.grpc}, "metrics_port": {self.metrics},'
            ' "parallel_workers": 0}'
        )
        self.process: psutil.Popen | None = None

    def start(self) -> None:
        environment = {
            "PATH": f"{self._python.parent}:/usr/bin:/bin",
            "HOME": str(self._folder),
            "PYTHONPATH": str(self._folder),
        }
        with (self._folder / "mlserver.log").open("ab") as log:
            self.process = psutil.Popen(
                [str(self._python.with_name("mlserver")), "start", str(self._folder)],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + STARTUP
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.ready() == 200:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.2)
        pytest.fail(f"MLServer does not become ready: {(self._folder / 'mlserver.log').read_text()[-2000:]}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ready(self) -> int:
        return requests.get(f"http://127.0.0.1:{self.http}/v2/models/echo/ready", timeout=5).status_code

    def send(self, value: float, route: str = "models/echo/infer") -> int:
        body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [value]}]}
        return requests.post(f"http://127.0.0.1:{self.http}/v2/{route}", json=body, timeout=30).status_code

    def call(self, *values: float) -> list[str]:
        command = [str(self._python), "calls.py", f"127.0.0.1:{self.grpc}", *map(str, values)]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.split()


@pytest.fixture(scope="module", params=["2024.11-fixed", "current"])
def mlserver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLServer]:
    """MLServer 1.5.0 and 1.7.1."""
    found = MLServer(tmp_path_factory.mktemp("mlserver") / "model", request.param)
    found.start()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def server(mlserver: MLServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that scrapes the server as pods of several revisions, well and badly."""

    def pod(revision: str, pod: str) -> dict[str, str]:
        return {"namespace": NAMESPACE, "inferenceservice": "echo", "revision": revision, "pod": pod}

    (closed,) = free_ports(1)
    found = PrometheusServer(
        tmp_path_factory.mktemp("prometheus"),
        [
            target(mlserver.metrics, job="predictor", **pod(REVISION, "pod-2")),
            target(mlserver.metrics, job="stable", **pod("echo-predictor-00001", "pod-1")),
            target(mlserver.metrics, job="pods", **pod("twice", "pod-3")),
            target(mlserver.metrics, job="again", **pod("twice", "pod-3")),
            target(mlserver.metrics, job="native", **pod("native", "pod-4"))
            | {"convert_classic_histograms_to_nhcb": True},
            target(closed, job="closed", **pod("closed", "pod-5")),
        ],
    )
    found.start(Prometheus(found.url, deadline=2))
    yield found
    found.stop()


@pytest.fixture
def client(server: PrometheusServer) -> Prometheus:
    return Prometheus(server.url, deadline=10)


def scraped(client: Prometheus) -> float:
    """Wait until everything so far has been scraped and stored; the time then."""
    start = client.now()
    last_answer(
        # A timestamp is that of the scrape for a plain selector only.
        lambda: client.value(f'count(timestamp(up{{job!="closed"}}) > {start} and up == 1)'),
        until=lambda seen: seen == SCRAPED_WELL,
        timeout=STARTUP,
        poll=INTERVAL / 4,
    )
    return client.now()


def settled(client: Prometheus) -> float:
    """The time when everything so far was scraped, once it can be the end of a window."""
    end = scraped(client)
    last_answer(lambda: latest_end(client), until=lambda latest: latest >= end, timeout=STARTUP, poll=INTERVAL / 4)
    return end


def counted(client: Prometheus, source: RequestSource, start: float, end: float, revision: str = REVISION) -> ArmCounts:
    return counts_of(read_counters(client, source, namespace=NAMESPACE, revision=revision, start=start, end=end))


def test_counts_are_what_was_sent_and_probes_are_none(mlserver: MLServer, client: Prometheus) -> None:
    start = scraped(client)
    good = [mlserver.send(0) for _ in range(20)] + [mlserver.send(0.3) for _ in range(2)]
    failed = [mlserver.send(-1) for _ in range(5)]
    refused = [mlserver.send(-2) for _ in range(3)]
    version, missing = mlserver.send(0, "models/echo/versions/v1/infer"), mlserver.send(0, "models/none/infer")
    probes = [mlserver.ready() for _ in range(7)]
    end = scraped(client)

    assert (set(good), set(failed), set(refused), set(probes)) == ({200}, {500}, {400}, {200})
    found = counted(client, MLSERVER_REST, start, end)
    assert (found.requests, found.errors) == (20 + 2 + 5 + 3 + 2, 5 + sum(one >= 500 for one in (version, missing)))
    assert found.slower[0.25] >= 2 > found.slower[2.5]
    both = counted(client, MLSERVER_DATA_PLANE, start, end)
    assert (both.requests, both.errors) == (32, 5 + 3 + sum(one >= 400 for one in (version, missing)))
    assert both.slower == {}


def test_grpc_is_counted_where_it_is_seen(mlserver: MLServer, client: Prometheus) -> None:
    start = scraped(client)
    answers = mlserver.call(0, 0, 0, 0.3, -1, -1)
    end = scraped(client)

    assert [one == "OK" for one in answers] == [True] * 4 + [False] * 2
    found = counted(client, MLSERVER_GRPC, start, end)
    assert (found.requests, found.errors) == (6, 2)
    assert found.slower[0.25] >= 1
    assert counted(client, MLSERVER_REST, start, end).requests == 0
    assert counted(client, MLSERVER_DATA_PLANE, start, end) == ArmCounts(requests=6, errors=2)


def test_a_restart_loses_no_count_that_was_scraped(mlserver: MLServer, client: Prometheus) -> None:
    start = scraped(client)
    for value in (0, 0, 0, -1):
        mlserver.send(value)
    middle = scraped(client)
    mlserver.kill()
    mlserver.start()
    for value in (0, 0, -1, -1, -1):
        mlserver.send(value)
    end = scraped(client)

    found = counted(client, MLSERVER_REST, start, end)
    assert (found.requests, found.errors) == (4 + 5, 1 + 3)
    parts = [counted(client, MLSERVER_REST, *window) for window in ((start, middle), (middle, end))]
    assert sum(one.requests for one in parts) == 9
    assert sum(one.errors or 0 for one in parts) == 4


def test_a_window_compares_two_revisions_at_the_same_times(
    mlserver: MLServer, client: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_metrics, "SETTLED", 2 * INTERVAL)
    start = scraped(client)
    for value in (0, 0, -1):
        mlserver.send(value)
    end = settled(client)
    names = {"namespace": NAMESPACE, "canary": REVISION, "stable": "echo-predictor-00001"}
    found = read_window(client, MLSERVER_REST, **names, start=start, end=end)
    assert (found.canary.requests, found.canary.errors) == (3, 1)
    assert (found.stable.requests, found.stable.errors) == (3, 1)


def test_the_source_is_found_and_the_rates_of_its_alerts_have_values(mlserver: MLServer, client: Prometheus) -> None:
    mlserver.send(0)
    scraped(client)
    for _ in range(3):
        mlserver.send(-1)
    scraped(client)
    source = detect_source(client, namespace=NAMESPACE, revisions=["echo-predictor-00001", REVISION])
    assert source is MLSERVER_REST
    for one in (MLSERVER_REST, MLSERVER_DATA_PLANE):
        names: dict[str, Any] = {"revision": REVISION, "window": "1m", "source": one}
        assert (client.value(request_rate_query("echo", NAMESPACE, **names)) or 0) > 0
        assert (client.value(error_rate_query("echo", NAMESPACE, **names)) or 0) > 0
    assert (client.value(latency_query("echo", NAMESPACE, revision=REVISION, window="1m")) or 0) > 0
    with pytest.raises(CannotTell, match=f'it has .*revision="{REVISION}"'):
        detect_source(client, namespace=NAMESPACE, revisions=["echo-predictor-00009"])


@pytest.mark.parametrize(
    ("revision", "error", "words"),
    [
        ("twice", CannotTell, 'two answers for one series .*job="again" and "pods"'),
        ("native", PrometheusError, "rest_server_request_duration_seconds is a native histogram"),
        ("closed", CannotTell, r"cannot scrape any pod of revision closed \(up is 0\): pod-5"),
        ("no-such", CannotTell, "scraped no pod of revision no-such"),
    ],
)
def test_no_count_is_made_of_wrong_data(
    mlserver: MLServer, client: Prometheus, revision: str, error: type[Exception], words: str
) -> None:
    mlserver.send(0)
    # Series of which each has one sample may follow each other; of those with two, it shows that they do not.
    scraped(client)
    end = scraped(client)
    with pytest.raises(error, match=words):
        counted(client, MLSERVER_REST, end - 10, end, revision)


def test_a_prometheus_that_stands_still_dies_or_forgets_is_an_error_and_then_is_asked_again(
    mlserver: MLServer, server: PrometheusServer, client: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_metrics, "SETTLED", 2 * INTERVAL)
    impatient = Prometheus(server.url, deadline=1.5)
    start = scraped(client)
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(PrometheusError, match=r"timed out|within 1\.5 s"):
        counted(impatient, MLSERVER_REST, start - 5, start)
    server.process.send_signal(signal.SIGCONT)
    mlserver.send(0)
    assert counted(client, MLSERVER_REST, start, scraped(client)).requests == 1

    server.stop()
    with pytest.raises(PrometheusError, match="connection refused"):
        impatient.now()
    server.start(client)
    mlserver.send(0)
    assert counted(client, MLSERVER_REST, start, scraped(client)).requests == 2

    server.stop()
    server.forget()
    server.start(client)
    end = settled(client)
    names = {"namespace": NAMESPACE, "canary": REVISION, "stable": "echo-predictor-00001"}
    with pytest.raises(CannotTell, match="no samples from the beginning of the window"):
        read_window(client, MLSERVER_REST, **names, start=start, end=end)


# A password is checked once by bcrypt, with its least cost.
USERS = {"ann": "$2b$04$OyQpa8mYnjaBr2nj/BQjP.j8fhYwQyoKxNsHowE7bQ9OoogDgSy2."}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def test_prometheus_behind_tls_and_a_password_names_what_is_missing(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    authority, key = map(str, certificate)
    tls = {
        "cert_file": authority,
        "key_file": key,
        "client_ca_file": authority,
        "client_auth_type": "RequireAndVerifyClientCert",
    }
    server = PrometheusServer(tmp_path, [], web={"tls_server_config": tls, "basic_auth_users": USERS})
    permitted: dict[str, Any] = {
        "username": "ann",
        "password": "secret",
        "ca_file": authority,
        "client_certificate": (authority, key),
    }

    def ask(**changed: Any) -> Callable[[], float]:
        return Prometheus(server.url, deadline=10, **{**permitted, **changed}).now

    try:
        server.start(Prometheus(server.url, deadline=2, **permitted))
        assert ask()() > 1e9
        with pytest.raises(PrometheusError, match="asks for credentials: HTTP 401, WWW-Authenticate: Basic"):
            ask(username="", password="")()
        with pytest.raises(PrometheusError, match="does not accept the user name and password: HTTP 401"):
            ask(password="wrong")()
        with pytest.raises(PrometheusError, match="TLS handshake failed"):
            ask(ca_file=None)()
        with pytest.raises(PrometheusError, match=r"TLS handshake failed: .*certificate required"):
            ask(client_certificate=None)()
        with pytest.raises(PrometheusError, match="HTTP 400"):
            Prometheus(server.url.replace("https:", "http:"), deadline=10).now()
    finally:
        server.stop()
