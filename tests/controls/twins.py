"""Running one static contract on one text, as ``trivet lint`` would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from trivet.engine.registry import Registry
from trivet.model.contract import Contract
from trivet.model.finding import Finding
from trivet.model.stack import Stack
from trivet.stacks.read import load_stack
from trivet.toolkit.subjects import KINDS, ReadResult, read_file, read_model_directory


@cache
def stack(name: str) -> Stack:
    """A shipped stack."""
    return load_stack(name)


@cache
def contract(identifier: str) -> Contract:
    """A registered contract."""
    return Registry().contract(identifier)


def findings(identifier: str, text: str, stack_name: str = "2024.11") -> list[Finding]:
    """The findings of a contract on every subject in ``text``, a YAML stream."""
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "twin.yaml"
        file.write_text(text, encoding="utf-8")
        return _judged(identifier, read_file(file), stack(stack_name))


def model_findings(
    identifier: str, files: Mapping[str, str], stack_name: str = "2024.11", runtime: Mapping[str, str | None] = {}
) -> list[Finding]:
    """The findings of a contract on a model directory made of ``files``.

    ``runtime`` are versions that the lock of the stack's runtime holds instead; None for a package that it does not hold.
    """
    with TemporaryDirectory() as scratch:
        for name, text in files.items():
            (Path(scratch) / name).write_text(text, encoding="utf-8")
        return _judged(identifier, read_model_directory(Path(scratch)), _with_runtime(stack(stack_name), runtime))


def _with_runtime(whole: Stack, changes: Mapping[str, str | None]) -> Stack:
    role = whole.roles["runtime"]
    pins = {name: version for name, version in {**role.pins, **changes}.items() if version is not None}
    return replace(whole, roles={**whole.roles, "runtime": replace(role, pins=pins)})


def _judged(identifier: str, found: ReadResult, under: Stack) -> list[Finding]:
    judged = contract(identifier)
    assert not found.errors, found.errors
    subjects = [subject for subject in found.subjects if KINDS[type(subject)] == judged.subject]
    assert subjects, f"no {judged.subject} in the twin"
    given = [{judged.subject: subject, "stack": under} for subject in subjects]
    return [finding for each in given for finding in judged.check(**{name: each[name] for name in judged.wants})]
