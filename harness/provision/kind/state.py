"""What is known on disk of a cluster of ours: its folder, its lock, and how far it has come. Touches no container.

The folder is ``<cache>/clusters/<name>/``. The state is written before each thing that it speaks of is done: whatever moment trivet is
killed at, the next one reads what may be there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from trivet.errors import PlatformError
from trivet.model.stack import Stack
from trivet.provision.kind import limits
from trivet.stacks.environments import cache_directory

CREATING, CREATED, READY, DELETING = "creating", "created", "ready", "deleting"
"""Nodes may be there · Kubernetes runs, the platform may be half installed · everything was ready once · nodes may be gone."""


class Busy(PlatformError):
    """Another trivet is bringing the cluster up or down."""


class InUse(PlatformError):
    """Another run works on the cluster."""


@dataclass(frozen=True, kw_only=True)
class ClusterState:
    """How far a cluster has come, the digest of what it was made from, and the ports of 127.0.0.1 that lead into it.

    ``secret`` is the password of its store and its database. ``workloads`` are those of the platform (``namespace/Kind/name``), known
    once it was complete.
    """

    stage: str
    digest: str
    source: str
    ingress: int
    tracking: int
    prometheus: int
    secret: str = field(repr=False)
    workloads: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ClusterFolder:
    """Where trivet keeps what it knows of the cluster called ``name``."""

    name: str
    path: Path

    @property
    def kubeconfig(self) -> Path:
        """The cluster's own kubeconfig; the user's is never written to."""
        return self.path / "kubeconfig"

    @property
    def context(self) -> str:
        """The context that kind calls the cluster by."""
        return f"kind-{self.name}"

    def read(self) -> ClusterState | None:
        """The state, or None when there is no such cluster of ours. An unreadable file counts as a cluster that was being created."""
        try:
            text = (self.path / "state.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return ClusterState(**json.loads(text))
        except (ValueError, TypeError):
            return ClusterState(stage=CREATING, digest="", source="", ingress=0, tracking=0, prometheus=0, secret="")

    def write(self, state: ClusterState) -> None:
        """Keep ``state``, on disk before this returns."""
        self.path.mkdir(parents=True, exist_ok=True)
        unfinished = self.path / "state.unfinished"
        unfinished.touch(mode=0o600)
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path / "state.json")

    def forget(self) -> None:
        """Remove the folder, the state first."""
        (self.path / "state.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def locked(self, waiting: float = limits.LOCK) -> Iterator[None]:
        """Nobody else brings the cluster up or down during the block. Raises Busy after ``waiting`` seconds."""
        lock = FileLock(f"{self.path}.lock", thread_local=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=waiting)
        except Timeout as error:
            raise Busy(
                f"another trivet has been busy with the cluster {self.name} for {waiting:.0f} s",
                remedy=f"see what holds {lock.lock_file}, such as `trivet up` in another terminal",
            ) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Whoever uses the cluster during the block keeps others from deleting it, also by making it anew. Any number may."""
        with self._use_file() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def unused(self) -> Iterator[None]:
        """Nobody uses the cluster during the block, nor begins to. Raises InUse when somebody does."""
        with self._use_file() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InUse(
                    f"the cluster {self.name} is in use by another run of trivet and would have to be deleted",
                    remedy="wait for that run or end it; its hold on the cluster ends with its process",
                ) from error
            yield

    def _use_file(self) -> IO[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return Path(f"{self.path}.use").open("a", encoding="utf-8")


def folder_of(stack: Stack) -> ClusterFolder:
    """The folder of the cluster for ``stack``, called ``trivet-`` and the stack's name as far as a host name may have it."""
    readable = "".join(one if one.isalnum() else "-" for one in stack.name.lower())
    return named(f"trivet-{readable}"[:50].rstrip("-"))


def named(name: str) -> ClusterFolder:
    """The folder of the cluster called ``name``."""
    return ClusterFolder(name=name, path=_home() / name)


def known() -> list[ClusterFolder]:
    """Every cluster that there is a state of."""
    return [named(file.parent.name) for file in sorted(_home().glob("*/state.json"))]


def met() -> list[ClusterFolder]:
    """Every cluster that was ever brought up or down with this cache; one that is just being made has no state yet."""
    return [named(file.name.removesuffix(".lock")) for file in sorted(_home().glob("*.lock"))]


def _home() -> Path:
    return cache_directory() / "clusters"
