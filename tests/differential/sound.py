"""The manifests that generated ones are made of: ``sound.yaml``, which every stack admits, and ``sound-STACK.yaml``, which one does."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from trivet.model.stack import Stack


def sound(stack: Stack) -> tuple[dict[str, Any], ...]:
    """The manifests of a stack, InferenceServices first, simple ones before others, since examples shrink towards the first."""
    return _read(stack.name)


@cache
def _read(stack: str) -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = []
    for name in ("sound.yaml", f"sound-{stack}.yaml"):
        found += yaml.safe_load_all((Path(__file__).parent / name).read_text(encoding="utf-8"))
    return tuple(sorted(found, key=lambda one: bool(one["kind"] != "InferenceService")))
