"""The hooks for plugins of third parties; trivet's own contracts, targets and writers use them too.

A distribution registers its implementations in the entry point group ``trivet``; a repository without a distribution lists
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
    """Modules whose ``@contract`` functions to register."""


@hookspec
def trivet_scenarios() -> Iterable[ModuleType]:  # type: ignore[empty-body]
    """Modules whose ``@scenario`` functions to register."""


@hookspec
def trivet_targets(settings: Settings) -> Mapping[str, Target]:  # type: ignore[empty-body]
    """Targets by name, built from the settings. A name that exists already is an error; an implementation may omit ``settings``."""


@hookspec
def trivet_writers() -> Mapping[str, Writer]:  # type: ignore[empty-body]
    """Report writers by format name."""
