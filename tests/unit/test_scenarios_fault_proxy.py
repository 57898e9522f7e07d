"""Fault proxies: the proxy behaves as configured, and the fault that sends clients to it is verified and reverted."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from fakes.http_server import serving
from fakes.scenario_session import FakeFaultClient

from trivet.errors import PlatformError
from trivet.fixtures.jobs import fault_proxy as proxy_job
from trivet.model.fault import PLATFORM, Fault
from trivet.toolkit import fault_proxy as faults_by_proxy
from trivet.toolkit.faults import idle

SERVICE: dict[str, Any] = {"metadata": {"name": "mlflow"}, "spec": {"selector": {"app": "mlflow"}}}
READY = {"conditions": [{"type": "Ready", "status": "True"}]}
SERVER: dict[str, Any] = {
    "metadata": {"name": "mlflow-1", "labels": {"app": "mlflow"}},
    "status": {**READY, "podIP": "10.1.2.3"},
}
WHERE = {"host": "mlflow", "port": 5000, "image": "trainer", "pod": "trainer-1"}


class Kubelet(dict[tuple[str, str, str], Mapping[str, Any]]):
    """Objects of which pods are ready as soon as they are made."""

    def __setitem__(self, key: tuple[str, str, str], value: Mapping[str, Any]) -> None:
        super().__setitem__(key, {**value, "status": READY} if key[0] == "pod" else value)


def cluster() -> FakeFaultClient:
    objects = Kubelet({("service", PLATFORM, "mlflow"): SERVICE, ("pod", PLATFORM, "mlflow-1"): SERVER})
    return FakeFaultClient(objects)


def met(status: int, seconds: float, via: str = "1.0 trivet-fault-proxy") -> str:
    return json.dumps({"status": status, "seconds": seconds, "via": via, "error": ""})


SLOWED = faults_by_proxy.slowed("mlflow", path="/health", seconds=3, **WHERE)  # type: ignore[arg-type]
FAILING = faults_by_proxy.failing("mlflow", path="/health", status=503, **WHERE)  # type: ignore[arg-type]
UNANSWERED = faults_by_proxy.unanswered("mlflow", **WHERE)  # type: ignore[arg-type]
FAULTS = pytest.mark.parametrize(
    ("fault", "well", "ill"),
    [
        (SLOWED, met(200, 0.1, ""), met(200, 3.2)),
        (FAILING, met(200, 0.1, ""), met(503, 0.1)),
        (UNANSWERED, "probe: open", "probe: timed out"),
    ],
    ids=["slowed", "failing", "unanswered"],
)


@FAULTS
def test_a_fault_proxy_is_verified_when_a_client_gets_its_answer_and_is_reverted(
    fault: Fault, well: str, ill: str
) -> None:
    faults = cluster()
    before = dict(faults.objects)
    faults.connection = lambda: ill if "trivet.dev/fault" in json.dumps(selector(faults)) else well
    injector = faults.injector(fault.affected_objects)
    assert not fault.verify_injected(injector)
    fault.inject(injector)
    assert selector(faults) == {"trivet.dev/fault": "proxy"}
    assert fault.verify_injected(injector)
    pod = faults.objects[("pod", PLATFORM, faults_by_proxy.FAULT_PROXY)]["spec"]["containers"][0]
    assert "10.1.2.3:5000" in pod["command"]
    assert injector.revert() == ()
    assert dict(faults.objects) == before


@FAULTS
def test_a_fault_proxy_that_does_nothing_is_never_verified(fault: Fault, well: str, ill: str) -> None:
    faults = cluster()
    faults.connection = lambda: well
    injector = faults.injector(fault.affected_objects)
    idle(fault).inject(injector)
    assert not idle(fault).verify_injected(injector)
    assert not injector.changed_objects


def test_an_error_that_is_not_the_proxy_s_own_verifies_nothing() -> None:
    faults = cluster()
    faults.connection = lambda: met(503, 0.1, "")
    assert not FAILING.verify_injected(faults.injector(FAILING.affected_objects))


def test_without_a_ready_pod_there_is_nothing_to_proxy() -> None:
    faults = cluster()
    del faults.objects[("pod", PLATFORM, "mlflow-1")]
    with pytest.raises(PlatformError, match="no ready pod for the fault proxy"):
        SLOWED.inject(faults.injector(SLOWED.affected_objects))


def selector(faults: FakeFaultClient) -> Mapping[str, str]:
    found: Mapping[str, str] = faults.objects[("service", PLATFORM, "mlflow")]["spec"]["selector"]
    return found


# -- what runs in the pod


@contextmanager
def upstream() -> Iterator[tuple[int, list[tuple[str, str, bytes]]]]:
    """A server that answers what it was asked, and keeps that; its port."""
    asked: list[tuple[str, str, bytes]] = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, body))
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body or b"nothing")

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Answering) as server:
        yield server.server_port, asked


@contextmanager
def running(folder: Path, upstream: int, behaviour: Mapping[str, Any]) -> Iterator[int]:
    """The script as a pod runs it, from its text alone; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ready = folder / "ready"
    source = Path(proxy_job.__file__).read_text(encoding="utf-8")
    arguments = [str(port), f"127.0.0.1:{upstream}", json.dumps(behaviour), str(ready)]
    process = subprocess.Popen([sys.executable, "-I", "-c", source, *arguments], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not ready.exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def ask(port: int, path: str = "/a?b=c", body: bytes | None = None) -> tuple[int, str, bytes]:
    try:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers.get("Via", ""), answer.read()


def test_a_slow_proxy_brings_the_upstream_s_answer_late(tmp_path: Path) -> None:
    with upstream() as (server, asked), running(tmp_path, server, {"late": 0.5}) as port:
        began = time.monotonic()
        status, via, body = ask(port, body=b'{"x": 1}')
        assert time.monotonic() - began >= 0.5
    assert (status, body) == (201, b'{"x": 1}')
    assert faults_by_proxy.VIA == proxy_job.VIA
    assert faults_by_proxy.VIA in via
    assert asked == [("POST", "/a?b=c", b'{"x": 1}')]


def test_a_failing_proxy_answers_one_of_so_many_requests_itself(tmp_path: Path) -> None:
    with upstream() as (server, asked), running(tmp_path, server, {"status": 503, "every": 2}) as port:
        assert [ask(port)[0] for _ in range(4)] == [503, 201, 503, 201]
    assert len(asked) == 2


def test_an_outage_ends_by_itself(tmp_path: Path) -> None:
    with upstream() as (server, _), running(tmp_path, server, {"status": 503, "lasts": 0.5}) as port:
        assert [ask(port)[0], ask(port)[0]] == [503, 503]
        time.sleep(0.6)
        assert ask(port)[0] == 201


def test_a_server_that_is_away_is_a_bad_gateway(tmp_path: Path) -> None:
    with running(tmp_path, 9, {"late": 0}) as port:
        assert ask(port)[0] == 502


def test_a_silent_listener_is_met_as_a_network_that_drops(tmp_path: Path) -> None:
    connect: Callable[[int], Any] = lambda port: socket.create_connection(("127.0.0.1", port), timeout=1)  # noqa: E731
    with running(tmp_path, 9, {"silent": True}) as port:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                connect(port)


def test_the_result_of_a_get_from_a_pod_is_reported(tmp_path: Path) -> None:
    class Here:
        """An injector whose pods are this machine."""

        def execute(self, pod: str, command: list[str], **_: Any) -> tuple[int, str]:
            done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=False)
            return done.returncode, done.stdout

    with upstream() as (server, _), running(tmp_path, server, {"status": 503}) as port:
        found = faults_by_proxy.http_get(Here(), "p", f"http://127.0.0.1:{port}/")  # type: ignore[arg-type]
        assert (found.status, faults_by_proxy.VIA in found.via) == (503, True)
        found = faults_by_proxy.http_get(Here(), "p", f"http://127.0.0.1:{server}/")  # type: ignore[arg-type]
        assert (found.status, found.via) == (201, "")
    found = faults_by_proxy.http_get(Here(), "p", "http://127.0.0.1:9/")  # type: ignore[arg-type]
    assert (found.status, "refused" in found.error) == (0, True)
