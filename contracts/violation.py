"""What contracts over files find wrong, and where. Declares no contract."""

from __future__ import annotations

from typing import NamedTuple

from trivet.authoring import Keys, Replacement


class Violation(NamedTuple):
    """A place in a document that breaks a rule. ``setting`` names what would settle whether it does, where that depends on the platform;
    ``fix`` is the mechanical remedy, if there is one."""

    keys: Keys
    message: str
    setting: str = ""
    fix: Replacement | None = None
