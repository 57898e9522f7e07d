"""Finding what to lint below paths: files, model directories and streams, without those that are excluded or ignored. Reads no manifest.

Ignore files follow git: those of a directory and of its parents up to the root of the repository, the nearest first
(https://git-scm.com/docs/gitignore).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trivet.errors import TrivetError, UsageError
from trivet.model.text_lines import text_lines

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

SUFFIXES = (".yaml", ".yml", ".json")
MARKDOWN = ".md"
MLMODEL = "MLmodel"
KUSTOMIZATION = "Kustomization"
GITIGNORE = ".gitignore"

EXCLUDED = "path excluded by a pattern"
IGNORED = "path ignored by .gitignore"


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read, or the directory or ``MLmodel`` of a ``model``. ``named``: the user named it, rather than a directory above it."""

    path: Path
    named: bool = False
    model: bool = False


@dataclass(frozen=True, slots=True)
class TextStream:
    """A text that is no file by itself, such as standard input, or a part of it.

    ``name`` is what findings show as its file, and ``before`` the number of lines before a part. Without ``comments``, nothing in it is
    a comment that ignores findings: it is an object that was never a file, whose strings may look like one. ``file`` is set of a part of a
    file.
    """

    name: str
    content: bytes
    before: int = 0
    comments: bool = True
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A path that is not judged, and why not: a noun that can be counted, such as ``path ignored by .gitignore``."""

    path: str
    reason: str


Place = Found | TextStream | Skipped | TrivetError
"""What there is to read, what is skipped, or why there is nothing to read."""


class PathPatterns:
    """Patterns in the syntax of ``.gitignore`` for paths below ``root``.

    ``root`` itself matches none. Paths elsewhere match by their name alone, so that only patterns without a slash, such as ``*.tmp.yaml``,
    can match them.
    Raises UsageError for an invalid pattern.
    """

    def __init__(self, patterns: Iterable[str], root: Path) -> None:
        patterns = list(patterns)
        try:
            self._spec = _spec(patterns) if patterns else None
        except ValueError as error:
            wrong = next((one for one in patterns if not _valid(one)), "")
            raise UsageError(f"invalid pattern {wrong!r}", remedy="write it as in a .gitignore") from error
        self._root = os.path.abspath(root)  # noqa: PTH100 - Path.resolve would follow links, and change the path that the user passed

    def match(self, path: Path, *, directory: bool = False) -> bool | None:
        """Whether the last pattern that matches ``path`` includes it; None if none does."""
        if not self._spec:
            return None
        absolute = os.path.abspath(path)  # noqa: PTH100
        if absolute == self._root:
            return None
        above = f"{self._root.rstrip(os.sep)}{os.sep}"
        name = absolute[len(above) :] if absolute.startswith(above) else f"../{os.path.basename(absolute)}"  # noqa: PTH119
        return self._spec.check_file(f"{name}/" if directory else name).include


def places(
    paths: Iterable[Path | TextStream | TrivetError],
    *,
    exclude: Sequence[PathPatterns] = (),
    gitignore: bool = True,
    markdown: bool = False,
) -> Iterator[Place]:
    """Everything to read below ``paths``, each file once, in the order given and sorted within a directory.

    A directory is walked for YAML and JSON files, and with ``markdown`` for Markdown pages; one that holds an ``MLmodel`` is a model
    directory and not walked further. Hidden directories and links to directories are not followed. A file that is named, also beside its
    directory, is read whatever it is called and whatever ``.gitignore`` says; ``exclude`` holds for it too, of whose patterns the last that
    matches decides.
    """
    given = list(paths)
    suffixes = (*SUFFIXES, MARKDOWN) if markdown else SUFFIXES
    walk = _Walk(exclude, gitignore, suffixes)
    files = _Files()
    named = {files.key(path) for path in given if isinstance(path, Path) and not os.path.isdir(path)}  # noqa: PTH112
    seen: set[str] = set()
    for path in given:
        for place in walk.below(path) if isinstance(path, Path) else (path,):
            if not isinstance(place, Found):
                yield place
            elif (key := files.key(place.path)) not in seen:
                seen.add(key)
                yield replace(place, named=True) if key in named and not place.named else place


class _Files:
    """Tells files apart, whatever links lead to them. Directories are followed to their end once."""

    def __init__(self) -> None:
        self._directories: dict[Path, str] = {}

    def key(self, path: Path) -> str:
        """What two paths to one file, or to one model directory, have in common."""
        if path.name == MLMODEL:
            path = path.parent
        if path.name in ("", "..") or os.path.islink(path):  # noqa: PTH114 - Path raises for what may not be looked at
            return os.path.realpath(path)
        parent = path.parent
        if parent not in self._directories:
            self._directories[parent] = os.path.realpath(parent)
        return os.path.join(self._directories[parent], path.name)  # noqa: PTH118


class _Walk:
    """The walk of directories; ``ignores`` are the ignore files that apply in a directory, the outermost first."""

    def __init__(self, exclude: Sequence[PathPatterns], gitignore: bool, suffixes: tuple[str, ...]) -> None:
        self._exclude = exclude
        self._gitignore = gitignore
        self._suffixes = suffixes

    def below(self, path: Path) -> Iterator[Place]:
        directory = os.path.isdir(path)  # noqa: PTH112 - Path raises for what may not be looked at
        if _ignored(self._exclude, path, directory=directory):
            yield Skipped(str(path), EXCLUDED)
        elif _is_model(path):
            yield Found(path, named=True, model=True)
        elif not directory:
            yield Found(path, named=True)
        else:
            above = _ignores_above(path) if self._gitignore else []
            # A directory that is named is walked, also if git ignores it; what git ignores in it by other patterns is still ignored.
            yield from self._directory(path, [] if _ignored(above, path, directory=True) else above)

    def _directory(self, directory: Path, ignores: Sequence[PathPatterns]) -> Iterator[Place]:
        # Not by recursion: directories can be nested more deeply than Python's calls.
        stack = [self._entries(directory, ignores)]
        while stack:
            place = next(stack[-1], None)
            if place is None:
                stack.pop()
            elif isinstance(place, tuple):
                stack.append(self._entries(*place))
            else:
                yield place

    def _entries(
        self, directory: Path, ignores: Sequence[PathPatterns]
    ) -> Iterator[Place | tuple[Path, Sequence[PathPatterns]]]:
        """What is in a directory; for a directory in it, what this method is called with."""
        try:
            with os.scandir(directory) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            yield UsageError(
                f"{directory} cannot be listed: {error.strerror}", remedy="allow this user to read it, or leave it out"
            )
            return
        if any(entry.name == MLMODEL for entry in entries):
            yield Found(directory, model=True)
            return
        if self._gitignore and any(entry.name == GITIGNORE for entry in entries):
            ignores = [*ignores, *_ignore_file(directory)]
        for entry in entries:
            path = directory / entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if (
                entry.name.startswith(".")
                if is_directory
                else not ((entry.name.endswith(self._suffixes) or entry.name == KUSTOMIZATION) and _is_read(entry))
            ):
                continue
            if _ignored(self._exclude, path, directory=is_directory):
                yield Skipped(str(path), EXCLUDED)
            elif _ignored(ignores, path, directory=is_directory):
                yield Skipped(str(path), IGNORED)
            elif is_directory:
                yield path, ignores
            else:
                yield Found(path)


def _is_model(path: Path) -> bool:
    """Whether it is an ``MLmodel``, or a directory that holds one."""
    return path.name == MLMODEL or os.path.lexists(path / MLMODEL)


def _ignored(ignores: Sequence[PathPatterns], path: Path, *, directory: bool) -> bool:
    said = (each.match(path, directory=directory) for each in reversed(ignores))
    return bool(next((one for one in said if one is not None), False))


def _ignores_above(path: Path) -> list[PathPatterns]:
    """The ignore files of the directories above ``path``, within its repository; none outside a repository."""
    above = Path(os.path.abspath(path)).parents  # noqa: PTH100
    if (path / ".git").exists():
        return []
    root = next((number for number, folder in enumerate(above) if (folder / ".git").exists()), None)
    return [] if root is None else [one for folder in reversed(above[: root + 1]) for one in _ignore_file(folder)]


def _ignore_file(folder: Path) -> list[PathPatterns]:
    try:
        lines = text_lines((folder / GITIGNORE).read_text(encoding="utf-8", errors="replace"))
    except OSError:  # as git does: there is none, or it cannot be read
        return []
    return [PathPatterns(filter(_valid, lines), folder)]


def _spec(patterns: list[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # loaded where there are patterns

    return GitIgnoreSpec.from_lines(patterns)


def _valid(pattern: str) -> bool:
    """Whether git knows the pattern; it ignores others in a ``.gitignore``, such as a lone ``!``."""
    try:
        _spec([pattern])
    except ValueError:
        return False
    return True


def _is_read(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link that leads nowhere, which is worth an error. A pipe would never end."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True
