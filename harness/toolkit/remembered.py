"""Facts that the contracts over one subject ask for in turn are found once while the subject is judged, and not kept afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar, TypeVarTuple

Subjects = TypeVarTuple("Subjects")
Fact = TypeVar("Fact")

_facts: ContextVar[dict[tuple[object, ...], tuple[tuple[Any, ...], Any]] | None] = ContextVar("_facts", default=None)
"""By the function that found it and the ids of its arguments. These are kept with the fact, so that none of their ids is given to another
object."""


class remembering:  # noqa: N801 - used as a function; a generator would take as long as a whole contract
    """Keep the facts that :func:`remembered` functions find in this thread, until the outermost such block ends."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _facts.set({}) if _facts.get() is None else None

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            _facts.reset(self._token)


def remembered(find: Callable[[*Subjects], Fact]) -> Callable[[*Subjects], Fact]:
    """``find``, which is called once for the same objects, compared by identity, within :func:`remembering`, and outside each time.

    What it returns must not be changed by a caller. The engine remembers while a contract judges a subject, and lint while all judge it.
    """

    @wraps(find)
    def recalled(*subjects: *Subjects) -> Fact:
        facts = _facts.get()
        if facts is None:
            return find(*subjects)
        key = (find, *map(id, subjects))
        if (known := facts.get(key)) is None:
            known = facts[key] = (subjects, find(*subjects))
        fact: Fact = known[1]
        return fact

    return recalled
