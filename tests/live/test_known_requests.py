"""Known requests sent to real MLServers: correct and wrong values, errors, and no answer."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from fakes.http_server import serving
from mlserver_processes import mlserver

from trivet.errors import PlatformError
from trivet.host.processes import free_ports
from trivet.integration import KnownRequest, v2_request
from trivet.operations import known_request_client
from trivet.operations.known_request_client import LARGEST, KnownRequestClient
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

MODEL = """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Model(MLModel):
    async def predict(self, request):
        (column,) = (NumpyCodec.decode_input(one) for one in request.inputs)
        if column[0] == 13:
            raise RuntimeError("13")
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("predict", column > BOUND)])
"""
KNOWN = [
    KnownRequest(request=v2_request(None, [{"x": one} for one in (-2, -1, 1, 2)]), answers=[False, False, True, True]),
    KnownRequest(request=v2_request(None, [{"x": one} for one in (13, 14)]), answers=[True, True]),
]


def client(known: list[KnownRequest], service: str = "rec") -> KnownRequestClient:
    """A client of revisions whose names are ports."""
    return KnownRequestClient(service=service, namespace="ml", known=known, url="http://127.0.0.1:{revision}")


def told(port: str, index: int) -> tuple[int, int]:
    answer = client(KNOWN).ask(port, index)
    return answer.status, answer.wrong


def test_what_a_revision_does_not_answer_correctly_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = load_stack("current")
    with ExitStack() as running:
        ports = []
        for name, bound in (("stable", 0), ("canary", 1), ("mistaken", 10)):
            source = MODEL.replace("BOUND", str(bound))
            url, _ = running.enter_context(mlserver(stack, tmp_path / name, source))
            ports.append(url.rpartition(":")[2])
        (nobody,) = free_ports(1)
        stable, canary, mistaken = ports
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{nobody}")

        assert [told(stable, index) for index in range(3)] == [(200, 0), (500, 2), (200, 0)]
        assert [told(canary, index) for index in range(2)] == [(200, 1), (500, 2)]
        assert told(str(nobody), 0) == (0, 0)

        client(KNOWN[:1]).verify(stable)
        with pytest.raises(PlatformError, match="answers known request 1 with HTTP 500") as failed:
            client(KNOWN).verify(stable)
        with pytest.raises(
            PlatformError, match=f"{nobody} does not answer known request 0 at http://127.0.0.1"
        ) as away:
            client(KNOWN).verify(str(nobody))
        with pytest.raises(PlatformError, match="answers known request 0 with HTTP 404") as unknown:
            client(KNOWN, service="other").verify(stable)
        positive = KnownRequest(request=v2_request(None, [{"x": 1}, {"x": 2}]), answers=[True, True])
        with pytest.raises(PlatformError, match="answers none of 2 known rows correctly") as wrong:
            client([positive]).verify(mistaken)
        assert "--revision-url" in away.value.remedy
        # What would be the same again ends the judge at once.
        assert [one.value.transient for one in (failed, away, unknown, wrong)] == [True, True, False, False]


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


def swelling(handler: BaseHTTPRequestHandler) -> None:
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    handler.wfile.write(gzip.compress(b" " * (8 * LARGEST)))


def elsewhere(handler: BaseHTTPRequestHandler) -> None:
    handler.send_header("Location", "/other")
    handler.end_headers()


def nested(handler: BaseHTTPRequestHandler) -> None:
    handler.end_headers()
    handler.wfile.write(b"[" * 200_000)


@pytest.mark.parametrize(
    ("status", "reply", "told"),
    [(200, endless, 0), (200, swelling, 0), (302, elsewhere, 302), (200, nested, 200)],
)
def test_an_answer_that_is_none_neither_hangs_nor_fills_the_judge(
    monkeypatch: pytest.MonkeyPatch, status: int, reply: Callable[[BaseHTTPRequestHandler], None], told: int
) -> None:
    monkeypatch.setattr(known_request_client, "TIMEOUT", 1.0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            # What is not read would reset the connection.
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            reply(self)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as server:
        answer = client(KNOWN).ask(str(server.server_port), 0)
    assert answer.status == told
    assert answer.seconds < 5
    assert answer.wrong == (4 if told else 0)
