"""The results store: a folder that keeps results of contracts by what they rest on, and gives them back when nothing of that changed.

A result is found by two steps. What is known before a check runs (:class:`Question`) is its key: contract and code, the roles behind the
clients that it requests, the target with its options and code. What the check itself reads of the stack is known afterwards only, and is
kept with the result: a kept result counts if those parts are equal too. There is one JSON file for each result,
``<2 hex>/<62 hex>-<16 hex>.json``: the key, and a digest of the parts that were read.

Files are written under another name and renamed, so that any number of processes can use one store; the last one wins. Results that say
nothing about the software under test are not kept: those that an error of the machine decided, and those of a bug in a check.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from trivet.engine.code_digest import code_digest, package_digest
from trivet.errors import UsageError
from trivet.model.contract import Contract
from trivet.model.report import ContractResult, Judged
from trivet.model.results import KEPT_RESULT, RESULTS_STORE, RESULTS_VERSION, KeptResult, ResultInputs
from trivet.model.stack import Stack
from trivet.model.target import Target
from trivet.stacks.parts import digest_of, part_digest
from trivet.toolkit.encoding import encodable

STORE_FILE = "results-store.json"
_OF_THE_MACHINE = re.compile(
    r"(?i)timed? ?out|max retries exceeded|connection (refused|reset|aborted)|no space left|disk quota|too many open files"
    r"|cannot allocate memory|out of memory|killed"
)
_UNFINISHED = ".unfinished"
_ABANDONED = 600.0
"""Seconds after which a file that was not renamed belongs to a writer that was killed."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A contract on a stack and a target: ``inputs`` is everything that its result rests on and that is known before its check runs.

    The result of a ``momentary`` one holds for the moment in which it was judged, so that no store has it.
    """

    contract: str
    inputs: Mapping[str, str]
    stack: Stack
    momentary: bool = False

    @cached_property
    def key(self) -> str:
        """The SHA-256 of the inputs."""
        return digest_of([self.contract, dict(self.inputs)])


def question(contract: Contract, stack: Stack, target: str, inputs: ResultInputs, *, applies: str = "") -> Question:
    """What to ask a store for a contract on the target of this name, whose results on ``stack`` rest on ``inputs``.

    ``applies`` is why the contract does not apply to the stack's versions, empty if it does.
    """
    wanted = [
        *contract.clients,
        *([contract.subject] if contract.subject else []),
        *(["features"] if contract.features else []),
    ]
    found = {
        "code": code_digest(contract.check.__module__),
        "machine": f"{sys.platform}-{platform.machine()}",
        "target": target,
        "applies": applies or "yes",
        **{f"option {name}": value for name, value in inputs.options.items()},
        "target code": package_digest(inputs.code) if wanted else "",
        **{f"part {part}": part_digest(stack, part) for name in wanted for part in inputs.parts.get(name, ())},
    }
    return Question(contract=contract.id, inputs=found, stack=stack, momentary=not inputs.momentary.isdisjoint(wanted))


def inputs_of(target: Target, stack: Stack) -> ResultInputs:
    """What the results of a target rest on. Raises UsageError when it does not say so.

    It may take a while, since the target may read what it makes a session of: ask once for all contracts of a stack.
    """
    declared = getattr(target, "result_inputs", None)
    if declared is None:
        raise UsageError(
            f"results of the target {target.name} cannot be kept: it does not declare what they rest on",
            remedy="omit --results, or use the target local; a target of your own declares it with result_inputs (docs/targets.md)",
        )
    found: ResultInputs = declared(stack)
    return found


class ResultsStore:
    """The store in ``folder``, which is created if it is missing or empty.

    Raises UsageError for a folder with something else in it, for a store of another version, and for one that cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        head = {"apiVersion": RESULTS_VERSION, "kind": RESULTS_STORE}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Another writer may start at this moment, or may have been killed in it: its unfinished file is no content.
            if all(file.name.endswith(_UNFINISHED) for file in folder.iterdir()):
                _write(folder / STORE_FILE, head)
            if not (folder / STORE_FILE).exists():
                raise UsageError(
                    f"{folder} is not a results store: it has no {STORE_FILE}",
                    remedy="give a new or empty folder, or the folder of a store",
                )
            self._check_version(_read_head(folder / STORE_FILE))
            self._remove_abandoned()
        except OSError as error:
            raise UsageError(
                f"cannot use the results store {folder}: {error.strerror or error}",
                remedy="give a folder that can be read and written",
            ) from error

    def find(self, question: Question) -> KeptResult | None:
        """The kept result that answers a question; None if there is none. Raises UsageError for a damaged file."""
        if question.momentary:
            return None
        for kept in self._of_key(question.key):
            if all(part_digest(question.stack, part) == digest for part, digest in kept.read.items()):
                return kept
        return None

    def expected(self, question: Question) -> str:
        """The name of a question's result, if its check reads the same parts as for other stacks: equal names ask for the same result."""
        if question.momentary:
            return f"{question.contract} on {question.stack.digest}"
        kept = next(self._of_key(question.key), None)
        return _name(question.key, {part: part_digest(question.stack, part) for part in kept.read} if kept else {})

    def keep(self, question: Question, result: ContractResult, parts_read: Iterable[str] = ()) -> KeptResult | None:
        """Keep a result, with the parts of the stack that its check read. Returns None for a result that is not kept."""
        if question.momentary or not is_kept(result):
            return None
        stack = question.stack
        kept = KeptResult(
            contract=question.contract,
            inputs=dict(question.inputs),
            read={part: part_digest(stack, part) for part in sorted(parts_read)},
            components=dict(stack.components),
            judged=Judged(
                at=datetime.now(UTC).isoformat(timespec="seconds"),
                stack=stack.name,
                machine=f"{platform.node()} ({sys.platform}-{platform.machine()})",
                trivet=version("trivet"),
            ),
            result=replace(result, reused=None),
        )
        self._write(question.key, kept)
        return kept

    def adopt(self, content: bytes, asked: Container[str]) -> bool:
        """Keep a result that a store on another machine has, from the content of its file, if its key is among ``asked``.

        Returns whether it is. Raises UsageError, and keeps nothing, for content that is no kept result of this version.
        """
        import msgspec

        try:
            head = msgspec.json.decode(content, type=dict[str, Any])
            self._check_version(head)
            if head.get("kind") != KEPT_RESULT:
                raise self._no_result(f"its kind is {head.get('kind')!r}")
            kept = msgspec.convert(head, KeptResult)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._no_result(str(error)) from error
        if kept.result.id != kept.contract:
            raise self._no_result(f"it is of {kept.contract}, and its result of {kept.result.id}")
        if not is_kept(kept.result):
            raise self._no_result(f"an error of the machine decided {kept.contract}")
        key = digest_of([kept.contract, dict(kept.inputs)])
        if key not in asked:
            return False
        self._write(key, kept)
        return True

    def __iter__(self) -> Iterator[KeptResult]:
        """Every kept result, sorted by file name. Raises UsageError for a damaged file."""
        for file in sorted(self.folder.glob("??/*.json")):
            yield self._read(file)

    def _write(self, key: str, kept: KeptResult) -> None:
        import msgspec

        try:
            _write(self.folder / _name(key, kept.read), msgspec.to_builtins(kept))
        except OSError as error:
            raise UsageError(
                f"cannot write to the results store {self.folder}: {error.strerror or error}",
                remedy="free some disk space, or give a folder that can be written",
            ) from error

    def _no_result(self, reason: str) -> UsageError:
        return UsageError(
            f"a result for the results store {self.folder} is no kept result: {reason}",
            remedy="use the same version of trivet everywhere",
        )

    def _of_key(self, key: str) -> Iterator[KeptResult]:
        for file in sorted((self.folder / key[:2]).glob(f"{key[2:]}-*.json")):
            kept = self._read(file)
            if digest_of([kept.contract, dict(kept.inputs)]) != key:
                raise _damaged(file, "its inputs are not those of its name")
            yield kept

    def _read(self, file: Path) -> KeptResult:
        import msgspec

        head = _read(file)
        self._check_version(head)
        if head["kind"] != KEPT_RESULT:
            raise _damaged(file, f"its kind is {head['kind']!r}")
        try:
            return msgspec.convert(head, KeptResult)
        except msgspec.ValidationError as error:
            raise _damaged(file, str(error)) from error

    def _check_version(self, head: Mapping[str, Any]) -> None:
        found = head.get("apiVersion")
        if found != RESULTS_VERSION:
            raise UsageError(
                f"the results store {self.folder} has the version {found}, and this version of trivet reads {RESULTS_VERSION}",
                remedy="give a new folder, or use the version of trivet that wrote it",
            )

    def _remove_abandoned(self) -> None:
        for file in self.folder.glob(f"**/.*{_UNFINISHED}"):
            with suppress(FileNotFoundError):  # its writer has renamed it meanwhile
                if time.time() - file.stat().st_mtime > _ABANDONED:
                    file.unlink(missing_ok=True)


