"""Locks a stack: resolves each role's requirements into pins with hashes, and generates the schemas of its API."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from trivet.errors import PlatformError, UsageError, unknown
from trivet.stacks.api_generator import generate_schemas
from trivet.stacks.read import SCHEMAS_FILE, STACK_FILE, pins_of, read_table
from trivet.stacks.uv import run_uv


@dataclass(frozen=True, kw_only=True)
class LockChange:
    """A changed pin. ``before`` is empty for a new package, ``after`` for a removed one."""

    role: str
    package: str
    before: str
    after: str


def lock_stack(
    stack_folder: Path,
    cutoff: str | None = None,
    roles: Sequence[str] | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> list[LockChange]:
    """Resolve the roles of the stack in ``stack_folder`` (all, or ``roles``), write their locks and return the changed pins.

    ``cutoff`` (YYYY-MM-DD: packages published after that day are excluded) replaces the cut-off dates of those roles in ``stack.toml``.
    Locks are valid for every platform and contain no registry URL. Without ``roles``, ``api_schemas.json`` is generated too. Nothing is
    written unless every role resolves. Raises UsageError for invalid input, PlatformError with uv's output when uv fails.
    """
    table = read_table(stack_folder)
    settings = table["roles"]
    chosen = tuple(roles or settings)
    for name in chosen:
        if name not in settings:
            raise unknown("role", name, settings)
        if not settings[name]["requires"]:
            raise UsageError(
                f"the {name} of stack {stack_folder.name} requires nothing, which is no environment",
                remedy=f"write its packages into `requires` under [roles.{name}] of its {STACK_FILE}",
            )
    description = (stack_folder / STACK_FILE).read_text(encoding="utf-8")
    if cutoff is not None:
        _check_day(cutoff)
        description = with_cutoff(description, cutoff, chosen)
    texts = {}
    changes: list[LockChange] = []
    for name in chosen:
        progress(f"resolving the {name} of stack {stack_folder.name}")
        lock = stack_folder / f"{name}.lock"
        texts[lock] = resolve(name, settings[name], cutoff or settings[name]["cutoff"], stack_folder.name)
        before = pins_of(lock.read_text(encoding="utf-8"), settings[name]["python"], lock) if lock.is_file() else {}
        changes += _changes(name, before, pins_of(texts[lock], settings[name]["python"], lock))
    if not roles:
        texts[stack_folder / SCHEMAS_FILE] = generate_schemas(table["components"], progress=progress)
    _write({**texts, stack_folder / STACK_FILE: description})
    return changes


def resolve(role: str, settings: Mapping[str, Any], cutoff: str, stack: str, *, build: bool = True) -> str:
    """The text of a lock for a role's ``requires``, under its ``constraints``, Python version and ``cutoff``.

    Without ``build``, only versions with wheels are taken: the metadata of others can be read by executing their code alone.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, lines in (("requires", settings["requires"]), ("constraints", settings.get("constraints", []))):
            (folder / f"{name}.in").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        text = run_uv(
            [
                *("pip", "compile", "--quiet", "--universal", "--fork-strategy", "fewest", "--generate-hashes"),
                *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
                *("--exclude-newer", cutoff, "--python-version", settings["python"]),
                *(() if build else ("--no-build",)),
                *("--constraints", "constraints.in", "requires.in"),
            ],
            what=f"resolve the {role} of stack {stack} as of {cutoff}",
            cwd=folder,
        )
    if address := re.search(r"\S+://\S+", text):
        raise UsageError(
            f"cannot lock the {role} of stack {stack} to a URL, {address[0]}",
            remedy="require published versions with `name==version`; each machine's settings of uv decide on the registry",
        )
    return text


def with_cutoff(description: str, cutoff: str, roles: Sequence[str]) -> str:
    """The text of ``stack.toml`` with another cut-off date in the tables of ``roles``; everything else, including comments, is kept."""
    lines = description.splitlines(keepends=True)
    table = ""
    for number, line in enumerate(lines):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = header[1].strip()
        elif table in {f"roles.{name}" for name in roles}:
            lines[number] = re.sub(r'^(\s*cutoff\s*=\s*)("[^"]*"|\'[^\']*\')', rf'\g<1>"{cutoff}"', line)
    return "".join(lines)


def _check_day(cutoff: str) -> None:
    try:
        valid = date.fromisoformat(cutoff).isoformat() == cutoff
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"cut-off {cutoff!r} is not a date", remedy="write it as YYYY-MM-DD, such as 2024-11-15")


def _changes(role: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[LockChange]:
    return [
        LockChange(role=role, package=name, before=before.get(name, ""), after=after.get(name, ""))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _write(texts: Mapping[Path, str]) -> None:
    """Write all files or none, as far as the file system allows: every text is on disk before the first file is replaced."""
    unfinished = {file: file.with_name(f".{file.name}.unfinished") for file in texts}
    try:
        for file, text in texts.items():
            unfinished[file].write_text(text, encoding="utf-8")
        for file in texts:
            unfinished[file].replace(file)
    except OSError as error:
        raise PlatformError(
            f"cannot write the locks: {error}", remedy="lock a copy of the stack in a folder that you can write to"
        ) from error
    finally:
        for file in unfinished.values():
            file.unlink(missing_ok=True)
