"""The search for a safe order of an upgrade's steps, and for the pairs of components that explain a failure. Data in, data out.

A *mix* is the set of the steps that are taken. An order of n steps passes through n + 1 mixes, from the empty one to the whole; the empty
one is what runs today, and is not asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from itertools import combinations

Taken = frozenset[str]
"""The steps that are taken in a mix."""


def cheapest_order(
    steps: Sequence[str], allowed: Collection[Taken], closed: Collection[Taken]
) -> tuple[str, ...] | None:
    """The order that passes through none of the mixes in ``closed``, and through the fewest that are not in ``allowed``.

    Of several it is the first in the order of ``steps``. None when every order passes through a closed mix.
    """
    whole = frozenset(steps)

    @cache
    def rest(taken: Taken) -> tuple[int, tuple[int, ...]] | None:
        if taken == whole:
            return 0, ()
        found = []
        for number, step in enumerate(steps):
            after = taken | {step}
            if step not in taken and after not in closed and (tail := rest(after)):
                found.append((tail[0] + (after not in allowed), (number, *tail[1])))
        return min(found, default=None)

    best = rest(frozenset())
    return tuple(steps[number] for number in best[1]) if best else None


def passed_through(order: Sequence[str]) -> list[Taken]:
    """The mixes of an order, without the empty one."""
    return [frozenset(order[:number]) for number in range(1, len(order) + 1)]


def is_on_an_order(mix: Taken, steps: Sequence[str], closed: Collection[Taken]) -> bool:
    """Whether an order that passes through no closed mix passes through this one."""
    others = {frozenset(one) for one in combinations(steps, len(mix))} - {mix}
    return cheapest_order(steps, (), {*closed, *others}) is not None


def next_mixes(steps: Sequence[str], allowed: Collection[Taken], closed: Collection[Taken]) -> list[Taken]:
    """The mixes to judge next; empty when an order is known to be safe, or none can be.

    First the whole: without it no order is safe. Then each step by itself, as the first one of an order, and each as the last one: they
    show which pairs of components do not work together. At last what the cheapest order has left. A mix that is on no order is left out.
    """
    known = {*allowed, *closed}
    whole = frozenset(steps)
    if whole not in known:
        return [whole]
    firsts = [frozenset({step}) for step in steps]
    lasts = [whole - {step} for step in steps]
    for mixes in (firsts, lasts):
        asked = [one for one in mixes if one and one not in known and is_on_an_order(one, steps, closed)]
        if asked:
            return asked
    order = cheapest_order(steps, allowed, closed)
    return [mix for mix in passed_through(order) if mix not in known] if order else []


def safe_order(steps: Sequence[str], allowed: Collection[Taken]) -> tuple[str, ...]:
    """The first order all mixes of which are allowed; empty if there is none."""
    everything = {frozenset(one) for size in range(1, len(steps) + 1) for one in combinations(steps, size)}
    return cheapest_order(steps, allowed, everything - set(allowed)) or ()


def fewest_together(steps: Sequence[str], allowed: Collection[Taken]) -> tuple[tuple[str, ...], ...]:
    """The steps in groups, such that the mix after each group is allowed, with groups as small as possible; empty if the whole is not."""
    whole = frozenset(steps)

    @cache
    def rest(taken: Taken) -> tuple[int, tuple[tuple[int, ...], ...]] | None:
        if taken == whole:
            return 0, ()
        found = []
        for after in allowed:
            if taken < after and (tail := rest(frozenset(after))):
                group = tuple(number for number, step in enumerate(steps) if step in after - taken)
                found.append((tail[0] + len(group) ** 2, (group, *tail[1])))
        return min(found, default=None)

    best = rest(frozenset())
    return tuple(tuple(steps[number] for number in group) for group in best[1]) if best else ()


def suspects(failed: Collection[Taken], passed: Collection[Taken], steps: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The pairs (new, old) that explain why a contract fails in the mixes ``failed``: ``new`` is upgraded there and ``old`` is not.

    A pair is refuted by a mix in ``passed`` with both in these versions. Of the others, those that explain the most mixes are taken until
    all are explained that can be; several that explain the same cannot be told apart. A contract that fails in the whole fails by a new
    version: ``old`` is empty, and ``new`` too if each is refuted.
    """
    if frozenset(steps) in failed:
        return tuple((step, "") for step in steps if not any(step in mix for mix in passed)) or (("", ""),)
    explained = {
        (new, old): {mix for mix in failed if new in mix and old not in mix}
        for new in steps
        for old in steps
        if new != old and not any(new in mix and old not in mix for mix in passed)
    }
    left = set(failed)
    chosen: list[tuple[str, str]] = []
    while most := max((len(mixes & left) for mixes in explained.values()), default=0):
        best = [pair for pair, mixes in explained.items() if len(mixes & left) == most]
        chosen += best
        left = left.difference(*(explained[pair] for pair in best))
    return tuple(chosen)
