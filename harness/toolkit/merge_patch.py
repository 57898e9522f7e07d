"""JSON merge patches (RFC 7396) as faults need them: reversed, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def reverse(patch: Any, before: Any) -> Any:
    """The patch that reverses ``patch`` on an object that was ``before``: it names the same fields and no other."""
    if not isinstance(patch, Mapping) or not isinstance(before, Mapping):
        return before
    return {key: reverse(value, before[key]) if key in before else None for key, value in patch.items()}


def holds(now: Any, patch: Any) -> bool:
    """Whether an object is as ``patch`` leaves it."""
    if not isinstance(patch, Mapping):
        return bool(now == patch)
    return isinstance(now, Mapping) and all(
        key not in now if value is None else key in now and holds(now[key], value) for key, value in patch.items()
    )
