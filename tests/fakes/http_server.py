"""An HTTP server on a free port of 127.0.0.1, for the length of a block."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    """A server that answers by ``handler``; its ``server_port`` is the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        # How often it looks whether it shall end: by default each half second, which every test would wait for.
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
