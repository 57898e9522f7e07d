"""Running one static contract on one text, as ``trivet lint`` would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trivet.engine.registry import Registry
from trivet.model.contract import Contract
from trivet.model.finding import Finding, Location
from trivet.model.platform_config import PlatformConfig, indexed, platform_of
from trivet.model.stack import Stack
from trivet.model.subjects import Manifest, Resource
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


_TEXTS: dict[str, str] = {}
"""What stood in the files of examples, which are gone when their findings are looked at."""


def place(location: Location | None) -> str:
    """Where a finding points to: in an example's file its name and the line, such as ``MLmodel: mlflow_version: 2.10.2``."""
    if location is None or location.file is None or location.line is None or location.file not in _TEXTS:
        return str(location)
    return f"{Path(location.file).name}: {_TEXTS[location.file].splitlines()[location.line - 1].strip()}"


def findings(
    identifier: str, text: str, under: Stack | str = "2024.11", platform: PlatformConfig | None = None
) -> list[Finding]:
    """The findings of a contract on every subject in ``text``, a YAML stream, under a stack or a shipped one of that name.

    ``platform`` is by default the one that trivet installs for the stack; the objects in ``text`` are applied together.
    """
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "example.yaml"
        _write(file, text)
        return _judged(identifier, read_file(file), under, platform)


def model_findings(identifier: str, files: Mapping[str, str | bytes], under: Stack | str = "2024.11") -> list[Finding]:
    """The findings of a contract on a model directory made of ``files`` (a name that ends in a slash is a directory), under a stack or a
    shipped one of that name."""
    with TemporaryDirectory() as scratch:
        for name, content in files.items():
            if name.endswith("/"):
                (Path(scratch) / name).mkdir(parents=True)
            else:
                _write(Path(scratch) / name, content)
        return _judged(identifier, read_model_directory(Path(scratch)), under)


def runtime(pins: Mapping[str, str | None], **changes: Any) -> Stack:
    """2024.11 with other versions in the lock of its runtime (None: it does not hold the package), and that role's fields changed."""
    whole = stack("2024.11")
    role = whole.roles["runtime"]
    held = {name: version for name, version in {**role.pins, **pins}.items() if version is not None}
    return replace(whole, roles={**whole.roles, "runtime": replace(role, pins=held, **changes)})


def _write(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content, encoding="utf-8")
        _TEXTS[str(file)] = content


def _judged(
    identifier: str, found: ReadResult, under: Stack | str, platform: PlatformConfig | None = None
) -> list[Finding]:
    judged = contract(identifier)
    under = stack(under) if isinstance(under, str) else under
    assert not found.errors, found.errors
    subjects = [subject for subject in found.subjects if judged.subject in KINDS[type(subject)]]
    assert subjects, f"no {judged.subject} in the example"
    objects = [one for one in found.subjects if isinstance(one, Resource)]
    name_services = any(one.kind in ("InferenceGraph", "TrainedModel") for one in objects)
    resources = indexed(one for one in objects if name_services or not isinstance(one, Manifest))
    platform = replace(platform or platform_of(under), resources=resources)
    given = [{judged.subject: subject, "stack": under, "platform": platform} for subject in subjects]
    return [finding for each in given for finding in judged.check(**{name: each[name] for name in judged.wants})]
