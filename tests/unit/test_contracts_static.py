"""Static contracts over documents whose parts are of any shape: they find something or nothing, and never break."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from contract_examples.test_static_manifests import SOUND
from contract_examples.test_static_pipelines import pipeline

from trivet.engine.registry import Registry
from trivet.model.contract import DECLARED, Contract
from trivet.model.finding import Finding
from trivet.model.platform_config import platform_of
from trivet.model.subjects import CompiledPipeline, Keys, Manifest
from trivet.stacks.read import load_stack

SHAPES = ({"a": "b"}, [{"a": "b"}], [[1]], "text", 7, None, True)
DOCUMENTS = {"manifest": SOUND, "resource": SOUND, "compiled_pipeline": pipeline(cached=True).partition("---")[0]}
STACK = load_stack("2024.11")
GIVEN = {"stack": STACK, "platform": platform_of(STACK)}
CONTRACTS = [
    contract
    for contract in Registry().contracts.values()
    if contract.subject in DOCUMENTS and {*contract.wants} <= {contract.subject, *DECLARED}
]


def places(value: Any, keys: Keys = ()) -> Iterator[Keys]:
    """The place of every value in a document but the whole of it."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*keys, key)
        yield from places(member, (*keys, key))


def with_shape(document: Any, keys: Keys, shape: Any) -> Any:
    """``document`` with ``shape`` for the value at ``keys``."""
    changed = copy.deepcopy(document)
    parent = changed
    for key in keys[:-1]:
        parent = parent[key]
    parent[keys[-1]] = shape
    return changed


def judged(contract: Contract, document: Any) -> list[Finding]:
    """What ``contract`` finds in ``document``."""
    kind = CompiledPipeline if contract.subject == "compiled_pipeline" else Manifest
    subject = kind(file="file.yaml", document=document, line=lambda keys: 1)
    return list(contract.check(*(GIVEN.get(name, subject) for name in contract.wants)))


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.id)
def test_a_part_of_another_shape_is_judged_and_breaks_no_contract(contract: Contract) -> None:
    document = yaml.safe_load(DOCUMENTS[str(contract.subject)])
    assert judged(contract, document)
    for keys in places(document):
        for shape in SHAPES:
            try:
                judged(contract, with_shape(document, keys, shape))
            except Exception as error:
                raise AssertionError(f"{shape!r} at {'.'.join(map(str, keys))}") from error
