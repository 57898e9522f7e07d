"""Examples: every contract is run on a failing example, where it must fail for the right reason, and on a passing one.

Where what is observed is no evidence either way, or the statement does not apply to it, ``inconclusive`` and ``not_applicable``
examples show that the contract does not decide.

An example is a pytest test that returns the findings of the contract's check::

    @failing("manifests.fields_are_known", because="containerSpec", at="containerSpec: {readinessProbe: {}}")
    def test_unknown_field() -> list[Finding]: ...

A finding of the outcome must say ``because`` in its message and, for a static contract, point to the line ``at`` of the example.
Its parameters are pytest fixtures, so that a live example can ask for a running session. ``test_every_contract.py`` fails for
a contract that lacks either kind.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from contract_examples.static import place

from trivet.model.finding import Finding
from trivet.model.outcome import Outcome, combine

Example = Callable[..., Iterable[Finding]]

EXAMPLES: dict[str, set[str]] = defaultdict(set)
"""Contract id → which kinds of examples it has, named as the decorators are."""


def failing(identifier: str, *, because: str, at: str = "") -> Callable[[Example], Callable[..., None]]:
    """The contract must be FAILED, and must not have a PASSED finding for the line of a FAILED one."""

    def check(findings: list[Finding]) -> None:
        _comes_to(Outcome.FAILED, because, at, findings)
        failed, passed = (
            {
                finding.location
                for finding in findings
                if finding.outcome is outcome and finding.location and finding.location.line
            }
            for outcome in (Outcome.FAILED, Outcome.PASSED)
        )
        assert not failed & passed, f"both right and wrong:\n{_described(findings)}"

    return _example(identifier, "failing", check)


def passing(identifier: str, *, because: str = "", at: str = "") -> Callable[[Example], Callable[..., None]]:
    """The contract must be PASSED, by PASSED findings only."""

    def check(findings: list[Finding]) -> None:
        _comes_to(Outcome.PASSED, because, at, findings)
        assert all(finding.outcome is Outcome.PASSED for finding in findings), _described(findings)

    return _example(identifier, "passing", check)


def inconclusive(identifier: str, *, because: str, at: str = "") -> Callable[[Example], Callable[..., None]]:
    """The contract must be INCONCLUSIVE."""
    return _example(identifier, "inconclusive", lambda findings: _comes_to(Outcome.INCONCLUSIVE, because, at, findings))


def not_applicable(identifier: str, *, because: str, at: str = "") -> Callable[[Example], Callable[..., None]]:
    """The contract must be SKIPPED for every subject."""
    return _example(identifier, "not_applicable", lambda findings: _comes_to(Outcome.SKIPPED, because, at, findings))


def _comes_to(outcome: Outcome, because: str, at: str, findings: list[Finding]) -> None:
    assert combine(finding.outcome for finding in findings) is outcome, _described(findings)
    assert any(
        finding.outcome is outcome and because in finding.message and at in place(finding.location)
        for finding in findings
    ), f"none says {because!r} of {at!r}:\n{_described(findings)}"


def _example(
    identifier: str, kind: str, check: Callable[[list[Finding]], None]
) -> Callable[[Example], Callable[..., None]]:
    def decorate(function: Example) -> Callable[..., None]:
        EXAMPLES[identifier].add(kind)

        @functools.wraps(function)
        def test(*arguments: Any, **fixtures: Any) -> None:
            check(list(function(*arguments, **fixtures)))

        return test

    return decorate


def _described(findings: Iterable[Finding]) -> str:
    lines = [f"{finding.outcome} {finding.message} [{place(finding.location)}]" for finding in findings]
    return "\n".join(lines) or "no finding"
