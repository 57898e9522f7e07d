"""The tests for a team's own repository: ``from trivet.suite import *`` in one test module judges the whole profile."""

from __future__ import annotations

from collections.abc import Callable

from trivet.model.contract import Contract

__all__ = ["test_contract"]


def test_contract(trivet_contract: Contract, trivet_judge: Callable[[Contract], None]) -> None:
    """One test item per contract of the profile, on the stack and target of the options."""
    trivet_judge(trivet_contract)
