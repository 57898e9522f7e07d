"""Facts that the contracts over one subject ask for in turn are found once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from operator import is_
from typing import TypeVar, TypeVarTuple

Subjects = TypeVarTuple("Subjects")
Fact = TypeVar("Fact")


def remembered(read: Callable[[*Subjects], Fact]) -> Callable[[*Subjects], Fact]:
    """``read``, which keeps what it has returned for the last objects; they are compared by identity."""
    last: list[tuple[tuple[*Subjects], Fact]] = []

    @wraps(read)
    def recalled(*subjects: *Subjects) -> Fact:
        for known, fact in last:
            if all(map(is_, known, subjects)):
                return fact
        fact = read(*subjects)
        last[:] = [(subjects, fact)]
        return fact

    return recalled