def is_kept(result: ContractResult) -> bool:
    """Whether a result says something about the software under test, so that it would be the same again.

    A deviation does not if an error of the machine decided it, or if its message names one: a timeout says as much about the machine.
    """
    deciding = [finding for finding in result.findings if finding.outcome is result.outcome]
    return not result.outcome.deviates or not any(
        finding.transient or _OF_THE_MACHINE.search(finding.message) for finding in deciding
    )


def _name(key: str, read: Mapping[str, str]) -> str:
    return f"{key[:2]}/{key[2:]}-{digest_of(dict(read))[:16]}.json"


def _write(file: Path, content: Any) -> None:
    import msgspec

    file.parent.mkdir(exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{uuid4().hex}{_UNFINISHED}")
    with unfinished.open("wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(encodable(content)), indent=2) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(file)


def _read(file: Path) -> dict[str, Any]:
    import msgspec

    try:
        found = msgspec.json.decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(file, str(error)) from error
    if not isinstance(found, dict) or "kind" not in found:
        raise _damaged(file, "it is no object with a kind")
    return found


def _read_head(file: Path) -> dict[str, Any]:
    try:
        return _read(file)
    except UsageError as error:
        raise UsageError(
            error.message, remedy="restore this file from version control, or give a new folder as the store"
        ) from error


def _damaged(file: Path, reason: str) -> UsageError:
    return UsageError(
        f"the results store has a damaged file, {file}: {reason}",
        remedy="delete this file, or restore it from version control; its contract is then judged again",
    )
