"""Whether two lists of predictions are the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def same_values(served: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Equal in number, order and value; floats to a relative 1e-9, the rounding of a JSON round trip being far below.

    So are the lists and mappings in them, the predictions of a model with several outputs.
    """
    return len(served) == len(expected) and all(_same(one, other) for one, other in zip(served, expected, strict=True))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return same_values(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)
