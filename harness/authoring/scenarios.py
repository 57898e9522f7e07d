"""What a scenario is written with: the ``@scenario`` decorator, the kinds of variants, and the two results of a symptom."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence

from trivet.model.clients import CLIENTS, OWN_CLIENT
from trivet.model.declaration import Declaration, parameters, place_of
from trivet.model.fault import AffectedObject
from trivet.model.feature import FEATURES, OWN_FEATURE
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
    features: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> Callable[[Stage], Scenario]:
    """Make a generator function into a scenario.

    It sets one variant up, yields a ``Case``, and removes what it set up; its parameters are ``variant`` (the name) and the clients that
    it needs. The id is ``module.function``. ``title`` names the incident, ``happens`` is its course, ``recognise`` how somebody on call
    identifies it, ``remedy`` the fix. ``affected_objects`` is everything that its faults change. Raises DeclarationError, naming
    the value and what is allowed.
    """

    def make(stage: Stage) -> Scenario:
        if not inspect.isfunction(stage):
            Declaration("a scenario").refuse(f"@scenario decorates {stage!r}", "decorate a function with it")
        identifier = f"{stage.__module__.rpartition('.')[2]}.{stage.__name__}"
        declared = Declaration(f"scenario {identifier}", place_of(stage))
        declared.texts(title=title, happens=happens, recognise=recognise, remedy=remedy)
        declared.sequence("variants", variants, Variant)
        names = [variant.name for variant in variants]
        if not any(not variant.remedy for variant in variants) or len(set(names)) < len(names):
            declared.refuse(
                f"its variants are {', '.join(names) or 'empty'}",
                "give it at least one without a remedy, and each a name of its own",
            )
        declared.sequence("affected_objects", affected_objects, AffectedObject)
        declared.instance("budgets", budgets, Budgets, optional=True)
        declared.sequence("claims", claims, Claim)
        for claim in claims:
            for name in claim.variants:
                declared.known("variant in a claim", name, names)
        declared.sequence("features", features, str)
        for feature in features:
            declared.known("feature", feature, FEATURES, otherwise=OWN_FEATURE)
        declared.sequence("sources", sources, str)
        wants = parameters(declared, stage)
        for name in wants:
            declared.known("parameter", name, ("variant", *CLIENTS), otherwise=OWN_CLIENT)
        if not inspect.isgeneratorfunction(stage):
            declared.refuse(
                "it is not a generator function",
                "set up the variant, `yield Case(…)` once, and clean up after the yield",
            )
        return Scenario(
            id=identifier,
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
            features=tuple(features),
            sources=tuple(sources),
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
