"""What was read of a platform that runs: facts, each with where it was read, or with the reason why it is unknown."""

from __future__ import annotations

from dataclasses import dataclass

ABSENT = "not installed"
"""The value of a component that the platform does not have."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact about a platform.

    ``name`` is a component (``trivet.model.stack.COMPONENTS``), or what else was read, such as ``deployment mode``. ``source`` is where:
    the object and its field, or the URL. ``value`` is empty when it is unknown; ``reason`` then says why, and what would make it known.
    """

    name: str
    value: str = ""
    source: str = ""
    reason: str = ""
