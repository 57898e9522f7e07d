"""Composed stacks whose roles pin nothing but the version on the axis, so that nothing is resolved; 9.0.0 contradicts itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from trivet.model.stack import Role, Stack
from trivet.stacks.composed import Contradiction

Compose = Callable[..., Stack]


def compose_in(folder: Path) -> Compose:
    """In place of :func:`trivet.stacks.composed.compose`; locks are files in ``folder``."""

    def role(name: str, version: str) -> Role:
        lock = folder / f"{name}-{version}.lock"
        lock.write_text(f"mlflow=={version}\n", encoding="utf-8")
        return Role(name=name, python="3.11", requires=(), cutoff="2024-01-01", lock=lock, pins={"mlflow": version})

    def compose(base: Stack, parts: Mapping[str, str], *, progress: Callable[[str], None]) -> Stack:
        if "9.0.0" in parts.values():
            raise Contradiction("the requirements contradict each other")
        roles = {name: role(name, version) for name, version in parts.items()}
        return replace(base, name=f"{base.name}+{'+'.join(parts.values())}", roles={**base.roles, **roles})

    return compose
