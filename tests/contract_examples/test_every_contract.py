"""No contract without a failing example and a passing one."""

from __future__ import annotations

import importlib
from pathlib import Path

from contract_examples.registry import EXAMPLES

from trivet.engine.registry import Registry


def test_every_contract_has_examples() -> None:
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"contract_examples.{file.stem}")
    contracts = Registry().contracts
    lacking = [
        f"{identifier} has no {kind} example: add a test with @{kind}({identifier!r}) beside {Path(__file__).name}"
        for identifier in contracts
        for kind in ("failing", "passing")
        if kind not in EXAMPLES[identifier]
    ]
    assert not lacking, "\n".join(lacking)


def test_every_example_is_of_a_contract() -> None:
    assert set(EXAMPLES) <= set(Registry().contracts)
