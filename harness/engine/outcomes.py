"""What a check yields or raises as findings: one mapping for runs, lint and scenarios."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from trivet.errors import CannotTell, DeclarationError, NotOffered, TrivetError
from trivet.model.contract import Contract
from trivet.model.declaration import Declaration, place_of
from trivet.model.finding import Finding, Location, evidence, inconclusive, not_applicable
from trivet.model.outcome import Outcome
from trivet.toolkit.remembered import remembering

NOTHING = "the check observed nothing: an empty result is not a pass"
YIELD = "yield findings: passed(…), failed(…) and the like"


def finding_of(error: Exception, raised_by: str = "check") -> Finding:
    """The finding that an exception of a check or a scenario stands for.

    NotOffered is SKIPPED, CannotTell INCONCLUSIVE. Everything else is an ERROR: a client that failed, a wrong declaration, or a bug
    of the author's, none of which is a failure of the platform.
    """
    if isinstance(error, NotOffered):
        return not_applicable(error.message)
    if isinstance(error, CannotTell):
        # Raised from another error, it is that error's consequence; else an observation of the software under test.
        caused = error.__cause__ is not None and getattr(error.__cause__, "transient", True)
        return replace(inconclusive(error.message, remedy=error.remedy), transient=caused)
    if isinstance(error, DeclarationError):
        message, remedy = error.message, error.remedy
    elif isinstance(error, TrivetError):
        message, remedy = f"could not observe: {error.message}", error.remedy
    else:
        message, remedy = f"the {raised_by} raised {type(error).__name__}: {error}", ""
    trace = "".join(traceback.format_exception(error))
    return Finding(
        outcome=Outcome.ERROR,
        message=message,
        remedy=remedy,
        evidence=(evidence("traceback", "text", trace),),
        transient=getattr(error, "transient", True),
    )


def observed(
    contract: Contract, given: Mapping[str, Any], where: Callable[[], Location] | None = None
) -> list[Finding]:
    """What the check of ``contract`` yields for the parameters ``given``, then what it raises. Never raises an Exception.

    ``where`` is the place of a finding that the check did not make itself. A check that yields nothing is INCONCLUSIVE.
    """
    found: list[Finding] = []
    try:
        with remembering():
            returned = contract.check(**given)
            if isinstance(returned, Finding):
                _refuse(
                    contract, "returned a Finding", "write `yield` in place of `return`, or return a list of findings"
                )
            try:
                findings = iter(returned)
            except TypeError:
                _refuse(contract, f"returned {returned!r}", YIELD)
            while True:  # as a for loop would, which loses what a generator returns
                try:
                    finding = next(findings)
                except StopIteration as end:
                    if end.value is not None:
                        _refuse(
                            contract, f"returned {end.value!r}, which is lost", "write `yield` in place of `return`"
                        )
                    break
                if not isinstance(finding, Finding):
                    _refuse(contract, f"yielded {finding!r}", YIELD)
                found.append(finding)
    except Exception as error:
        return [*found, replace(finding_of(error), location=where() if where else None)]
    return found or [inconclusive(NOTHING, location=where() if where else None)]


def _refuse(contract: Contract, did: str, remedy: str) -> NoReturn:
    Declaration(f"contract {contract.id}", place_of(contract.check)).refuse(f"the check {did}", remedy)
