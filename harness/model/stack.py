"""A stack: component versions and one hashed lock per role."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trivet.errors import CannotTell
from trivet.model.detection import Fact

ROLES = ("trainer", "tracking", "initializer", "runtime")
COMPONENTS = ("kfp", "mlflow", "kserve", "runtime", "knative", "kubernetes", "store", "prometheus")


@dataclass(frozen=True, kw_only=True)
class Role:
    """A process of the platform with its own Python environment.

    ``python`` is the Python version of the environment, ``image_python`` the one in the published image, empty when there is none.
    ``constraints`` limit versions without requiring the packages. ``pins`` maps normalised distribution names to the lock's versions for
    this machine. ``title`` is the role's name in messages; when empty, it is derived from the lock's stack.
    """

    name: str
    python: str
    requires: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    cutoff: str
    lock: Path
    pins: Mapping[str, str]
    image: str = ""
    image_python: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Component versions, roles, and the digest over everything that affects behaviour (``stack.toml``, locks, tables).

    What ``[unknown]`` in ``stack.toml`` names is in none of the mappings: asking for it raises CannotTell (``trivet.model.partial``).
    """

    name: str
    title: str
    folder: Path
    components: Mapping[str, str]
    roles: Mapping[str, Role]
    digest: str
    api_schemas: Path
    runtime_image: Path | None = None
    """The table of what the runtime's image holds (``trivet.stacks.runtime_image``); None for a stack without one."""
    platform: str = ""
    """The platform of this stack's clusters: the name of a shipped one, or a folder relative to ``folder``; empty for none."""
    no_platform: str = ""
    """Why the stack has no platform, if it says so."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Tables of ``stack.toml`` for single targets or contracts: ``[serving]``, and ``[pipelines]`` if there is one."""
    given: str = ""
    """The name of a shipped stack, or the absolute path of a user's; of a composed stack, of the stack that the other parts are of. Empty
    for its name.
    """
    parts: Mapping[str, str] = field(default_factory=dict)
    """Of a composed stack: the parts that are from elsewhere, each with a version, the name of a shipped stack or the path of a user's."""
    composed_from: Stack | None = None
    """Of a composed stack: the stack that the other parts are of."""
    cluster_of: Stack | None = None
    """Of a composed stack with another trainer or SDK: the stack without these, whose cluster it runs on, since no part of the platform is
    made from the trainer. None for a stack with a cluster of its own.
    """
    facts: tuple[Fact, ...] = ()
    """Of a stack that ``trivet detect`` wrote: what was read of the platform, and where."""

    @property
    def shipped(self) -> bool:
        """Whether it is shipped with trivet."""
        return self.given == self.name and not self.parts

    @property
    def options(self) -> str:
        """The options of commands that choose this stack, such as ``--stack current --with tracking=2.17.2``."""
        parts = (f"--with {shlex.quote(f'{part}={value}')}" for part, value in self.parts.items())
        return " ".join((f"--stack {shlex.quote(self.given or self.name)}", *parts))

    def version(self, component: str) -> str:
        """The version of a component for a message, ``(unknown)`` or ``(none named)`` if there is none."""
        try:
            return self.components.get(component, "(none named)")
        except CannotTell:
            return "(unknown)"
