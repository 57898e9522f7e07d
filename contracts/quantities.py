"""Kubernetes' resources: quantities as numbers, and names of devices. Declares no contract."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache
from typing import Any

_QUANTITY = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?\d+)", re.ASCII)
MAX_LENGTH = 100
"""Characters of a quantity. The largest that Kubernetes keeps exactly, 2^63-1, has 19 digits."""

SMALLEST_MEMORY = 1024 * 1024
"""Bytes with which no container starts, so that fewer are another unit than was meant, such as ``512m`` for ``512Mi``."""

DEVICES = ("nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi")
"""The extended resources of GPUs (kserve 0.20.0 pkg/constants/constants.go, DefaultGPUResourceTypes)."""

_BINARY = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {letter: Fraction(10) ** (3 * power) for letter, power in zip("num kMGTPE", range(-3, 7), strict=True)}


def quantity(value: Any) -> Fraction | int | None:
    """The number that a resource quantity stands for, None if it is none or longer than MAX_LENGTH (apimachinery 0.30.14 and 0.35.0,
    ParseQuantity)."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, int) and abs(value) >= 10**MAX_LENGTH:
        return None
    text = str(value).strip()
    return _quantity(text) if len(text) <= MAX_LENGTH else None


@lru_cache(maxsize=1024)
def _quantity(value: str) -> Fraction | int | None:
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
    exact = Fraction(number.rstrip(".")) * factor * (-1 if sign == "-" else 1)
    return exact.numerator if exact.denominator == 1 else exact  # integers compare faster


def over_limit(requests: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[str]:
    """The resources of which more is requested than their limit, where both are quantities that are not negative."""
    for name, request in requests.items():
        asked, most = quantity(request), quantity(limits.get(name))
        if asked is not None and most is not None and asked > most >= 0:
            yield name


def near_device(name: str) -> str:
    """The GPU that the name of an extended resource is a misspelling of, such as ``nvidia.com/gpus``; empty if it is none."""
    near = get_close_matches(name, DEVICES, 1, cutoff=0.95)
    return near[0] if near and name != near[0] else ""
