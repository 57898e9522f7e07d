"""The store client of a cluster: a job in a pod reads and writes, and KServe's code in a pod downloads."""

from __future__ import annotations

import base64
import io
import posixpath
import tarfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from threading import Lock

from trivet.errors import UsageError
from trivet.host.journal import make_below
from trivet.host.worker import OperationFailed, Worker
from trivet.model.clients import DownloadFailed
from trivet.model.handover import Download
from trivet.targets.common import limits
from trivet.targets.common.clients import checksums


class ClusterStore:
    """The S3 store of the tracking server's artifacts, and downloads from it with the storage initializer.

    ``artifact_root`` is the root of the store, ``root`` the prefix that this session writes to.
    """

    def __init__(self, *, artifact_root: str, root: str, downloads: Path, store: Worker, initializer: Worker) -> None:
        self._artifact_root = artifact_root.rstrip("/")
        self._root = root
        self._downloads = downloads
        self._store = store
        self._initializer = initializer
        self._numbers = count()
        self._lock = Lock()

    @property
    def root(self) -> str:
        """The URI of the prefix that this session writes to."""
        return self._root

    def files(self, storage_uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of the objects below ``storage_uri``; empty when there are none."""
        if not f"{storage_uri}/".startswith(f"{self._artifact_root}/"):
            raise UsageError(
                f"{storage_uri!r} is not in this store", remedy=f"use a URI below its root, {self._artifact_root}"
            )
        return dict(self._store.call("files", uri=storage_uri))

    def write(self, relative: str, files: Mapping[str, bytes]) -> str:
        """Write files (path → content) to the new directory ``relative`` below the root; returns the directory's storage URI."""
        for name in (relative, *files):
            if name.startswith("/") or ".." in name.split("/"):
                raise UsageError(f"{name} is outside the store", remedy="use a path relative to the store's root")
        uri = f"{self._root}/{posixpath.normpath(relative)}"
        self._store.call(
            "write", uri=uri, files={name: base64.b64encode(data).decode() for name, data in files.items()}
        )
        return uri

    def download(self, storage_uri: str) -> Download:
        """Download exactly ``storage_uri`` with KServe's code in its pod, and copy the files to this machine. Raises DownloadFailed."""
        with self._lock:
            directory = make_below(self._downloads.parent, f"{self._downloads.name}/{next(self._numbers):03d}")
            before = len(self._initializer.process.text())
            try:
                packed = self._initializer.call("fetch", storage_uri=storage_uri, seconds=limits.DOWNLOAD)
            except OperationFailed as error:
                raise DownloadFailed(error.message) from error
            log = self._initializer.process.text()[before:]
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed)), mode="r:gz") as archive:
            archive.extractall(directory, filter="data")
        return Download(directory=directory, files=checksums(directory), log=log)

    def remove(self) -> None:
        """Delete everything below the session's prefix."""
        self._store.call("delete", uri=self._root)
