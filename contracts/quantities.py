"""Kubernetes' resource quantities as numbers. Declares no contract."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

_QUANTITY = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?\d+)", re.ASCII)
MAX_LENGTH = 100
"""Characters of a quantity. The largest that Kubernetes keeps exactly, 2^63-1, has 19 digits."""

_BINARY = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {letter: Fraction(10) ** (3 * power) for letter, power in zip("num kMGTPE", range(-3, 7), strict=True)}


def quantity(value: Any) -> Fraction | None:
    """The number that a resource quantity stands for, None if it is none or longer than MAX_LENGTH (apimachinery 0.30.14 and 0.35.0,
    ParseQuantity)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, int) and abs(value) >= 10**MAX_LENGTH:
        return None
    text = str(value).strip()
    return _quantity(text) if len(text) <= MAX_LENGTH else None


@lru_cache(maxsize=1024)
def _quantity(value: str) -> Fraction | None:
    found = _QUANTITY.fullmatch(value)
    if not found:
        return None
    sign, number, suffix = found.groups()
    factor = _BINARY.get(suffix) or _DECIMAL.get(suffix or " ")
    if factor is None:
        exponent = int(suffix[1:])
        if abs(exponent) > 30:
            return None
        factor = Fraction(10) ** exponent
    return Fraction(number.rstrip(".")) * factor * (-1 if sign == "-" else 1)
