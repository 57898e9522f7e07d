"""Choosing the scenarios, and the variants of each, that a run plays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from trivet.errors import UsageError, unknown
from trivet.model.scenario import Scenario, Variant

Chosen = Sequence[tuple[Scenario, Sequence[Variant]]]


def choose(scenarios: Mapping[str, Scenario], patterns: Sequence[str] = ()) -> Chosen:
    """The scenarios whose id matches one of ``patterns`` (shell-style; all when empty), or single variants as ``id[variant]``.

    An ``extended`` variant is chosen only by a pattern that names variants: ``*[*]`` chooses all.

    Raises UsageError for a pattern that matches nothing, and when no scenario is registered.
    """
    if not scenarios:
        raise UsageError(
            "no scenario is registered", remedy="install a plugin with scenarios, or name one: --plugin MODULE"
        )
    named = {f"{one.id}[{variant.name}]": (one, variant) for one in scenarios.values() for variant in one.variants}
    for pattern in patterns:
        if not any(_matches(pattern, name) for name in named):
            ids = list(named) if "[" in pattern else list(scenarios)
            raise unknown("variant" if "[" in pattern else "scenario", pattern, ids)
    chosen: dict[str, tuple[Scenario, list[Variant]]] = {}
    for name, (scenario, variant) in named.items():
        asked = patterns or ["*"]
        if any(_matches(pattern, name) and ("[" in pattern or not variant.extended) for pattern in asked):
            chosen.setdefault(scenario.id, (scenario, []))[1].append(variant)
    return tuple(chosen.values())


def _matches(pattern: str, name: str) -> bool:
    if "[" in pattern:
        # The brackets are the variant's, not a set of characters.
        identifier, _, variant = name.partition("[")
        wanted, _, wanted_variant = pattern.partition("[")
        return fnmatchcase(identifier, wanted) and fnmatchcase(variant.rstrip("]"), wanted_variant.rstrip("]"))
    return fnmatchcase(name.partition("[")[0], pattern)
