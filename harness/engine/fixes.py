"""Applies the mechanical remedies of findings to files: one word of a line becomes another, and every other byte stays."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trivet.errors import UsageError
from trivet.model.finding import Finding, Replacement
from trivet.model.text_lines import text_lines
from trivet.toolkit.documents import BrokenDocument, documents
from trivet.toolkit.walking import MARKDOWN


@dataclass(frozen=True, kw_only=True)
class Change:
    """A word of a file that is replaced: its line, and its column in the line as it was, both from 1. A byte order mark has no column."""

    line: int
    column: int
    replacement: Replacement


@dataclass(frozen=True, kw_only=True)
class FixedFile:
    """A file before and after its fixes."""

    path: Path
    before: str
    after: str
    changes: tuple[Change, ...]

    def write(self) -> None:
        """Write the file. Raises UsageError when that fails, or when the file has changed since it was read."""
        remedy = "run the command again when nothing else writes to it"
        try:
            if _read(self.path) != self.before:
                raise UsageError(f"{self.path} has changed while it was linted: nothing is fixed in it", remedy=remedy)
            self.path.write_bytes(self.after.encode())
        except OSError as error:
            raise UsageError(f"cannot fix {self.path}: {error.strerror}", remedy="make it writable") from error


def fixes(findings: Iterable[Finding]) -> list[FixedFile]:
    """The files that the remedies of ``findings`` change, in order; nothing is written.

    What is left out: a word that its line does not have exactly once, and a file that cannot be read as YAML afterwards.
    """
    by_file: dict[str, list[tuple[int, Replacement]]] = {}
    for finding in findings:
        place = finding.location
        if finding.fix and place and place.file and place.line:
            by_file.setdefault(place.file, []).append((place.line, finding.fix))
    made = (_fixed(Path(file), list(dict.fromkeys(wanted))) for file, wanted in by_file.items())
    return [one for one in made if one]


def _fixed(path: Path, wanted: Iterable[tuple[int, Replacement]]) -> FixedFile | None:
    if not path.is_file():  # a stream, or a pipe, which would be waited for
        return None
    try:
        before = _read(path)
    except (OSError, UnicodeDecodeError):  # what another process has taken away
        return None
    lines = text_lines(before, keepends=True)
    originals = list(lines)
    done: list[Change] = []
    for number, one in sorted(wanted, key=lambda each: each[0]):
        if number <= len(lines):
            # Not within a longer name, path or URI.
            pattern = re.compile(rf"(?<![\w./:-]){re.escape(one.old)}(?![\w./-])")
            now = [found.span() for found in pattern.finditer(lines[number - 1])]
            was = [found.start() for found in pattern.finditer(originals[number - 1])]
            if len(now) == len(was) == 1:
                (start, end), line = now[0], lines[number - 1]
                lines[number - 1] = f"{line[:start]}{one.new}{line[end:]}"
                mark = originals[number - 1].startswith("\ufeff") and number == 1
                done.append(Change(line=number, column=was[0] + 1 - mark, replacement=one))
    after = "".join(lines)
    return (
        FixedFile(path=path, before=before, after=after, changes=tuple(done)) if done and _parses(path, after) else None
    )


def _read(path: Path) -> str:
    """The text with its line ends and byte order mark as they are."""
    return path.read_bytes().decode()


def _parses(path: Path, text: str) -> bool:
    if path.suffix == MARKDOWN:
        return True
    try:
        return bool(list(documents(text.removeprefix("\ufeff"))))
    except BrokenDocument:
        return False
