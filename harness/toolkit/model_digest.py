"""The digest of a model's files, by which results about it are kept. Reads nothing outside the model's directory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from trivet.errors import PlatformError
from trivet.model.subjects import ModelDirectory
from trivet.stacks.parts import digest_of


def files_digest(model: ModelDirectory) -> str | None:
    """The SHA-256 of the paths and contents of all files below a model's directory, without the bytecode that its code leaves there.

    None if a symbolic link leads out of the directory: the runtime follows it, and what it leads to can change while the model's own files
    do not. Raises PlatformError for a file or directory that cannot be read.
    """
    root = Path(os.path.realpath(model.path))
    try:
        files = list(_files(root))
        if not all(Path(os.path.realpath(path)).is_relative_to(root) for path in files if path.is_symlink()):
            return None
        return digest_of({path.relative_to(root).as_posix(): _content(path) for path in files})
    except OSError as error:
        raise PlatformError(
            f"the files of {model.path} cannot be read: {error}", remedy="allow this user to read them"
        ) from error


def _files(root: Path) -> Iterator[Path]:
    """Files, links and directories below ``root``; links to directories are not followed."""
    for folder, directories, names in os.walk(root, onerror=_raised):
        if "__pycache__" in directories:
            directories.remove("__pycache__")
        yield from (Path(folder, name) for name in (*names, *directories))


def _raised(error: OSError) -> None:
    raise error


def _content(path: Path) -> str:
    """The digest of a file, where a link to something else leads to, or nothing for what is neither."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return f"link to {path.readlink()}" if path.is_symlink() else ""
