"""What runs is what the stack says: the versions that components state themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from packaging.version import InvalidVersion, Version

from trivet.authoring import (
    ABSENT,
    MUST,
    CannotTell,
    Fact,
    Finding,
    Location,
    Stack,
    contract,
    failed,
    inconclusive,
    not_applicable,
    passed,
)

SEAM = ("mlflow", "kserve")


@contract(
    title="The versions that run must be those of the stack",
    level=MUST,
    seam=SEAM,
    rationale=(
        "Every other result is about the versions that run, and the report is about those of the stack: if they differ, it says of the "
        "stack what was never tried."
    ),
    remedy="Run with the stack that is installed (`trivet detect` writes it), or install the versions of the stack.",
    sources=(
        "mlflow 2.12.2 to 3.17.2: GET /version; MLServer 1.5.0 and 1.7.1: GET /v2, version",
        "kfp 2.9.0 and 2.17.0: sdkVersion of a compiled pipeline",
        "Kubernetes: GET /version; KServe and Knative state no version: the image of their controllers",
    ),
)
def versions_are_as_declared(stack: Stack, running_versions: Mapping[str, Fact]) -> Iterator[Finding]:
    compared = False
    for name, fact in running_versions.items():
        declared = _declared(stack, name)
        if not declared:
            if fact.value and fact.value != ABSENT:
                yield not_applicable(f"{name} {fact.value} runs, of which the stack names no version ({fact.source})")
        elif not fact.value:
            yield not_applicable(f"{name} {declared} is declared only: {fact.reason}")
        elif _is(declared, fact.value):
            compared = True
            yield passed(f"{name} {fact.value} runs, as declared", location=Location(object=fact.source))
        else:
            compared = True
            yield failed(
                f"the stack declares {name} {declared}, and what runs is {name} {fact.value}",
                location=Location(object=fact.source),
            )
    if not compared:
        yield inconclusive("no component states its version")


def _declared(stack: Stack, component: str) -> str:
    """The version that the stack declares; empty when it names none, or says that it is unknown."""
    try:
        return stack.components.get(component, "")
    except CannotTell:
        return ""


def _is(declared: str, running: str) -> bool:
    """Whether a running version is the declared one, or a patch of it: 1.30.14 is 1.30."""
    try:
        said, runs = Version(declared), Version(running)
    except InvalidVersion:
        return declared == running
    return said == runs or (len(said.release) < 3 and runs.release[: len(said.release)] == said.release)
