"""The background client keeps its rate whatever the server does, and reports every request."""

from __future__ import annotations

import http.server
import itertools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from fakes.http_server import serving

from trivet.errors import UsageError
from trivet.targets.cluster.traffic import Address, Traffic


class Answering(http.server.BaseHTTPRequestHandler):
    """Responds to each request with its body; to the first one after ``stall`` seconds, and with 503 when the body asks for it."""

    protocol_version = "HTTP/1.1"
    stall = 0.0
    lock = threading.Lock()
    hosts: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            first, Answering.hosts = not self.hosts, [*self.hosts, self.headers["Host"]]
        if first:
            time.sleep(self.stall)
        self.send_response(503 if b"fail" in body else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    Answering.stall, Answering.hosts = 0.0, []
    with serving(Answering) as server:
        url = f"http://127.0.0.1:{server.server_port}/infer"
        yield Traffic(lambda service: Address(url=url, headers={"Host": f"{service}.example.com"}))


def test_a_number_of_requests_is_answered_in_their_order(traffic: Traffic) -> None:
    answers = traffic.send("m", {"x": 1}, times=8, concurrency=3)
    assert [answer.status for answer in answers] == [200] * 8
    assert answers[0].body == {"x": 1}
    assert Answering.hosts == ["m.example.com"] * 8


def test_a_stall_delays_no_later_request_and_is_seen_in_its_own_time(traffic: Traffic) -> None:
    Answering.stall = 0.8
    with traffic.background("m", {"x": 1}, rate=20) as background:
        time.sleep(0.6)
        during = background.answers
        mark = background.mark("now")
    answers = background.stream.answers
    assert len(during) >= 5, "the others were answered while the first one stalled"
    assert answers[0].seconds >= 0.8
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(answers)]
    assert all(abs(gap - 0.05) < 1e-6 for gap in gaps), "due times are fixed beforehand"
    assert background.stream.marks == {"now": mark}


def test_errors_and_lost_connections_are_results_too(traffic: Traffic) -> None:
    (refused,) = traffic.send("m", {"x": "fail"}, times=1)
    assert (refused.status, refused.body) == (503, json.loads('{"x": "fail"}'))
    nowhere = Traffic(lambda service: Address(url="http://127.0.0.1:9/infer", headers={}))
    (lost,) = nowhere.send("m", {}, times=1, timeout=2)
    assert lost.status == 0
    assert "ConnectionError" in lost.error


def test_leaving_the_block_waits_for_requests_in_flight(traffic: Traffic) -> None:
    Answering.stall = 0.5
    with traffic.background("m", {"x": 1}, rate=5) as background:
        time.sleep(0.1)
    assert [answer.status for answer in background.answers] == [200] * len(background.answers)
    assert background.answers


def test_a_rate_of_zero_is_refused(traffic: Traffic) -> None:
    with pytest.raises(UsageError, match="above 0"), traffic.background("m", {}, rate=0):
        pass
