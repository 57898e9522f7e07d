"""Probes a TCP connection from inside a pod: open, refused, timed out, or the name is unresolved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from trivet.errors import PlatformError

TIMEOUT = 4.0
"""Seconds after which a connection attempt times out; within a cluster an open connection takes milliseconds."""

_CONNECT = """\
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])).close()
    print("probe: open")
except socket.gaierror:
    print("probe: unresolved")
except (TimeoutError, socket.timeout):
    print("probe: timed out")
except OSError:
    print("probe: refused")
"""
"""Runs in a pod's own Python, 3.8 or later."""


class Connection(StrEnum):
    """The result of a connection attempt.

    REFUSED: the answer was a reset or "unreachable", as from a closed port or a policy that rejects. TIMED_OUT: there was no answer, as
    under a policy that drops packets. UNRESOLVED: the host name has no address.
    """

    OPEN = "open"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNRESOLVED = "unresolved"


class Executes(Protocol):
    """A client that runs commands in pods: ``ClusterClient`` and ``FaultInjector`` do."""

    def execute(
        self, pod: str, command: Sequence[str], *, namespace: str, container: str = "", seconds: float = 30.0
    ) -> tuple[int, str]:
        """Exit status and output."""


def probe_tcp(
    client: Executes,
    pod: str,
    host: str,
    port: int,
    *,
    namespace: str,
    container: str = "",
    timeout: float = TIMEOUT,
) -> Connection:
    """Try a TCP connection to ``host``:``port`` from a container that has Python (default: the pod's default container).

    ``namespace`` is as the client takes it: a name for ``ClusterClient``, a role for ``FaultInjector``. Raises PlatformError when the probe
    did not run.
    """
    status, output = client.execute(pod, probe_command(host, port, timeout), namespace=namespace, container=container)
    if status:
        raise PlatformError(
            f"the TCP probe to {host}:{port} did not run in pod {pod}: {' '.join(output.split())[-200:]}"
        )
    return read_probe(output)


def probe_command(host: str, port: int, timeout: float = TIMEOUT) -> list[str]:
    """The command of the probe, for a container that has Python."""
    return ["python3", "-c", _CONNECT, host, str(port), f"{timeout:g}"]


def read_probe(output: str) -> Connection:
    """The result in the output of :func:`probe_command`, which may have lines of kubectl too. Raises PlatformError when there is none."""
    found = re.search(r"^probe: (.*)$", output, re.MULTILINE)
    if not found:
        raise PlatformError(f"the TCP probe wrote no result: {' '.join(output.split())[-200:]}")
    return Connection(found[1].strip())
