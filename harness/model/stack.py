"""A stack: the component versions in force and one hashed lock per role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROLES = ("trainer", "tracking", "initializer", "runtime")
SDK = "sdk"
"""The role beside :data:`ROLES` that no process of the platform has: the KServe SDK that ``kserve_api.json`` is generated from."""

COMPONENTS = ("kfp", "mlflow", "kserve", "runtime", "knative", "kubernetes", "store", "prometheus")


@dataclass(frozen=True, kw_only=True)
class Role:
    """A process of the platform with an environment of its own.

    ``python`` is the version that the environment is made with, ``image_python`` the one inside the published image where
    there is one. ``constraints`` hold versions without asking for the packages. ``pins`` maps normalised distribution names to
    the versions that the lock holds for this machine. ``title`` is what messages call it; without one, the role of the lock's stack.
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
    """Component versions, roles and the digest over everything that decides behaviour (``stack.toml``, locks, API fields)."""

    name: str
    title: str
    folder: Path
    components: Mapping[str, str]
    roles: Mapping[str, Role]
    digest: str
    kserve_api: Path
    platform: str = ""
    """The platform that clusters of this stack consist of: a shipped one's name or a folder relative to ``folder``; empty for none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Tables of ``stack.toml`` that belong to one target or contract, such as ``[serving]``; read where they are used."""
