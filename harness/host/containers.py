"""Starts the containers of a run with testcontainers, labels them and records them in the run's journal, and removes them.

testcontainers' reaper is disabled: it needs another image from the network, and the run's journal does its work, also after kill -9.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from trivet.errors import PlatformError
from trivet.host import limits
from trivet.host.journal import Run
from trivet.host.signals import uninterruptible
from trivet.toolkit.waiting import eventually

LABEL = "dev.trivet.run"
"""The label of every container of a run; its value is the run's id."""

WITHOUT = "run without --store and --database (files and SQLite need no Docker)"
"""The remedy that always applies."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service in one container.

    ``image`` is the path of an image of the stack, such as ``library/postgres``; ``command`` are the arguments of its entry point.
    ``memory`` are directories to mount as tmpfs. ``ready(address)`` says whether the service is ready; ``address`` is its ``host:port`` for
    this machine.
    """

    name: str
    image: str
    port: int
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    memory: Sequence[str]
    ready: Callable[[str], bool]


class Containers:
    """The containers of one run, removed at the end of the ``with`` block; no container may be started after that.

    ``images`` maps the path of an image to its name in Docker.
    """

    def __init__(self, run: Run, images: Mapping[str, str], stop: threading.Event) -> None:
        self._run = run
        self._images = images
        self._stop = stop
        self._started: list[Any] = []

    def __enter__(self) -> Containers:
        return self

    @uninterruptible
    def __exit__(self, *_: object) -> None:
        for container in self._started:
            try:
                container.stop()
            except Exception:
                # Docker's client raises many exceptions. The journal has the container, and the next run removes it.
                self._run.keep()

    def start(self, service: Service) -> str:
        """Start ``service`` and wait until it is ready; returns its address, ``host:port``.

        Raises PlatformError with the tail of the container's log when it does not become ready.
        """
        container = self._container(service)
        with _docker_errors(f"prepare the container of the {service.name}"):
            local = _is_local(container.get_docker_client())
        # With a local daemon, the port is not published to other machines.
        container.ports[f"{service.port}/tcp"] = ("127.0.0.1",) if local else None
        if self._stop.is_set():
            raise PlatformError(f"cannot start the container of the {service.name}: the session is ending")
        name = f"trivet-{self._run.id}-{service.name.replace(' ', '-')}"
        self._run.add_cleanup(f"container {name}", [*_docker(), "rm", "--force", "--volumes", name])
        self._started.append(container)
        with _docker_errors(f"start the container of the {service.name}"):
            container.with_name(name).start()
            host = "127.0.0.1" if local else container.get_container_host_ip()
            address = f"{host}:{container.get_exposed_port(service.port)}"
        self._wait_until_ready(service, container, address)
        return address

    def _container(self, service: Service) -> Any:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        testcontainers_config.ryuk_disabled = True
        container = DockerContainer(
            self._images[service.image],
            env=dict(service.environment),
            labels={LABEL: self._run.id},
        ).with_command(list(service.command))
        for directory in service.memory:
            container.with_tmpfs_mount(directory)
        return container

    def _wait_until_ready(self, service: Service, container: Any, address: str) -> None:
        def log_tail() -> str:
            with _docker_errors(f"read the log of the {service.name}"):
                log = b"".join(container.get_logs()).decode(errors="replace")
            return "log tail:\n" + ("\n".join(log.rstrip().splitlines()[-15:]) or "(empty)")

        def ready() -> bool:
            if service.ready(address):
                return True
            with _docker_errors(f"inspect the container of the {service.name}"):
                container.reload()
            if container.status != "running":
                raise PlatformError(f"the container of the {service.name} exited; {log_tail()}")
            return False

        eventually(
            f"the {service.name} to be ready",
            ready,
            timeout=limits.CONTAINER,
            describe=lambda _: log_tail(),
            raises=PlatformError,
            poll=limits.POLL,
            stop=self._stop,
        )


def require_docker() -> None:
    """Raise PlatformError with a remedy when containers cannot be started: no testcontainers, no Docker, or no running daemon."""
    try:
        from testcontainers.core.docker_client import DockerClient
    except ImportError as error:
        raise PlatformError(
            f"services in containers need testcontainers, and its import fails: {error}",
            remedy=f"pip install 'trivet[containers]', or {WITHOUT}",
        ) from error
    with _docker_errors("connect to Docker"):
        client = DockerClient().client
        client.ping()
        client.close()


def pull(name: str) -> None:
    """Pull the image ``name``, unless Docker has it. Raises PlatformError when the pull fails."""
    from docker.errors import DockerException, ImageNotFound
    from testcontainers.core.docker_client import DockerClient

    client = DockerClient().client
    try:
        with suppress(ImageNotFound):
            client.images.get(name)
            return
        client.images.pull(name)
    except DockerException as error:
        raise PlatformError(
            f"cannot pull the image {name}: {_message(error)}",
            remedy="check that this machine can reach the registry, or load the image (docker load), "
            f'or set images = "build" to build it from packages; or {WITHOUT}',
        ) from error
    finally:
        client.close()


@contextmanager
def _docker_errors(what: str) -> Iterator[None]:
    """Turn exceptions of Docker's client in the block into PlatformError; ``what`` completes its "cannot …"."""
    from docker.errors import DockerException

    try:
        yield
    except (DockerException, OSError, RuntimeError) as error:
        raise docker_error(what, _message(error)) from error


def docker_error(what: str, message: str) -> PlatformError:
    """The error "cannot ``what``" for a ``message`` of Docker's client, with a remedy."""
    if "Permission denied" in message:
        return PlatformError(
            f"cannot {what}: this user has no access to the Docker daemon ({message})",
            remedy=f"add the user to the group `docker`, or set DOCKER_HOST; or {WITHOUT}",
        )
    if not any(pattern in message for pattern in ("Connection aborted", "Connection refused", "Max retries exceeded")):
        return PlatformError(f"cannot {what}: {message}", remedy=f"see Docker's message; or {WITHOUT}")
    reason = re.search(r"No such file or directory|Connection refused|timed out|(?<=\] )[\w ]+", message)
    if shutil.which("docker") is None:
        return PlatformError(
            f"cannot {what}: there is no Docker on this machine",
            remedy=f"install Docker (https://docs.docker.com/engine/install); or {WITHOUT}",
        )
    return PlatformError(
        f"cannot {what}: the Docker daemon does not respond ({reason[0] if reason else message})",
        remedy=f"start the Docker daemon (systemctl start docker, or Docker Desktop); or {WITHOUT}",
    )


def _message(error: Exception) -> str:
    """The daemon's explanation, or the client's message when there is none."""
    return str(getattr(error, "explanation", None) or error)


def _is_local(client: Any) -> bool:
    """Whether this process can connect to ports that the daemon publishes on 127.0.0.1: both run on this machine, outside containers."""
    from testcontainers.core.config import ConnectionMode

    return client.get_connection_mode() is ConnectionMode.docker_host and client.host() in ("localhost", "127.0.0.1")


def _docker() -> list[str]:
    """The docker command for the daemon that testcontainers uses."""
    from testcontainers.core.docker_client import get_docker_host

    host = get_docker_host()
    return ["docker", *(["--host", host] if host else [])]
