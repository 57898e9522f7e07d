"""The artefact store of a cluster: read and written by a job in a pod, fetched from by KServe's own code there."""

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
    """An S3 store behind the tracking server, and the storage initializer in front of the runtime.

    ``artifact_root`` is the whole store, ``root`` the part of it that this session may write.
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
        """Where this session may write."""
        return self._root

    def files(self, storage_uri: str) -> Mapping[str, str]:
        """Relative path → SHA-256 of the objects below ``storage_uri``; of nothing when there is no such place."""
        if not f"{storage_uri}/".startswith(f"{self._artifact_root}/"):
            raise UsageError(
                f"{storage_uri!r} is not in this store", remedy=f"give a URI below its root, {self._artifact_root}"
            )
        return dict(self._store.call("files", uri=storage_uri))

    def write(self, relative: str, files: Mapping[str, bytes]) -> str:
        """Write files, by their paths relative to the new directory ``relative`` below the root; returns its storage URI."""
        for name in (relative, *files):
            if name.startswith("/") or ".." in name.split("/"):
                raise UsageError(f"{name} lies outside the store", remedy="give a path relative to the store's root")
        uri = f"{self._root}/{posixpath.normpath(relative)}"
        self._store.call(
            "write", uri=uri, files={name: base64.b64encode(data).decode() for name, data in files.items()}
        )
        return uri

    def download(self, storage_uri: str) -> Download:
        """Have KServe's code fetch exactly ``storage_uri`` in its pod, and bring what it left here. Raises DownloadFailed."""
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
        """Delete what the session wrote below its root."""
        self._store.call("delete", uri=self._root)
