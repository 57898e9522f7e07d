"""What a scenario is written with: the ``@scenario`` decorator, the kinds of variants, and the two results of a symptom."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence

from trivet.errors import UsageError
from trivet.model.fault import AffectedObject
from trivet.model.finding import Evidence
from trivet.model.scenario import Budgets, Case, Claim, Observation, Scenario, Variant, Verdict

Stage = Callable[..., Iterator[Case]]


def scenario(
    *,
    title: str,
    happens: str,
    recognise: str,
    remedy: str,
    variants: Sequence[Variant],
    affected_objects: Sequence[AffectedObject],
    budgets: Budgets | None = None,
    claims: Sequence[Claim] = (),
    features: tuple[str, ...] = (),
    sources: tuple[str, ...] = (),
) -> Callable[[Stage], Scenario]:
    """Make a generator function into a scenario.

    It sets one variant up, yields a ``Case``, and removes what it set up; its parameters are ``variant`` (the name) and the clients that
    it needs. The id is ``module.function``. ``title`` names the incident, ``happens`` is its course, ``recognise`` how somebody on call
    identifies it, ``remedy`` the fix. ``affected_objects`` is everything that its faults change. Raises UsageError for a declaration that
    contradicts itself.
    """

    def make(stage: Stage) -> Scenario:
        wants = tuple(inspect.signature(stage).parameters)
        names = [variant.name for variant in variants]
        name = f"{stage.__module__.rpartition('.')[2]}.{stage.__name__}"
        if not any(not variant.remedy for variant in variants) or len(set(names)) < len(names):
            raise UsageError(
                f"scenario {name} has the variants {', '.join(names) or 'none at all'}",
                remedy="give it at least one without a remedy, and each a name of its own",
            )
        foreign = {one for claim in claims for one in claim.variants} - set(names)
        if foreign:
            raise UsageError(
                f"a claim of scenario {name} names variants that it has not: {', '.join(sorted(foreign))}",
                remedy=f"use some of: {', '.join(names)}",
            )
        return Scenario(
            id=name,
            title=title,
            happens=happens,
            recognise=recognise,
            remedy=remedy,
            variants=tuple(variants),
            affected_objects=tuple(affected_objects),
            stage=stage,
            wants=wants,
            budgets=budgets or Budgets(),
            claims=tuple(claims),
            features=features,
            sources=sources,
        )

    return make


def unprotected(
    name: str, text: str, *, expected: Verdict | None = Verdict.VULNERABLE, extended: bool = False
) -> Variant:
    """A platform without a remedy. ``expected`` is the verdict measured before; None where it depends on the platform."""
    return Variant(name=name, text=text, expected=expected, extended=extended)


def remedied(name: str, text: str, *, protects: bool | None = True, extended: bool = False) -> Variant:
    """A platform with a remedy. ``protects`` is False for one that was measured not to protect, None while no run has shown either."""
    expected = None if protects is None else Verdict.PROTECTED if protects else Verdict.VULNERABLE
    return Variant(name=name, text=text, remedy=True, expected=expected, extended=extended)


def symptom_observed(
    message: str, *, evidence: tuple[Evidence, ...] = (), **measured: int | float | str
) -> Observation:
    """The expected symptom, with numbers: the incident happened."""
    return Observation(observed=True, message=message, measured=measured, evidence=evidence)


def symptom_not_observed(
    message: str, *, evidence: tuple[Evidence, ...] = (), **measured: int | float | str
) -> Observation:
    """What was observed instead of the symptom. State the number of requests or runs that this rests on."""
    return Observation(observed=False, message=message, measured=measured, evidence=evidence)
