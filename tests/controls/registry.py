"""Controls: every contract is run on a broken twin, where it must fail for the right reason, and on a sound one, where it must pass.

Where what is observed gives no answer, an inconclusive one shows that the contract does not make one up.

A control is a pytest test that returns the findings of the contract's check on its twin::

    @broken("manifests.fields_are_known", because="containerSpec")
    def test_unknown_field() -> list[Finding]: ...

Its parameters are pytest fixtures, so that a live control can ask for a running session. ``test_every_contract.py`` fails for
a contract that lacks either kind.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from trivet.model.finding import Finding
from trivet.model.outcome import Outcome, combine

Control = Callable[..., Iterable[Finding]]

CONTROLS: dict[str, set[str]] = defaultdict(set)
"""Contract id → which of ``broken``, ``sound`` and ``inconclusive`` it has."""


def broken(identifier: str, *, because: str) -> Callable[[Control], Callable[..., None]]:
    """The contract must come to FAILED, and a failed finding must say ``because``."""

    return _control(identifier, "broken", lambda findings: _comes_to(Outcome.FAILED, because, findings))


def sound(identifier: str) -> Callable[[Control], Callable[..., None]]:
    """The contract must come to PASSED."""
    return _control(identifier, "sound", lambda findings: _comes_to(Outcome.PASSED, "", findings))


def inconclusive(identifier: str, *, because: str) -> Callable[[Control], Callable[..., None]]:
    """The contract must come to INCONCLUSIVE, and an inconclusive finding must say ``because``."""
    return _control(identifier, "inconclusive", lambda findings: _comes_to(Outcome.INCONCLUSIVE, because, findings))


def _comes_to(outcome: Outcome, because: str, findings: list[Finding]) -> None:
    assert combine(finding.outcome for finding in findings) is outcome, _told(findings)
    decisive = [finding for finding in findings if finding.outcome is outcome]
    assert any(because in finding.message for finding in decisive), f"none says {because!r}:\n{_told(findings)}"


def _control(
    identifier: str, kind: str, check: Callable[[list[Finding]], None]
) -> Callable[[Control], Callable[..., None]]:
    def decorate(control: Control) -> Callable[..., None]:
        CONTROLS[identifier].add(kind)

        @functools.wraps(control)
        def test(*arguments: Any, **fixtures: Any) -> None:
            check(list(control(*arguments, **fixtures)))

        return test

    return decorate


def _told(findings: Iterable[Finding]) -> str:
    return (
        "\n".join(f"{finding.outcome} {finding.message} [{finding.location}]" for finding in findings) or "no finding"
    )
