"""Validates declarations of authors: errors name the value, the declaration, file and line, and the allowed values."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from trivet.errors import DeclarationError, choices

_LIBRARY = ("trivet.model", "trivet.authoring", "trivet.toolkit", "dataclasses")
"""Modules whose functions declare on behalf of their callers."""


class Declaration:
    """What is declared, as errors name it: ``contract acme.team_is_named``, ``Workload``.

    ``place`` is where, as ``file:line``; empty for the line outside trivet's own library that is being executed. Every method raises
    DeclarationError.
    """

    def __init__(self, what: str, place: str = "") -> None:
        self.what = what
        self._place = place

    def refuse(self, problem: str, remedy: str) -> NoReturn:
        """Raise DeclarationError for the declaration."""
        raise DeclarationError(f"{self.what} ({self._place or _caller()}): {problem}", remedy=remedy)

    def texts(self, **values: object) -> None:
        """Each value must be a string that is not blank."""
        for name, value in values.items():
            if not isinstance(value, str) or not value.strip():
                self.refuse(f"{name} is {value!r}", "write a string that is not empty")

    def positive(self, **values: object) -> None:
        """Each value must be a finite number greater than 0."""
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                self.refuse(f"{name} is {value!r}", "give a number greater than 0")

    def callables(self, **values: object) -> None:
        """Each value must be callable."""
        for name, value in values.items():
            if not callable(value):
                self.refuse(f"{name} is {value!r}", "give a function")

    def instance(self, name: str, value: object, kind: type, *, optional: bool = False) -> None:
        """The value must be a ``kind``, or None if ``optional``."""
        if not (isinstance(value, kind) or (optional and value is None)):
            self.refuse(f"{name} is {value!r}", f"give a {kind.__name__}{' or None' if optional else ''}")

    def sequence(self, name: str, values: object, kind: type) -> None:
        """The value must be a list or tuple of ``kind``."""
        if isinstance(values, str) or not isinstance(values, Sequence):
            self.refuse(f"{name} is {values!r}", f"write a list or tuple of {kind.__name__}")
        for value in values:
            if not isinstance(value, kind) or value == "":
                self.refuse(f"{name} holds {value!r}", f"write a list or tuple of {kind.__name__}")

    def known(self, kind: str, value: object, available: Iterable[str], *, otherwise: str = "") -> None:
        """The value must be one of the ``available`` names; ``otherwise`` explains how to add one, if that is possible."""
        names = [str(name) for name in available]
        if value not in names:
            self.refuse(f"unknown {kind} {value!r}", f"{choices(value, names)}{f'; {otherwise}' if otherwise else ''}")


def parameters(declared: Declaration, function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters, each of which can be given by name. Raises DeclarationError when one cannot."""
    found = inspect.signature(function).parameters.values()
    for one in found:
        if one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            declared.refuse(
                f"its parameter {str(one.replace(annotation=one.empty))!r} has no name to be given by",
                "name each parameter",
            )
    return tuple(one.name for one in found)


def place_of(function: Callable[..., Any]) -> str:
    """The location of a function as ``file:line``; a decorated one begins at its decorators."""
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _caller() -> str:
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_LIBRARY):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
