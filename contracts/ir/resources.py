"""Kubernetes' quantities, as KFP's driver writes them into a pod."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from trivet.contracts.quantities import quantity

PLACEHOLDER = "{{$"
"""What a field starts with or holds that the driver fills in from an input (``resourceCpuLimit`` from SDK 2.10 on)."""

SMALLEST_MEMORY = 1024 * 1024
"""Bytes with which no container starts, so that fewer are another unit than was meant, such as ``512m`` for ``512Mi``."""

_EXTENDED = re.compile(r"(?:[a-z0-9]([a-z0-9.-]*[a-z0-9])?)/[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with the resources of a container. ``field`` is the field of ``resources`` that it stands in."""

    field: str
    text: str


def resource_problems(resources: Mapping[str, Any]) -> Iterator[Problem]:
    """What the driver or Kubernetes refuses or ignores in ``resources`` of a container of the IR."""
    for resource in ("Cpu", "Memory"):
        amounts: dict[str, Fraction] = {}
        for bound in ("Limit", "Request"):
            field, written = effective(resources, f"{resource}{bound}")
            if not field or PLACEHOLDER in written:
                continue
            amount = quantity(written)
            if amount is None:
                yield Problem(field=field, text=f"is {written!r}, which is not a Kubernetes quantity")
            elif amount < 0:
                yield Problem(field=field, text=f"is negative ({written})")
            elif resource == "Memory" and 0 < amount < SMALLEST_MEMORY:
                yield Problem(field=field, text=f"is {written}: {float(amount):.12g} bytes, with which nothing starts")
            else:
                amounts[bound] = amount
                if bound == "Request" and amount > amounts.get("Limit", amount):
                    _, limit = effective(resources, f"{resource}Limit")
                    yield Problem(field=field, text=f"is {written}, more than the limit of {limit}")
    yield from _accelerator_problems(resources.get("accelerator"))


def effective(resources: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Field and quantity that the driver uses for ``CpuLimit`` and the like; empty if none is set.

    KFP 2.17.0 backend/src/v2/driver/driver.go, getPodResource: the string wins over the number, and numbers of memory are gigabytes.
    Zero is the same as not set.
    """
    new = resources.get(f"resource{name}")
    if new not in (None, ""):
        return f"resource{name}", str(new)
    old_field = name[0].lower() + name[1:]
    old = resources.get(old_field)
    try:
        number = float(old)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return (old_field, str(old)) if old is not None else ("", "")
    return (
        (old_field, repr(number).removesuffix(".0") + ("G" if name.startswith("Memory") else ""))
        if number
        else ("", "")
    )


def _accelerator_problems(accelerator: Any) -> Iterator[Problem]:
    if not isinstance(accelerator, dict):
        return
    kind = str(accelerator.get("resourceType") or accelerator.get("type") or "")
    count = str(accelerator.get("resourceCount") or accelerator.get("count") or "")
    if count and not kind:
        yield Problem(field="accelerator", text="requests accelerators without a type, and is ignored")
    elif kind and not count:
        yield Problem(field="accelerator", text="names an accelerator type and requests none, and is ignored")
    if kind and PLACEHOLDER not in kind and not _EXTENDED.fullmatch(kind):
        yield Problem(
            field="accelerator",
            text=f"has the type {kind!r}, expected the name of a resource of Kubernetes such as nvidia.com/gpu",
        )
    if count and PLACEHOLDER not in count:
        amount = quantity(count)
        if amount is None or amount < 0 or amount.denominator != 1:
            yield Problem(field="accelerator", text=f"has the count {count!r}, expected a whole number")
