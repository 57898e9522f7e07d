"""Kubernetes' quantities, as KFP's driver writes them into a pod."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from trivet.contracts.quantities import SMALLEST_MEMORY, near_device, quantity
from trivet.contracts.violation import Violation

PLACEHOLDER = "{{$"
"""What a field starts with or holds that the driver fills in from an input (``resourceCpuLimit`` from SDK 2.10 on)."""

_EXTENDED = re.compile(r"(?:[a-z0-9]([a-z0-9.-]*[a-z0-9])?)/[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")


def resource_violations(resources: Mapping[str, Any]) -> Iterator[Violation]:
    """What the driver or Kubernetes refuses or ignores in ``resources`` of a container of the IR."""
    for resource in ("Cpu", "Memory"):
        amounts: dict[str, Fraction | int] = {}
        for bound in ("Limit", "Request"):
            field, written = effective(resources, f"{resource}{bound}")
            if not field or PLACEHOLDER in written:
                continue
            amount = quantity(written)
            if amount is None:
                yield Violation((field,), f"its {field} is {written!r}, which is not a Kubernetes quantity")
            elif amount < 0:
                yield Violation((field,), f"its {field} is negative ({written})")
            elif resource == "Memory" and 0 < amount < SMALLEST_MEMORY:
                yield Violation(
                    (field,), f"its {field} is {written}: {float(amount):.12g} bytes, with which nothing starts"
                )
            else:
                amounts[bound] = amount
                if amount > amounts.get("Limit", amount):
                    _, limit = effective(resources, f"{resource}Limit")
                    yield Violation((field,), f"its {field} is {written}, more than the limit of {limit}")
    yield from _accelerator_violations(resources.get("accelerator"))


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


def _accelerator_violations(accelerator: Any) -> Iterator[Violation]:
    if not isinstance(accelerator, dict):
        return
    kind = str(accelerator.get("resourceType") or accelerator.get("type") or "")
    count = str(accelerator.get("resourceCount") or accelerator.get("count") or "")
    if count and not kind:
        yield Violation(("accelerator",), "its accelerator requests accelerators without a type, and is ignored")
    elif kind and not count:
        yield Violation(("accelerator",), "its accelerator names an accelerator type and requests none, and is ignored")
    if kind and PLACEHOLDER not in kind and not _EXTENDED.fullmatch(kind):
        yield Violation(
            ("accelerator",),
            f"its accelerator has the type {kind!r}, expected the name of a resource of Kubernetes such as nvidia.com/gpu",
        )
    elif device := near_device(kind):
        yield Violation(
            ("accelerator",), f"its accelerator has the type {kind!r}, which no node has; did you mean {device}?"
        )
    if count and PLACEHOLDER not in count:
        amount = quantity(count)
        if amount is None or amount < 0 or amount.denominator != 1:
            yield Violation(("accelerator",), f"its accelerator has the count {count!r}, expected a whole number")
