"""Facts that the contracts over one subject ask for in turn are found once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple

Subjects = TypeVarTuple("Subjects")
Fact = TypeVar("Fact")

KEPT = 128
"""Facts that are kept of one kind: lint judges some sixty manifests together, contract by contract."""


def remembered(read: Callable[[*Subjects], Fact]) -> Callable[[*Subjects], Fact]:
    """``read``, which keeps what it has returned for the last objects; they are compared by identity."""
    # The objects are kept with their fact, so that none of their ids is given to another object.
    kept: dict[tuple[int, ...], tuple[tuple[*Subjects], Fact]] = {}

    @wraps(read)
    def recalled(*subjects: *Subjects) -> Fact:
        ids = tuple(map(id, subjects))
        if (known := kept.get(ids)) is None:
            if len(kept) >= KEPT:
                for oldest in list(kept)[: KEPT // 2]:
                    kept.pop(oldest, None)
            known = kept[ids] = (subjects, read(*subjects))
        return known[1]

    return recalled
