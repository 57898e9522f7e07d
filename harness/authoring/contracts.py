"""What a contract is written with: the ``@contract`` decorator, which refuses an invalid declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from trivet.model.clients import CLIENTS, OWN_CLIENT
from trivet.model.contract import STATIC_SUBJECTS, Check, Contract
from trivet.model.declaration import Declaration, parameters, place_of
from trivet.model.feature import FEATURES, OWN_FEATURE
from trivet.model.finding import Finding
from trivet.model.outcome import Level
from trivet.model.stack import COMPONENTS

MUST = Level.MUST
SHOULD = Level.SHOULD


def contract(
    *,
    title: str,
    level: Level,
    seam: tuple[str, str],
    rationale: str,
    remedy: str,
    versions: Mapping[str, str] | None = None,
    features: Sequence[str] = (),
    sources: Sequence[str] = (),
    since: str = "0.1",
) -> Callable[[Check], Contract]:
    """Make a function that yields findings into a contract.

    The id is ``module.function``. The function's parameters are the clients, or the one static subject, that it observes.
    ``title`` says what holds ("X must Y"), ``rationale`` what breaks otherwise, ``remedy`` what to do. ``seam`` is a pair of components
    of a stack, ``versions`` maps a component to a PEP 440 specifier. Raises DeclarationError, naming the value and what is allowed.
    """

    def make(check: Check) -> Contract:
        if not inspect.isfunction(check):
            Declaration("a contract").refuse(f"@contract decorates {check!r}", "decorate a function with it")
        identifier = f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
        declared = Declaration(f"contract {identifier}", place_of(check))
        declared.texts(title=title, rationale=rationale, remedy=remedy, since=since)
        if not isinstance(level, Level):
            declared.known("level", level, Level, otherwise="write MUST or SHOULD of trivet.authoring, not a string")
            declared.refuse(f"level is the string {level!r}", f"write {level} of trivet.authoring, without quotes")
        declared.sequence("seam", seam, str)
        if len(seam) != 2:
            declared.refuse(f"seam is {seam!r}", 'write a pair of components, such as ("mlflow", "kserve")')
        for component in seam:
            declared.known("component of a seam", component, COMPONENTS)
        declared.instance("versions", versions, Mapping, optional=True)
        for component, specifier in (versions or {}).items():
            declared.known("component", component, COMPONENTS)
            _specifier(declared, component, specifier)
        declared.sequence("features", features, str)
        for feature in features:
            declared.known("feature", feature, FEATURES, otherwise=OWN_FEATURE)
        declared.sequence("sources", sources, str)
        return Contract(
            id=identifier,
            title=title,
            level=level,
            seam=(seam[0], seam[1]),
            rationale=rationale,
            remedy=remedy,
            check=check,
            wants=_wants(declared, check),
            versions=dict(versions or {}),
            features=tuple(features),
            sources=tuple(sources),
            since=since,
        )

    return make


def _specifier(declared: Declaration, component: str, specifier: object) -> None:
    try:
        if isinstance(specifier, str) and len(SpecifierSet(specifier)):
            return
    except InvalidSpecifier:
        pass
    declared.refuse(
        f"the versions of {component} are {specifier!r}, which is not a version specifier",
        "write one of PEP 440, such as '>=2.12,<4'",
    )


def _wants(declared: Declaration, check: Check) -> tuple[str, ...]:
    wants = parameters(declared, check)
    for name in wants:
        declared.known("parameter", name, (*STATIC_SUBJECTS, *CLIENTS), otherwise=OWN_CLIENT)
    subjects = [name for name in wants if name in STATIC_SUBJECTS]
    if len(subjects) > 1:
        declared.refuse(
            f"it reads more than one of {', '.join(STATIC_SUBJECTS)}: {', '.join(subjects)}",
            "split it: a static check runs once per subject",
        )
    if inspect.iscoroutinefunction(check) or inspect.isasyncgenfunction(check):
        declared.refuse("the check is asynchronous", "write a generator function: def, and yield")
    returns = check.__annotations__.get("return", inspect.Signature.empty)
    if not inspect.isgeneratorfunction(check) and returns in (Finding, "Finding", "trivet.Finding", None, "None"):
        declared.refuse(
            f"the check is annotated to return {getattr(returns, '__name__', returns)}",
            "yield findings: write `yield passed(…)`, and Iterator[Finding] as its annotation",
        )
    return wants
