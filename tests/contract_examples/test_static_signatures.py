"""Examples of the contract over the signature in a model directory (the runtime of 2024.11 has MLflow 2.10.2)."""

from __future__ import annotations

import json
from typing import Any

from contract_examples.registry import failing, not_applicable, passing
from contract_examples.static import model_findings

from trivet.model.finding import Finding

COLUMN = {"type": "double", "name": "age", "required": True}
TENSOR = {"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}


def model(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]] | None) -> dict[str, str]:
    """A model directory with this signature."""
    signature = {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs) if outputs else None, "params": None}
    return {"MLmodel": f"flavors: {{}}\nsignature: {json.dumps(signature)}\n"}


@failing("signatures.model_has_a_signature", because="the model has no signature", at="MLmodel: flavors")
def test_no_signature() -> list[Finding]:
    return model_findings("signatures.model_has_a_signature", {"MLmodel": "flavors: {}\n"})


@passing("signatures.model_has_a_signature", at="MLmodel: signature: ")
def test_a_signature() -> list[Finding]:
    return model_findings("signatures.model_has_a_signature", model([COLUMN], [TENSOR]))


@not_applicable("signatures.signature_is_complete", because="has no signature")
def test_a_model_without_a_signature_loads() -> list[Finding]:
    return model_findings("signatures.signature_is_complete", {"MLmodel": "flavors: {}\n"})


@failing("signatures.signature_is_complete", because="the signature has no outputs", at="MLmodel: signature: ")
def test_inputs_only() -> list[Finding]:
    return model_findings("signatures.signature_is_complete", model([COLUMN], None))


@failing("signatures.signature_is_complete", because="mlflow 2.10.2 cannot read 'map'")
def test_a_type_that_only_a_later_mlflow_knows() -> list[Finding]:
    prices = {"type": "map", "values": {"type": "double"}, "name": "prices", "required": True}
    return model_findings("signatures.signature_is_complete", model([COLUMN, prices], [TENSOR]))


@failing(
    "signatures.signature_is_complete", because="column 'age': mlflow 2.10.2 has no type 'float64', which is 'double'"
)
def test_a_type_by_its_name_in_numpy() -> list[Finding]:
    return model_findings("signatures.signature_is_complete", model([COLUMN | {"type": "float64"}], [TENSOR]))


@failing("signatures.signature_is_complete", because="MLServer 1.5.0 has no datatype for columns of the type 'array'")
def test_a_type_that_mlflow_reads_and_mlserver_does_not() -> list[Finding]:
    words = {"type": "array", "items": {"type": "string"}, "name": "words", "required": True}
    return model_findings("signatures.signature_is_complete", model([words], [TENSOR]))


@failing("signatures.signature_is_complete", because="cannot be parsed", at="MLmodel: signature: ")
def test_a_signature_that_is_a_text() -> list[Finding]:
    return model_findings("signatures.signature_is_complete", {"MLmodel": "flavors: {}\nsignature: '{}'\n"})


@failing("signatures.signature_is_complete", because="inputs: '[{' is no JSON")
def test_a_signature_that_is_no_json() -> list[Finding]:
    broken_off = {"MLmodel": "flavors: {}\nsignature: {inputs: '[{', outputs: '[]'}\n"}
    return model_findings("signatures.signature_is_complete", broken_off)


@passing("signatures.signature_is_complete", because="1 inputs and 1 outputs", at="MLmodel: signature: ")
def test_inputs_and_outputs() -> list[Finding]:
    return model_findings("signatures.signature_is_complete", model([COLUMN], [TENSOR]))
