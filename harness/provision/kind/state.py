"""The state of trivet's clusters on disk: folder, locks and stage of each. Uses no container.

The folder is ``<cache>/clusters/<name>/``. The state is written before each change that it records, so that after a kill at any moment the
next process knows what may exist.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from trivet.errors import PlatformError
from trivet.model.stack import Stack
from trivet.provision.kind import limits
from trivet.stacks.environments import cache_directory

LONGEST_NAME = 63 - len("-control-plane")
CREATING, CREATED, READY, DELETING = "creating", "created", "ready", "deleting"
"""Nodes may exist · Kubernetes runs, the platform may be incomplete · everything has been ready once · nodes may be deleted."""


class Busy(PlatformError):
    """Another trivet process is creating or deleting the cluster."""


class InUse(PlatformError):
    """Another run uses the cluster."""


@dataclass(frozen=True, kw_only=True)
class ClusterState:
    """A cluster's stage, the digest of what it was created from, its image source, and the ports of 127.0.0.1 that are mapped into it.

    ``secret`` is the password of its store and its database. ``workloads`` are the platform's (``namespace/Kind/name``), empty until it has
    been complete once. ``options`` are those of commands that choose its stack, ``images`` has the name of each role's image on it; both
    are empty for a cluster of a trivet that did not keep them.
    """

    stage: str
    digest: str
    source: str
    ingress: int
    tracking: int
    prometheus: int
    secret: str = field(repr=False)
    workloads: list[str] = field(default_factory=list)
    options: str = ""
    mirror: str = ""
    images: dict[str, str] = field(default_factory=dict)

    def command(self, name: str) -> str:
        """``trivet NAME`` for its stack; ``up`` with the source of its images, since from another it would be another cluster."""
        source = {"--images": self.source, "--mirror": self.mirror} if name == "up" else {}
        given = (f"{option} {shlex.quote(value)}" for option, value in source.items() if value)
        return " ".join(("trivet", name, self.options or "--stack STACK", *given))


@dataclass(frozen=True, kw_only=True)
class AddonState:
    """An add-on on a cluster: the digest of what it was installed from, its workloads, none until it has been complete once, and the names
    of its roles' images as in :class:`ClusterState`.
    """

    digest: str
    workloads: list[str]
    images: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClusterFolder:
    """The folder with everything that trivet stores about the cluster called ``name``."""

    name: str
    path: Path

    @property
    def kubeconfig(self) -> Path:
        """The cluster's own kubeconfig. The user's kubeconfig is never changed."""
        return self.path / "kubeconfig"

    @property
    def context(self) -> str:
        """The context that kind creates for the cluster."""
        return f"kind-{self.name}"

    def read(self) -> ClusterState | None:
        """The state, or None when trivet has no such cluster. An unreadable file counts as a cluster whose creation was interrupted."""
        try:
            text = (self.path / "state.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return ClusterState(**json.loads(text))
        except (ValueError, TypeError):
            return ClusterState(stage=CREATING, digest="", source="", ingress=0, tracking=0, prometheus=0, secret="")

    def write(self, state: ClusterState) -> None:
        """Write ``state``; it is on disk when this returns."""
        self._write(self.path / "state.json", asdict(state))

    def read_addon(self, name: str) -> AddonState | None:
        """The state of an add-on; None when it is not on the cluster, or the file is unreadable."""
        try:
            return AddonState(**json.loads(self._addon(name).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_addon(self, name: str, state: AddonState) -> None:
        """Write the state of an add-on; it is on disk when this returns."""
        self._write(self._addon(name), asdict(state))

    def _addon(self, name: str) -> Path:
        return self.path / "addons" / f"{name}.json"

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.touch(mode=0o600)
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)

    def delete(self) -> None:
        """Delete the folder, the state first."""
        (self.path / "state.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def locked(self, timeout: float = limits.LOCK) -> Iterator[None]:
        """No other process creates or deletes the cluster during the block. Raises Busy after ``timeout`` seconds."""
        lock = FileLock(f"{self.path}.lock", thread_local=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=timeout)
        except Timeout as error:
            raise Busy(
                f"timed out after {timeout:.0f} s waiting for another trivet process to create or delete the cluster {self.name}",
                remedy=f"find the process that holds {lock.lock_file}, such as `trivet up` in another terminal",
            ) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def shared_use(self) -> Iterator[None]:
        """No other process deletes or re-creates the cluster during the block. Any number of processes may be in such a block."""
        with self._use_file() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def exclusive_use(self) -> Iterator[None]:
        """No other process uses the cluster during the block. Raises InUse when one does now."""
        with self._use_file() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InUse(
                    f"cannot delete the cluster {self.name}: it is in use by another run of trivet",
                    remedy="wait for that run or end it; its process holds the lock",
                ) from error
            yield

    def _use_file(self) -> IO[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return Path(f"{self.path}.use").open("a", encoding="utf-8")


def folder_of(stack: Stack) -> ClusterFolder:
    """The folder of the cluster that ``stack`` runs on. Its name is ``trivet-`` and the stack's name, reduced to a valid host name.

    That of a composed stack ends in a digest of the options that choose it. A node's name has ``-control-plane`` after the cluster's, and
    Kubernetes' labels have it in 63 characters.
    """
    stack = stack.cluster_of or stack
    readable = "".join(one if one.isalnum() else "-" for one in stack.name.lower())
    if not stack.parts:
        return cluster_folder(f"trivet-{readable}"[:LONGEST_NAME].rstrip("-"))
    ending = f"-{hashlib.sha256(stack.options.encode()).hexdigest()[:8]}"
    return cluster_folder(f"{f'trivet-{readable}'[: LONGEST_NAME - len(ending)].rstrip('-')}{ending}")


def cluster_folder(name: str) -> ClusterFolder:
    """The folder of the cluster called ``name``."""
    return ClusterFolder(name=name, path=_home() / name)


def known_clusters() -> list[ClusterFolder]:
    """Every cluster with a state."""
    return [cluster_folder(file.parent.name) for file in sorted(_home().glob("*/state.json"))]


def all_folders() -> list[ClusterFolder]:
    """Every cluster that was ever created or deleted with this cache directory, including one that has no state yet."""
    return [cluster_folder(file.name.removesuffix(".lock")) for file in sorted(_home().glob("*.lock"))]


def _home() -> Path:
    return cache_directory() / "clusters"
