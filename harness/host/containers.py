"""Containers that back a run: started by testcontainers, marked and journalled as the run's, removed on every way out.

The reaper that testcontainers would start beside them is switched off: it is a further image from the network, and the run's journal
does its work, also after kill -9.
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
"""The label that every container of a run carries, with the run's id."""

WITHOUT = "run without --store and --database (files and SQLite need no Docker)"
"""The remedy that is always there."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What runs in one container.

    ``image`` is the image's path among those of the stack, such as ``library/postgres``; ``command`` are the arguments for its own entry
    point. ``memory`` are directories that are kept in memory and made where they are missing. ``ready(address)`` says whether it serves,
    ``address`` being ``host:port`` as this machine reaches it.
    """

    name: str
    image: str
    port: int
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    memory: Sequence[str]
    ready: Callable[[str], bool]


class Containers:
    """The containers of one run, removed at the end of the ``with`` block, which must be left when nobody starts any more.

    ``images`` says under which name Docker has the image of each path.
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
            # Docker's client raises a lot; what it leaves is in the journal, and then the next run's to remove.
            with suppress(Exception):
                container.stop()

    def start(self, service: Service) -> str:
        """Start ``service`` and wait until it is ready; returns its address, ``host:port``.

        Raises PlatformError with the container's last words when it does not get ready.
        """
        container = self._container(service)
        with _docker_errors(f"prepare the container of the {service.name}"):
            here = _daemon_is_here(container.get_docker_client())
        # Other machines have no business with it, where it need not be reached over a network.
        container.ports[f"{service.port}/tcp"] = ("127.0.0.1",) if here else None
        if self._stop.is_set():
            raise PlatformError(f"the container of the {service.name} was not started: the session is ending")
        name = f"trivet-{self._run.id}-{service.name.replace(' ', '-')}"
        self._run.add_cleanup(f"container {name}", [*_docker(), "rm", "--force", "--volumes", name])
        self._started.append(container)
        with _docker_errors(f"start the container of the {service.name}"):
            container.with_name(name).start()
            host = "127.0.0.1" if here else container.get_container_host_ip()
            address = f"{host}:{container.get_exposed_port(service.port)}"
        self._await(service, container, address)
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

    def _await(self, service: Service, container: Any, address: str) -> None:
        def log_tail() -> str:
            with _docker_errors(f"read the log of the {service.name}"):
                log = b"".join(container.get_logs()).decode(errors="replace")
            return "log tail:\n" + ("\n".join(log.rstrip().splitlines()[-15:]) or "(empty)")

        def ready() -> bool:
            if service.ready(address):
                return True
            with _docker_errors(f"look at the container of the {service.name}"):
                container.reload()
            if container.status != "running":
                raise PlatformError(f"the container of the {service.name} ended; {log_tail()}")
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
    """Raise PlatformError, with what to do, where no containers can be started: no testcontainers, no Docker, a daemon that is stopped."""
    try:
        from testcontainers.core.docker_client import DockerClient
    except ImportError as error:
        raise PlatformError(
            f"backing services in containers need testcontainers, and it does not import: {error}",
            remedy=f"pip install 'trivet[containers]', or {WITHOUT}",
        ) from error
    with _docker_errors("talk to Docker"):
        client = DockerClient().client
        client.ping()
        client.close()


def pull(name: str) -> None:
    """Have Docker fetch the image ``name``, unless it has it. Raises PlatformError when it is not to be had."""
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
            f"the image {name} is not to be had: {_words(error)}",
            remedy="see that this machine reaches its registry, or load the image (docker load); "
            f'with the setting images = "build" it is made from packages; or {WITHOUT}',
        ) from error
    finally:
        client.close()


@contextmanager
def _docker_errors(what: str) -> Iterator[None]:
    """Turn what Docker's client raises in the block into a PlatformError; ``what`` completes "could not …"."""
    from docker.errors import DockerException

    try:
        yield
    except (DockerException, OSError, RuntimeError) as error:
        raise explained(what, _words(error)) from error


def explained(what: str, words: str) -> PlatformError:
    """The error for "could not ``what``", by the ``words`` of Docker's client."""
    if "Permission denied" in words:
        return PlatformError(
            f"could not {what}: this user may not use it ({words})",
            remedy=f"add the user to the group `docker`, or set DOCKER_HOST; or {WITHOUT}",
        )
    if not any(sign in words for sign in ("Connection aborted", "Connection refused", "Max retries exceeded")):
        return PlatformError(f"could not {what}: {words}", remedy=f"see Docker's own words; or {WITHOUT}")
    reason = re.search(r"No such file or directory|Connection refused|timed out|(?<=\] )[\w ]+", words)
    if shutil.which("docker") is None:
        return PlatformError(
            f"could not {what}: there is none on this machine",
            remedy=f"install it (https://docs.docker.com/engine/install); or {WITHOUT}",
        )
    return PlatformError(
        f"could not {what}: its daemon does not answer ({reason[0] if reason else words})",
        remedy=f"start it (systemctl start docker, or Docker Desktop); or {WITHOUT}",
    )


def _words(error: Exception) -> str:
    """What the daemon said where it said something, else what its client did."""
    return str(getattr(error, "explanation", None) or error)


def _daemon_is_here(client: Any) -> bool:
    """Whether what the daemon publishes on 127.0.0.1 is there for us: it is on this machine, and we are in no container ourselves."""
    from testcontainers.core.config import ConnectionMode

    return client.get_connection_mode() is ConnectionMode.docker_host and client.host() in ("localhost", "127.0.0.1")


def _docker() -> list[str]:
    """Docker's command for the daemon that testcontainers speaks to."""
    from testcontainers.core.docker_client import get_docker_host

    host = get_docker_host()
    return ["docker", *(["--host", host] if host else [])]
