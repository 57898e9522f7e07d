"""Whether two lists of predictions are the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def same_values(served: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Equal in number, order and value; floats to a relative 1e-9, the rounding of a JSON round trip being far below."""
    return len(served) == len(expected) and all(
        math.isclose(one, other, rel_tol=1e-9)
        if isinstance(one, float) and isinstance(other, int | float)
        else one == other
        for one, other in zip(served, expected, strict=True)
    )
