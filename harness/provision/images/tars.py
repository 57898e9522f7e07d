"""Writing layers: tar archives whose bytes depend on nothing but their content."""

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
"""The time of every file that has no reason for another one: 2024-01-01."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file's digest, as registries write it, and its size in bytes."""

    digest: str
    size: int


class Layer:
    """A layer being written. Parents of what is added are added too, once."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._folders: set[str] = set()

    def file(self, path: str, source: Path, *, mode: int, mtime: int = EPOCH) -> None:
        """The content of ``source`` at ``path``."""
        with source.open("rb") as content:
            self._add(path, tarfile.REGTYPE, mode=mode, mtime=mtime, size=source.stat().st_size, content=content)

    def text(self, path: str, content: bytes, *, mode: int, mtime: int = EPOCH, owner: int = 0) -> None:
        """``content`` at ``path``."""
        size = len(content)
        self._add(path, tarfile.REGTYPE, mode=mode, mtime=mtime, size=size, owner=owner, content=io.BytesIO(content))

    def link(self, path: str, target: str) -> None:
        """A symbolic link at ``path``."""
        self._add(path, tarfile.SYMTYPE, mode=0o777, linkname=target)

    def folder(self, path: str, *, mode: int = 0o755, owner: int = 0) -> None:
        """A directory at ``path``, which is not there yet."""
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
def writing(path: Path) -> Iterator[Layer]:
    """A layer that lies in ``path`` after the block."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        yield Layer(tar)


def digest_of(path: Path) -> Written:
    """Digest and size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Written(digest=f"sha256:{digest}", size=path.stat().st_size)
