"""How the tracking server is asked: with MLflow's own configuration, again when that may help, and never for longer than the deadline."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path

import pytest
from fakes.http_server import serving

from trivet.errors import UsageError
from trivet.integration import TrackingApi, TrackingError

RUN = b'{"run": {"info": {}, "data": {}}}'
VARIABLES = (
    "TOKEN",
    "USERNAME",
    "PASSWORD",
    "AUTH",
    "AWS_SIGV4",
    "INSECURE_TLS",
    "SERVER_CERT_PATH",
    "CLIENT_CERT_PATH",
)


@dataclass
class Server:
    """Answers with ``statuses`` one after the other, then with 200; keeps the headers of each request."""

    uri: str = ""
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name in ("MLFLOW_WORKSPACE", "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@contextmanager
def server(*statuses: int, secure: Callable[[ssl.SSLContext], None] | None = None, **headers: str) -> Iterator[Server]:
    state = Server(statuses=list(statuses), headers=headers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(dict(self.headers))
            status = state.statuses.pop(0) if state.statuses else 200
            self.send_response(status)
            for name, value in state.headers.items() if status != 200 else ():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(RUN)))
            self.end_headers()
            self.wfile.write(RUN)

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Handler) as running:
        if secure is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            secure(context)
            running.socket = context.wrap_socket(running.socket, server_side=True)
        state.uri = f"{'https' if secure else 'http'}://127.0.0.1:{running.server_port}"
        yield state


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_server_that_is_away_for_a_while_is_asked_again(status: int, no_pauses: list[float]) -> None:
    with server(*[status] * 5) as answering:
        TrackingApi(answering.uri).get_run("1")

    assert no_pauses == [0.5, 1, 2, 4, 8]  # longer than the 12 s that a server takes to restart


def test_an_internal_error_is_tried_three_times(no_pauses: list[float]) -> None:
    with server(500, 500) as answering:
        TrackingApi(answering.uri).get_run("1")
    with server(*[500] * 9) as answering, pytest.raises(TrackingError, match="HTTP 500"):
        TrackingApi(answering.uri).get_run("1")

    assert len(answering.requests) == 3


def test_a_refusal_is_not_tried_again(no_pauses: list[float]) -> None:
    with server(404, 404) as answering, pytest.raises(TrackingError, match="HTTP 404"):
        TrackingApi(answering.uri).get_run("1")

    assert (len(answering.requests), no_pauses) == (1, [])


def test_the_server_says_when_to_come_back(no_pauses: list[float]) -> None:
    with server(429, Retry_After="7") as answering:
        TrackingApi(answering.uri).get_run("1")

    assert no_pauses == [7.0]


def test_a_pause_beyond_the_deadline_is_not_made(no_pauses: list[float]) -> None:
    with server(429, 429, Retry_After="3600") as answering, pytest.raises(TrackingError, match="HTTP 429"):
        TrackingApi(answering.uri).get_run("1")

    assert no_pauses == []


def test_an_answer_that_comes_in_single_bytes_ends_at_the_deadline() -> None:
    class Dripping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(20):
                time.sleep(0.05)
                self.wfile.write(b" ")

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Dripping) as running:
        began = time.monotonic()
        with pytest.raises(TrackingError, match="timed out after 0 s: the answer had not ended"):
            TrackingApi(f"http://127.0.0.1:{running.server_port}", timeout=5, deadline=0.2).get_run("1")

        assert time.monotonic() - began < 0.8


def test_the_environment_sets_timeout_and_retries(monkeypatch: pytest.MonkeyPatch, no_pauses: list[float]) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with server(503, 503) as answering, pytest.raises(TrackingError, match="HTTP 503"):
        TrackingApi(answering.uri).get_run("1")
    assert len(answering.requests) == 2

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon")
    with pytest.raises(UsageError, match="MLFLOW_HTTP_REQUEST_TIMEOUT is 'soon'"):
        TrackingApi("http://127.0.0.1:9")


NETRC = "machine 127.0.0.1 login netrc password secret\n"
BASIC_NETRC, BASIC_USER, BEARER = "Basic bmV0cmM6c2VjcmV0", "Basic dXNlcjpwYXNz", "Bearer tok"


@pytest.mark.parametrize(
    ("variables", "netrc", "authorization"),
    [
        ({}, False, None),
        ({}, True, BASIC_NETRC),
        ({"TOKEN": "tok"}, True, BEARER),
        ({"USERNAME": "user", "PASSWORD": "pass"}, True, BASIC_USER),
        ({"USERNAME": "user", "PASSWORD": "pass", "TOKEN": "tok"}, False, BASIC_USER),
        ({"USERNAME": "user", "TOKEN": "tok"}, False, BEARER),
    ],
)
def test_credentials_are_chosen_as_mlflow_s_client_does(
    variables: dict[str, str], netrc: bool, authorization: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    if netrc:
        (tmp_path / ".netrc").write_text(NETRC)
    with server() as answering:
        TrackingApi(answering.uri).get_run("1")

    assert answering.requests[0].get("Authorization") == authorization


def test_credentials_are_read_from_mlflow_s_file(tmp_path: Path) -> None:
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = user\nmlflow_tracking_password = pass\n"
    )
    with server() as answering:
        TrackingApi(answering.uri).get_run("1")

    assert answering.requests[0]["Authorization"] == BASIC_USER


def test_a_request_of_another_client_has_its_host_and_headers_and_nothing_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    monkeypatch.setenv("MLFLOW_WORKSPACE", "own")
    with server(503) as there:
        tracking = TrackingApi(there.uri)
        asked = tracking.answer_to("experiments/get", host="mlflow:5000", headers={"X-Other": "1"}, experiment_id="0")
    assert asked == (503, RUN.decode())
    (sent,) = there.requests
    assert (sent["Host"], sent["X-Other"]) == ("mlflow:5000", "1")
    assert not {"Authorization", "X-MLFLOW-WORKSPACE"} & set(sent)
    with pytest.raises(TrackingError, match=r"GET /api/2\.0/mlflow/experiments/get at"):
        tracking.answer_to("experiments/get", host="mlflow:5000", headers={})


def test_a_client_of_another_workspace_states_it_and_leaves_the_first_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a")
    with server() as there:
        tracking = TrackingApi(there.uri)
        tracking.in_workspace("team").get_run("1")
        tracking.get_run("1")
    assert [sent.get("X-MLFLOW-WORKSPACE") for sent in there.requests] == ["team", None]
    assert [sent["Authorization"] for sent in there.requests] == ["Bearer a", "Bearer a"]


@pytest.mark.parametrize(("status", "there_is"), [(200, True), (404, False)])
def test_whether_there_is_a_workspace_is_asked_by_its_name(status: int, there_is: bool) -> None:
    with server(*([] if status == 200 else [status])) as there:
        assert TrackingApi(there.uri).has_workspace("a/b") is there_is
    with server(403) as there, pytest.raises(TrackingError, match=r"GET /api/3\.0/mlflow/workspaces/team"):
        TrackingApi(there.uri).has_workspace("team")


def test_the_workspace_is_stated_in_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_WORKSPACE", " team ")
    with server() as answering:
        TrackingApi(answering.uri).get_run("1")
        TrackingApi(answering.uri, workspace="other").get_run("1")

    assert [request["X-MLFLOW-WORKSPACE"] for request in answering.requests] == ["team", "other"]


@pytest.mark.parametrize(("variable", "value"), [("AUTH", "kubernetes"), ("AWS_SIGV4", "true")])
def test_authentication_by_a_plug_in_is_refused_unless_its_object_is_given(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from requests.auth import HTTPBasicAuth

    monkeypatch.setenv(f"MLFLOW_TRACKING_{variable}", value)
    with pytest.raises(UsageError, match="plug-in"):
        TrackingApi("http://127.0.0.1:9")
    with server() as answering:
        TrackingApi(answering.uri, auth=HTTPBasicAuth("user", "pass")).get_run("1")

    assert answering.requests[0]["Authorization"] == BASIC_USER


def test_a_certificate_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "ca.pem"))
    with pytest.raises(UsageError, match=r"ca\.pem, which does not exist"):
        TrackingApi("https://127.0.0.1:9")


def test_the_server_s_certificate_is_checked_as_mlflow_s_variables_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = certified(tmp_path)

    def secure(context: ssl.SSLContext) -> None:
        context.load_cert_chain(certificate, key)

    with server(secure=secure) as answering:
        with pytest.raises(TrackingError, match="TLS handshake failed"):
            TrackingApi(answering.uri).get_run("1")

        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
        TrackingApi(answering.uri).get_run("1")

        monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
        with pytest.warns(match="Unverified HTTPS request"):
            TrackingApi(answering.uri).get_run("1")

        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
        with pytest.raises(UsageError, match="contradict each other"):
            TrackingApi(answering.uri)


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that certifies itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tracking")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, secret


def test_a_run_that_nobody_ended_is_ended_as_killed_and_now() -> None:
    sent: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Handler) as running:
        TrackingApi(f"http://127.0.0.1:{running.server_address[1]}").end_run("r")
    (body,) = sent
    assert (body["run_id"], body["status"]) == ("r", "KILLED")
    assert isinstance(body["end_time"], int)
    assert abs(body["end_time"] / 1000 - time.time()) < 60
