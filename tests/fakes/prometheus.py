"""A server that speaks Prometheus' HTTP API, with the answers that a test states. What it answers is what a real one does: see
tests/live/test_request_metrics.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fakes.http_server import serving

JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer over HTTP."""

    body: str
    status: int = 200
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request: its parameters and headers."""

    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class FakePrometheus:
    """``url`` is its base URL, ``asked`` what it was asked so far."""

    url: str
    asked: list[Asked]


def success(result: Sequence[Mapping[str, Any]], kind: str = "vector", **further: Any) -> Reply:
    """An answer of Prometheus."""
    return Reply(body=json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **further}))


def vector(*values: str) -> Reply:
    """Series without labels, with these values."""
    return success([{"metric": {}, "value": [1000.0, value]} for value in values])


def failure(kind: str, text: str, status: int) -> Reply:
    """A refusal of Prometheus."""
    return Reply(body=json.dumps({"status": "error", "errorType": kind, "error": text}), status=status)


@contextmanager
def fake_prometheus(reply: Callable[[Asked], Reply] | Reply) -> Iterator[FakePrometheus]:
    """A server that answers everything with ``reply``, or with what it returns for what was asked."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            one = Asked(
                path=parts.path,
                parameters={key: values[0] for key, values in parse_qs(parts.query).items()},
                headers=dict(self.headers),
            )
            asked.append(one)
            found = reply if isinstance(reply, Reply) else reply(one)
            self.send_response(found.status)
            for key, value in {"Content-Type": found.kind, **found.headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(found.body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as server:
        yield FakePrometheus(url=f"http://127.0.0.1:{server.server_port}", asked=asked)
