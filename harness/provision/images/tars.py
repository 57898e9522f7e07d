"""Writes layers as reproducible tar archives: the bytes depend on the content only."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

EPOCH = 1_704_067_200
"""The modification time of files by default: 2024-01-01 UTC, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """Digest (``sha256:…``) and size in bytes of a file, as in an OCI descriptor."""

    digest: str
    size: int


class LayerWriter:
    """Adds files to a layer. Parent directories are added as needed."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._folders: set[str] = set()

    def file(self, path: str, source: Path, *, mode: int, mtime: int = EPOCH) -> None:
        """Add a file with the content of ``source`` at ``path``."""
        with source.open("rb") as content:
            self._add(path, tarfile.REGTYPE, mode=mode, mtime=mtime, size=source.stat().st_size, content=content)

    def text(self, path: str, content: bytes, *, mode: int, mtime: int = EPOCH, owner: int = 0) -> None:
        """Add a file with ``content`` at ``path``. ``owner`` is UID and GID."""
        size = len(content)
        self._add(path, tarfile.REGTYPE, mode=mode, mtime=mtime, size=size, owner=owner, content=io.BytesIO(content))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link at ``path``."""
        self._add(path, tarfile.SYMTYPE, mode=0o777, linkname=target)

    def folder(self, path: str, *, mode: int = 0o755, owner: int = 0) -> None:
        """Add a directory at ``path``, which must not exist yet."""
        self._add(path, tarfile.DIRTYPE, mode=mode, owner=owner)

    def _add(
        self,
        path: str,
        kind: bytes,
        *,
        mode: int,
        mtime: int = EPOCH,
        size: int = 0,
        linkname: str = "",
        owner: int = 0,
        content: BinaryIO | None = None,
    ) -> None:
        name = path.strip("/")
        for parent in reversed(PurePosixPath(name).parents[:-1]):
            if str(parent) not in self._folders:
                self.folder(str(parent))
        if kind == tarfile.DIRTYPE:
            self._folders.add(name)
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime, info.size, info.linkname = kind, mode, mtime, size, linkname
        info.uid = info.gid = owner
        self._tar.addfile(info, content)


@contextmanager
def open_layer(path: Path) -> Iterator[LayerWriter]:
    """A writer of the layer at ``path``; the file is complete after the block."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        yield LayerWriter(tar)


def describe_file(path: Path) -> Descriptor:
    """Digest and size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Descriptor(digest=f"sha256:{digest}", size=path.stat().st_size)
