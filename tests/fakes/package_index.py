"""A package index for composed stacks, in place of a real one: what is locked is decided by the test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from trivet.errors import PlatformError, UsageError
from trivet.stacks import composed


class FakeIndex:
    """A package index: any version exists, each pin was released on a day of its own, and every requirement resolves to its pins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.days: dict[str, str] = {}
        self.resolved: list[tuple[str, Sequence[str], str]] = []
        self.missing: set[str] = set()
        self.refusal = ""
        monkeypatch.setenv("TRIVET_CACHE", str(cache))
        monkeypatch.setattr(composed, "release_days", self.release_days)
        monkeypatch.setattr(composed, "resolve", self.resolve)

    def release_days(self, pins: Sequence[str], python: str) -> dict[str, str]:
        if missing := self.missing.intersection(pins):
            raise UsageError(f"there is no {missing.pop()}", remedy="choose another version; the nearest: 2.12.2")
        return {pin: self.days.get(pin, "2024-01-01") for pin in pins}

    def resolve(self, role: str, settings: Mapping[str, Any], cutoff: str, stack: str) -> str:
        if self.refusal:
            raise PlatformError(self.refusal)
        self.resolved.append((role, settings["requires"], cutoff))
        pins = [
            re.sub(r"\[.*\]", "", one) for one in settings["requires"] if re.search(r"==[\d.]+((post|rc)\d+)?$", one)
        ]
        return "".join(f"{pin} \\\n    --hash=sha256:00\n" for pin in pins)
