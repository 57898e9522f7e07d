"""The digest of a model's files, by which results about it are kept. Reads nothing outside the model's root."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from trivet.errors import PlatformError
from trivet.model.subjects import ModelDirectory
from trivet.stacks.parts import digest_of


def files_digest(model: ModelDirectory) -> str:
    """The SHA-256 of the paths and contents of all files below a model's directory, without the bytecode that its code leaves there.

    Of a symbolic link that leads out of the model's root, and of what is no file, only that it is there counts. Raises PlatformError for a
    file that cannot be read.
    """
    try:
        return digest_of(dict(_files(model)))
    except OSError as error:
        raise PlatformError(
            f"the files of {model.path} cannot be read: {error}", remedy="allow this user to read them"
        ) from error


def _files(model: ModelDirectory) -> Iterator[tuple[str, str]]:
    root = model.root.resolve()
    for folder, directories, names in os.walk(model.path):
        if "__pycache__" in directories:
            directories.remove("__pycache__")
        for name in (*names, *directories):
            path = model.path.joinpath(folder, name)
            label = path.relative_to(model.path).as_posix()
            if not (path.is_file() and path.resolve().is_relative_to(root)):
                yield label, f"link to {path.readlink()}" if path.is_symlink() else ""
                continue
            with path.open("rb") as file:
                yield label, hashlib.file_digest(file, "sha256").hexdigest()
