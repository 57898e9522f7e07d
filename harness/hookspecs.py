"""The hooks that third parties implement, and that trivet's own contracts, targets and renderers use too.

A distribution offers its implementations under the entry point group ``trivet``; a repository without a distribution names
modules under ``plugins`` in ``[tool.trivet]``, or implements the hooks in its ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from trivet.model.settings import Settings
    from trivet.model.target import Target
    from trivet.model.writer import Writer

hookspec = pluggy.HookspecMarker("trivet")
hookimpl = pluggy.HookimplMarker("trivet")


@hookspec
def trivet_contracts() -> Iterable[ModuleType]:  # type: ignore[empty-body]
    """Modules whose attributes made by ``@contract`` join the registry."""


@hookspec
def trivet_scenarios() -> Iterable[ModuleType]:  # type: ignore[empty-body]
    """Modules whose attributes made by ``@scenario`` join the catalogue."""


@hookspec
def trivet_targets(settings: Settings) -> Mapping[str, Target]:  # type: ignore[empty-body]
    """Targets by name, for what the user asked for. A name that exists already is an error; ``settings`` may be left out."""


@hookspec
def trivet_writers() -> Mapping[str, Writer]:  # type: ignore[empty-body]
    """Report writers by format name."""
