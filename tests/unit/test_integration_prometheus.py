"""The client of Prometheus: what it sends, what it makes of answers, and that no fault looks like an answer."""

from __future__ import annotations

import base64
import contextlib
import math
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from fakes.http_server import serving
from fakes.prometheus import Reply, failure, fake_prometheus, success, vector

from trivet.errors import UsageError
from trivet.integration import prometheus as module
from trivet.integration.prometheus import Prometheus, PrometheusError, Series

HTML = Reply(body="<html><body>Grafana</body></html>", kind="text/html")


class Clock:
    """A clock that moves only while somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return sum(self.slept)

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "clock", found)
    return found


# what is sent


def test_a_query_is_asked_for_its_time_and_within_the_deadline() -> None:
    with fake_prometheus(vector("1")) as server:
        Prometheus(server.url + "/", deadline=7).query("up", time=1234.5678)
        Prometheus(server.url).query("up")
        Prometheus(server.url, headers={"X-Scope-OrgID": "team"}).query_range("up", start=1, end=2, step=0.5)
    first, second, third = server.asked
    assert (first.path, first.parameters["query"], first.parameters["time"]) == ("/api/v1/query", "up", "1234.568")
    assert 6 < float(first.parameters["timeout"]) <= 7
    assert "time" not in second.parameters
    assert (third.path, third.parameters["step"], third.headers["X-Scope-OrgID"]) == (
        "/api/v1/query_range",
        "0.500",
        "team",
    )


def test_a_token_is_read_for_each_query_since_kubernetes_replaces_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with fake_prometheus(vector("1")) as server:
        token.write_text("one\n")
        client = Prometheus(server.url, token_file=token)
        client.query("up")
        token.write_text("two\n")
        client.query("up")
    assert [one.headers["Authorization"] for one in server.asked] == ["Bearer one", "Bearer two"]


def test_credentials_are_those_that_are_passed_and_not_those_of_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password wrong\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with fake_prometheus(vector("1")) as server:
        Prometheus(server.url, username="ann", password="pä:ss").query("up")
        Prometheus(server.url).query("up")
    assert base64.b64decode(server.asked[0].headers["Authorization"].removeprefix("Basic ")).decode() == "ann:pä:ss"
    assert "Authorization" not in server.asked[1].headers


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("prometheus:9090", {}, "not the HTTP address"),
        ("", {}, "not the HTTP address"),
        ("http://", {}, "not the HTTP address"),
        ("http://p", {"token_file": "/no/such/file"}, "token_file '/no/such/file' is not a file"),
        ("http://p", {"ca_file": "/no/such/file"}, "ca_file '/no/such/file' is not a file"),
        ("http://p", {"client_certificate": "/no/such/file"}, "not a pair"),
        ("http://p", {"client_certificate": ("/no/a", "/no/b")}, "client_certificate '/no/a' is not a file"),
        ("http://p", {"token_file": __file__, "username": "ann"}, "both a token file and a user name"),
        ("http://p", {"password": "x"}, "without a user name"),
        ("http://p", {"deadline": 0}, "the deadline is 0"),
        ("http://p", {"deadline": True}, "the deadline is True"),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_passed(url: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Prometheus(url, **options)


@pytest.mark.parametrize("moment", [math.nan, math.inf, True, "now"])
def test_a_time_that_is_no_number_is_refused(moment: Any) -> None:
    with pytest.raises(UsageError, match="no number of seconds"):
        Prometheus("http://127.0.0.1:9").query("up", time=moment)


# what is answered


def test_vectors_matrices_and_scalars_become_series() -> None:
    answers = {
        "v": success([{"metric": {"a": "b"}, "value": [1.5, "2"]}]),
        "m": success([{"metric": {}, "values": [[1, "2"], [2, "+Inf"]]}], "matrix"),
        "s": Reply(body='{"status":"success","data":{"resultType":"scalar","result":[9.25,"9.25"]}}'),
    }
    with fake_prometheus(lambda asked: answers[asked.parameters["query"]]) as server:
        client = Prometheus(server.url)
        assert client.query("v") == [Series(labels={"a": "b"}, samples=((1.5, 2.0),))]
        assert client.query("m") == [Series(labels={}, samples=((1.0, 2.0), (2.0, math.inf)))]
        assert client.value("s") == 9.25


def test_the_time_is_that_of_prometheus() -> None:
    with fake_prometheus(
        Reply(body='{"status":"success","data":{"resultType":"scalar","result":[5.5,"5.5"]}}')
    ) as server:
        assert Prometheus(server.url).now() == 5.5
    assert server.asked[0].parameters["query"] == "time()"


@pytest.mark.parametrize(("values", "value"), [(("1.5",), 1.5), (("NaN",), None), ((), None)])
def test_no_series_and_no_number_are_no_value(values: tuple[str, ...], value: float | None) -> None:
    with fake_prometheus(vector(*values)) as server:
        assert Prometheus(server.url).value("x") == value


def test_several_series_are_no_single_value() -> None:
    with fake_prometheus(vector("1", "2")) as server, pytest.raises(PrometheusError, match="'x' returns 2 series"):
        Prometheus(server.url).value("x")


def test_a_native_histogram_is_named_with_what_keeps_its_buckets() -> None:
    metric = {"__name__": "rest_server_request_duration_seconds"}
    for reply in (
        success([{"metric": metric, "histogram": [1, {"count": "3", "sum": "1"}]}]),
        success([{"metric": metric, "histograms": [[1, {"count": "3", "sum": "1"}]]}], "matrix"),
    ):
        with fake_prometheus(reply) as server, pytest.raises(PrometheusError) as failed:
            Prometheus(server.url).query("x")
        assert "rest_server_request_duration_seconds is a native histogram" in failed.value.message
        assert "always_scrape_classic_histograms" in failed.value.remedy


def test_a_partial_answer_is_no_answer_and_a_remark_does_no_harm() -> None:
    partial = success([], warnings=["store a is away"])
    with fake_prometheus(partial) as server, pytest.raises(PrometheusError, match="may be wrong: store a is away"):
        Prometheus(server.url).query("x")
    with fake_prometheus(success([], infos=["metric might not be a counter"])) as server:
        assert Prometheus(server.url).query("x") == []


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (HTML, "not Prometheus' API: HTTP 200, .text/html. '<html><body>Grafana"),
        (Reply(body="404 page not found", status=404, kind="text/plain"), "not Prometheus' API: HTTP 404"),
        (Reply(body='{"message": "Unauthorized"}'), "not Prometheus' API"),
        (Reply(body="[]"), "not Prometheus' API"),
        (Reply(body="", status=204), "no text"),
    ],
)
def test_what_is_not_prometheus_is_told_with_the_base_url_as_remedy(reply: Reply, words: str) -> None:
    with fake_prometheus(reply) as server, pytest.raises(PrometheusError, match=words) as failed:
        Prometheus(server.url).query("x")
    assert "base URL, without /api/v1" in failed.value.remedy
    assert len(server.asked) == 1


def test_a_refused_query_is_quoted_with_prometheus_reason() -> None:
    reply = failure("bad_data", "parse error: unexpected end", 400)
    words = r"rejects 'sum\(': bad_data: parse error"
    with fake_prometheus(reply) as server, pytest.raises(PrometheusError, match=words) as failed:
        Prometheus(server.url).query("sum(")
    assert failed.value.status == 400


@pytest.mark.parametrize(
    ("status", "asks", "sent", "words", "remedy"),
    [
        (
            401,
            "Basic realm=x",
            {},
            "asks for credentials: HTTP 401, WWW-Authenticate: Basic",
            "pass username and password",
        ),
        (401, "Bearer", {}, "asks for credentials", "pass token_file"),
        (401, "Basic", {"username": "ann", "password": "x"}, "does not accept the user name and password", "username"),
        (403, "", {"token_file": __file__}, "does not permit the query with the bearer token: HTTP 403", "permission"),
        (403, "", {}, "without credentials", "permission"),
    ],
)
def test_refused_credentials_are_told_from_missing_ones(
    status: int,
    asks: str,
    sent: dict[str, Any],
    words: str,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if "token_file" in sent:
        sent = {"token_file": tmp_path / "token"}
        sent["token_file"].write_text("secret-token")
    reply = Reply(body="no", status=status, kind="text/plain", headers={"WWW-Authenticate": asks} if asks else {})
    with fake_prometheus(reply) as server, pytest.raises(PrometheusError) as failed:
        Prometheus(server.url, **sent).query("x")
    assert words in failed.value.message
    assert remedy in failed.value.remedy
    assert "secret-token" not in str(failed.value)
    assert len(server.asked) == 1


# what is tried again


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_proxy_that_has_no_prometheus_for_a_moment_is_asked_again(status: int) -> None:
    replies = iter([Reply(body="upstream connect error", status=status, kind="text/plain")] * 2 + [vector("4")])
    with fake_prometheus(lambda asked: next(replies)) as server:
        assert Prometheus(server.url).value("x") == 4
    assert len(server.asked) == 3


def test_pauses_grow_and_tries_end_with_the_deadline(clock: Clock) -> None:
    reply = Reply(body="no healthy upstream", status=503, kind="text/plain")
    with (
        fake_prometheus(reply) as server,
        pytest.raises(PrometheusError, match=r"HTTP 503 .* 'no healthy upstream' \(tries: 7, within 15 s\)"),
    ):
        Prometheus(server.url, deadline=15).query("x")
    assert clock.slept == [0.25, 0.5, 1, 2, 4, 4]
    assert len(server.asked) == 7


@pytest.mark.parametrize("asks", ["60", formatdate(time.time() + 86_400, usegmt=True)])
def test_a_wait_that_is_asked_for_and_longer_than_the_deadline_is_not_waited_for(asks: str, clock: Clock) -> None:
    reply = Reply(body="slow down", status=429, kind="text/plain", headers={"Retry-After": asks})
    with fake_prometheus(reply) as server, pytest.raises(PrometheusError, match=f"it asks to wait {asks}"):
        Prometheus(server.url, deadline=20).query("x")
    assert (len(server.asked), clock.slept) == (1, [])


def test_a_wait_that_is_asked_for_is_waited_for(clock: Clock) -> None:
    replies = iter([Reply(body="", status=429, headers={"Retry-After": "7"}), vector("4")])
    with fake_prometheus(lambda asked: next(replies)) as server:
        assert Prometheus(server.url).value("x") == 4
    assert clock.slept == [7]


def test_a_query_that_prometheus_itself_gives_up_is_not_asked_again() -> None:
    reply = failure("timeout", "query timed out in expression evaluation", 503)
    with fake_prometheus(reply) as server, pytest.raises(PrometheusError, match="timeout: query timed out") as failed:
        Prometheus(server.url).query("x")
    assert len(server.asked) == 1
    assert "shorter time" in failed.value.remedy


def test_a_prometheus_that_is_away_is_told_after_the_deadline() -> None:
    with pytest.raises(PrometheusError, match=r"cannot be reached: connection refused \(tries: 4, within 3 s\)"):
        Prometheus("http://127.0.0.1:9", deadline=3).query("x")


def test_a_name_that_does_not_resolve_is_told_from_a_closed_port() -> None:
    with pytest.raises(PrometheusError, match=r"the host name in prometheus\.invalid:9090 does not"):
        Prometheus("http://prometheus.invalid:9090", deadline=3).query("x")


def test_http_where_https_is_spoken_is_a_failed_handshake() -> None:
    with fake_prometheus(vector("1")) as server, pytest.raises(PrometheusError, match="TLS handshake") as failed:
        Prometheus(server.url.replace("http:", "https:"), deadline=3).query("x")
    assert "ca_file" in failed.value.remedy


@contextlib.contextmanager
def dripping() -> Iterator[str]:
    """A server that sends a byte of its answer now and then, and never the last one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(40):
                    self.wfile.write(b" ")
                    time.sleep(0.01)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def test_an_answer_that_drips_ends_with_the_deadline() -> None:
    with dripping() as url, pytest.raises(PrometheusError, match=r"timed out after 0\.2 s waiting for Prometheus"):
        Prometheus(url, deadline=0.2).query("x")
