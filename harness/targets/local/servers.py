"""Starts the two servers of the local target: ``mlflow server``, and MLServer as KServe's serving runtime starts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import requests

from trivet.errors import PlatformError
from trivet.host.processes import Process, Processes, ServerFailed, free_ports, port_was_taken
from trivet.model.stack import Stack
from trivet.targets.local import limits


def start_tracking(
    processes: Processes, python: Path, *, environment: Mapping[str, str], database: str, root: str
) -> tuple[Process, str]:
    """The process of a tracking server, and its URL. ``database`` is an SQLAlchemy URL; clients write artifacts directly to ``root``.

    Artifacts are not proxied, because the storage initializer does not support the ``mlflow-artifacts:/`` URIs of a proxying server.
    """

    def command(ports: Sequence[int]) -> list[str | Path]:
        return [
            python.with_name("mlflow"),
            "server",
            *("--host", "127.0.0.1", "--port", str(ports[0]), "--workers", "1"),
            *("--default-artifact-root", root, "--no-serve-artifacts"),
        ]

    process, ports = _start(
        processes,
        "tracking server",
        command,
        lambda ports: {
            **environment,
            # Not on the command line, which all users of this machine can read: the URL may have a password.
            "MLFLOW_BACKEND_STORE_URI": database,
            # The job executor of MLflow 3 starts a process per job type and uses 2.5 GiB when idle.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        count=1,
        path="/health",
        seconds=limits.TRACKING_SERVER,
    )
    return process, f"http://127.0.0.1:{ports[0]}"


def start_runtime(
    processes: Processes,
    python: Path,
    stack: Stack,
    *,
    name: str,
    directory: Path,
    label: str = "runtime",
    environment: Mapping[str, str] | None = None,
    isolated: Callable[[Sequence[str | Path], int], Sequence[str | Path]] | None = None,
) -> tuple[Process, str]:
    """The process of MLServer with the model in ``directory``, and its URL, started as by KServe's ClusterServingRuntime but on free ports.

    ``isolated`` makes of the server's command and HTTP port the command that starts it in a network of its own, which gets the variables in
    ``environment`` too.
    Returns once the model is ready. Raises ServerFailed, with the process and its log, when it does not become ready.
    """
    started = isolated or (lambda command, port: command)
    process, ports = _start(
        processes,
        label,
        lambda ports: started([python.with_name("mlserver"), "start", directory], ports[0]),
        lambda ports: runtime_environment(stack, name=name, directory=directory, ports=ports) | dict(environment or {}),
        count=3,
        # Nothing else has a port in a network of its own.
        exclusive=bool(isolated),
        path=f"/v2/models/{name}/ready",
        seconds=limits.RUNTIME,
    )
    return process, f"http://127.0.0.1:{ports[0]}"


def runtime_environment(stack: Stack, *, name: str, directory: Path, ports: Sequence[int]) -> dict[str, str]:
    """The environment of the ClusterServingRuntime, with the model's directory and ports (HTTP, gRPC, metrics) on this machine."""
    serving = stack.settings["serving"]
    published = [str(serving[key]) for key in ("http_port", "grpc_port", "metrics_port")]
    free = dict(zip(published, map(str, ports), strict=True))
    variables = {
        key: free.get(value, value.replace("{name}", name).replace(serving["model_mount"], str(directory)))
        for key, value in {**stack.roles["runtime"].environment, **serving["environment"]}.items()
    }
    # In a container the metrics port keeps its default; two servers on one machine need different ones.
    local = {"MLSERVER_METRICS_PORT": str(ports[2]), "MLSERVER_HOST": "127.0.0.1"}
    return {**variables, **local}


def responds_ok(url: str) -> bool:
    """Whether GET ``url`` returns 200 now."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, timeout=5).status_code == 200
        except requests.RequestException:
            return False


def _start(
    processes: Processes,
    name: str,
    command: Callable[[Sequence[int]], Sequence[str | Path]],
    environment: Callable[[Sequence[int]], Mapping[str, str]],
    *,
    count: int,
    path: str,
    seconds: float,
    exclusive: bool = False,
) -> tuple[Process, list[int]]:
    """Start a server on ``count`` free ports, and wait until GET ``path`` on the first port returns 200 and the server has that port.

    With ``exclusive``, only the server can have it.
    """
    for attempt in range(1, limits.ATTEMPTS + 1):
        ports = free_ports(count)
        process = processes.start(name, command(ports), environment=environment(ports))
        try:
            processes.wait(
                process,
                lambda: (
                    responds_ok(f"http://127.0.0.1:{ports[0]}{path}")  # noqa: B023
                    and (exclusive or process.listens_on(ports[0]))  # noqa: B023
                ),
                timeout=seconds,
                what=f"answering on port {ports[0]}",
            )
        except PlatformError as error:
            if attempt == limits.ATTEMPTS or not port_was_taken(process):
                raise ServerFailed(error.message, process) from error
            process.stop()
        else:
            return process, ports
    raise AssertionError("unreachable")
