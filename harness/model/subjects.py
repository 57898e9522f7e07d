"""The static subjects of a check, one file or directory each, with a function to locate a value in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trivet.model.finding import Location

Keys = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One Kubernetes object from a YAML or JSON stream, of a kind that KServe defines or that stands beside an InferenceService.

    ``line(keys)`` is the 1-based line of a nested value, or of its nearest parent. ``fields`` has the keys of all mappings in ``document``,
    and of what stands in one list with it; None if the reader did not note them.
    """

    file: str
    document: Mapping[str, Any]
    line: Callable[[Keys], int]
    fields: frozenset[str] | None = field(default=None, compare=False)

    @property
    def kind(self) -> str:
        """The object's kind, such as ``ServingRuntime``."""
        return str(self.document.get("kind") or "")

    @property
    def name(self) -> str:
        """``metadata.name``; empty if there is none."""
        return str(self._metadata.get("name") or "")

    @property
    def namespace(self) -> str:
        """``metadata.namespace``; empty if the file leaves it to whoever applies it."""
        return str(self._metadata.get("namespace") or "")

    @property
    def _metadata(self) -> Mapping[str, Any]:
        metadata = self.document.get("metadata")
        return metadata if isinstance(metadata, Mapping) else {}

    def at(self, *keys: str | int) -> Location:
        """The location of ``document[keys[0]][keys[1]]…``."""
        return Location(file=self.file, line=self.line(keys), object=self._object) if keys else self._beginning

    @cached_property
    def _beginning(self) -> Location:
        return Location(file=self.file, line=self.line(()), object=self._object)

    @cached_property
    def _object(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Manifest(Resource):
    """One InferenceService."""


@dataclass(frozen=True, kw_only=True)
class CompiledPipeline:
    """A KFP v2 pipeline in IR YAML. ``platform`` is the platform spec that follows it in its stream, empty if none does."""

    file: str
    document: Mapping[str, Any]
    line: Callable[[Keys], int]
    platform: Mapping[str, Any] = field(default_factory=dict)
    platform_line: Callable[[Keys], int] = lambda keys: 1

    def at(self, *keys: str | int) -> Location:
        """The location of ``document[keys[0]][keys[1]]…``."""
        return Location(file=self.file, line=self.line(keys))

    def at_platform(self, *keys: str | int) -> Location:
        """The location of ``platform[keys[0]][keys[1]]…``."""
        return Location(file=self.file, line=self.platform_line(keys))


@dataclass(frozen=True, kw_only=True)
class ModelDirectory:
    """A directory with an MLflow model, and its parsed ``MLmodel`` (``flavors`` is a mapping).

    Symbolic links in it may lead to anywhere below ``root``, and nothing outside is read: the directory itself, where the files may come
    from anybody, or the directory of a session whose storage initializer links its artifact store. ``left_out`` are the files that were
    not downloaded because they are large, by their path, with their size in bytes; files without content stand in for them.
    """

    path: Path
    root: Path
    mlmodel: Mapping[str, Any]
    line: Callable[[Keys], int]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def at(self, *keys: str | int) -> Location:
        """The location of a key in ``MLmodel``."""
        return Location(file=str(self.path / "MLmodel"), line=self.line(keys))
