"""Signatures: what is read from MLmodel, which reader fails on what, and the V2 protocol's round trip."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import PlatformError, UsageError
from trivet.integration import check_rows, check_signature, check_successor, read_signature, v2_request, v2_values

OUTPUTS = '[{"type": "long", "required": true}]'


def mlmodel(*inputs: dict[str, Any], outputs: str | None = OUTPUTS) -> dict[str, Any]:
    return {"signature": {"inputs": json.dumps(inputs), "outputs": outputs, "params": None}}


def column(name: str, kind: str = "double", **more: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "required": True, **more}


TENSOR = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}


def test_columns_and_tensors_are_read() -> None:
    signature = read_signature(mlmodel(column("a"), {"type": "string", "name": "b", "optional": True}))
    tensor = read_signature(mlmodel(TENSOR))

    assert signature is not None
    assert tensor is not None
    assert [(c.name, c.type, c.required) for c in signature.columns] == [("a", "double", True), ("b", "string", False)]
    assert tensor.tensors[0].shape == (-1, 3)


def test_an_absent_signature_an_empty_side_and_nonsense_are_three_different_problems() -> None:
    assert "no signature" in check_signature({"flavors": {}})[0]
    assert "no outputs" in check_signature(mlmodel(column("a"), outputs=None))[0]
    assert "cannot be parsed" in check_signature({"signature": {"inputs": "[{", "outputs": OUTPUTS}})[0]
    assert "cannot be parsed" in check_signature({"signature": {"inputs": '[{"name": "a"}]'}})[0]
    assert check_signature(mlmodel(column("a")), reader="2.10.2") == []


@pytest.mark.parametrize(
    ("inputs", "reader", "readable"),
    [
        (column("a"), "2.9.2", False),
        (column("a"), "2.10.2", True),
        ({"type": "double", "name": "a"}, "2.3.2", True),
        ({"type": "double", "name": "a", "optional": True}, "2.17.2", True),
        ({"type": "double", "name": "a", "optional": True}, "2.18.0", False),
        ({"type": "double", "name": "a", "optional": True}, "3.17.2", False),
        (column("a", "array", items={"type": "double"}), "2.10.2", True),
        (column("a", "map", values={"type": "double"}), "2.11.3", False),
        (column("a", "map", values={"type": "double"}), "2.12.2", True),
        (column("a", "array", items={"type": "map", "values": {"type": "double"}}), "2.11.3", False),
        (column("a", "sparkml_vector"), "2.15.1", False),
        (column("a", "any"), "2.18.0", False),
        (column("a", "any"), "2.19.0", True),
        (TENSOR, "2.3.2", True),
    ],
)
def test_a_reader_s_limits_are_known(inputs: dict[str, Any], reader: str, readable: bool) -> None:
    problems = check_signature(mlmodel(inputs, outputs=json.dumps([TENSOR])), reader=reader)

    assert (problems == []) is readable, problems


def signature(*inputs: dict[str, Any]) -> Any:
    return read_signature(mlmodel(*inputs))


@pytest.mark.parametrize(
    ("inputs", "rows", "words"),
    [
        ([column("a")], [], "no rows"),
        ([column("a")], [{}], "missing from 1 of 1"),
        ([column("a")], [{"a": 1.5, "zz": 1}], "zz"),
        ([column("a")], [{"a": "x"}], "'x' is not of type double"),
        ([column("a")], [{"a": True}], "True is not of type double"),
        ([column("a")], [{"a": 5}, {"a": 7}], "int64"),
        ([column("a", "float")], [{"a": 5}], "int64"),
        ([column("a", "long")], [{"a": 1}, {"a": None}], "null in a long column"),
        ([column("a", "long")], [{"a": 1.5}], "not of type long"),
        ([column("a", "integer")], [{"a": 2**31}], "not of type integer"),
        ([column("a", "boolean")], [{"a": 1}], "not of type boolean"),
        ([TENSOR], [[1.0, 2.0]], "shape [1, 2]"),
        ([TENSOR], [[1.0, 2.0, 3.0], [1.0]], "no common shape"),
        ([TENSOR], [[1.0, "x", 3.0]], "'x' is not of type float32"),
    ],
)
def test_rows_that_break_the_signature_are_reported_by_their_problem(
    inputs: list[dict[str, Any]], rows: list[Any], words: str
) -> None:
    problems = check_rows(signature(*inputs), rows)

    assert len(problems) == 1
    assert words in problems[0]


def test_rows_that_satisfy_it_pass() -> None:
    kinds = {"d": 0.5, "f": 1.5, "l": 3, "i": 2, "b": False, "s": "é"}
    names = {"d": "double", "f": "float", "l": "long", "i": "integer", "b": "boolean", "s": "string"}

    assert check_rows(signature(*(column(n, k) for n, k in names.items())), [kinds, kinds]) == []
    assert check_rows(signature(column("a")), [{"a": None}, {"a": 5}]) == []
    assert check_rows(signature(TENSOR), [[1.0, 2.0, 3.0]]) == []


def test_each_column_type_travels_as_mlserver_decodes_it() -> None:
    kinds = {
        "boolean": ("BOOL", None),
        "integer": ("INT32", None),
        "long": ("INT64", None),
        "float": ("FP32", None),
        "double": ("FP64", None),
        "string": ("BYTES", "str"),
        "datetime": ("BYTES", "datetime"),
    }
    row = dict.fromkeys(kinds, 1) | {"string": "é", "datetime": "2024-01-01T00:00:00", "boolean": True}

    request = v2_request(signature(*(column(kind, kind) for kind in kinds)), [row, row])

    assert request["parameters"] == {"content_type": "pd"}
    sent = {tensor["name"]: tensor for tensor in request["inputs"]}
    for kind, (datatype, content_type) in kinds.items():
        assert sent[kind]["datatype"] == datatype
        assert sent[kind].get("parameters", {}).get("content_type") == content_type
        assert sent[kind]["shape"] == [2]


def test_tensors_travel_flat_with_their_shape() -> None:
    request = v2_request(signature(TENSOR), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

    assert request["inputs"] == [
        {"name": "input-0", "shape": [2, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    ]
    assert request["parameters"] == {"content_type": "np"}


def test_a_missing_column_an_infinity_and_no_rows_are_refused() -> None:
    for rows in ([{"b": 1.0}], [{"a": math.inf}], []):
        with pytest.raises(UsageError):
            v2_request(signature(column("a")), rows)


def test_an_optional_column_that_no_row_has_is_left_out() -> None:
    request = v2_request(signature(column("a"), {"type": "double", "name": "b", "required": False}), [{"a": 1.0}])

    assert [tensor["name"] for tensor in request["inputs"]] == ["a"]


CELL = st.one_of(st.floats(allow_infinity=False), st.none())


@given(st.lists(st.fixed_dictionaries({"a": CELL, "b": st.text(), "c": st.integers(-(2**63), 2**63 - 1)}), min_size=1))
def test_rows_come_back_as_they_were_sent(rows: list[dict[str, Any]]) -> None:
    request = v2_request(signature(column("a"), column("b", "string"), column("c", "long")), rows)
    echoed = json.loads(json.dumps({"outputs": request["inputs"]}, allow_nan=False))

    sent = [{**row, "a": None if row["a"] is None or math.isnan(row["a"]) else row["a"]} for row in rows]
    assert v2_values(echoed) == sent


@pytest.mark.parametrize(
    ("shape", "data", "values"),
    [
        ([2], [1, 0], [1, 0]),
        ([2, 1], [1, 0], [1, 0]),
        ([2, 2], [0.1, 0.9, 0.8, 0.2], [[0.1, 0.9], [0.8, 0.2]]),
        ([1, 2], [0.1, 0.9], [[0.1, 0.9]]),
        ([2, 2], [[0.1, 0.9], [0.8, 0.2]], [[0.1, 0.9], [0.8, 0.2]]),
    ],
)
def test_predictions_are_read_in_row_order(shape: list[int], data: list[Any], values: list[Any]) -> None:
    assert v2_values({"outputs": [{"name": "output-1", "shape": shape, "datatype": "FP64", "data": data}]}) == values


@pytest.mark.parametrize(
    "body",
    [
        None,
        "Internal Server Error",
        {"error": "x"},
        {"outputs": []},
        {"outputs": [{"name": "o", "shape": [2], "data": [1]}]},
    ],
)
def test_an_answer_without_predictions_is_never_an_empty_list(body: Any) -> None:
    with pytest.raises(PlatformError):
        v2_values(body)


def array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "name": "a", "required": True}


def record(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "long", "required": True} for name in names}}


@pytest.mark.parametrize(
    ("successor", "current", "words"),
    [
        ([column("a")], [column("a")], None),
        ([column("a"), column("b")], [column("a")], "column 'b' is required"),
        ([column("a"), column("b", required=False)], [column("a")], None),
        ([column("a")], [column("a"), column("b")], None),
        ([column("c")], [column("a")], "column 'c' is required"),
        ([column("a")], [column("a", required=False)], "was optional"),
        ([column("a", required=False)], [column("a")], None),
        ([column("a", "long")], [column("a")], "is long, and clients send double"),
        ([column("a", "double")], [column("a", "long")], "is double, and clients send long"),
        ([column("a", "double")], [column("a", "integer")], None),
        ([column("a", "double")], [column("a", "float")], None),
        ([column("a", "string")], [column("a")], "is string"),
        ([{"type": "double", "required": True}], [{"type": "double", "required": True}], None),
        ([{"type": "long", "required": True}], [{"type": "double", "required": True}], "an unnamed column is long"),
        ([array({"type": "string"})], [array({"type": "string"})], None),
        ([array({"type": "double"})], [array({"type": "string"})], "holds other elements than clients send"),
        ([array({"type": "double"})], [array({"type": "float"})], None),
        ([array(record("k"))], [array(record("k", "l"))], None),
        ([array(record("k", "l"))], [array(record("k"))], "holds other elements"),
        (
            [array({**record("k"), "type": "map", "values": {"type": "long"}})],
            [array(record("k"))],
            "holds other elements",
        ),
        ([TENSOR], [TENSOR], None),
        ([TENSOR], [column("a")], "columns and the other tensors"),
        ([{**TENSOR, "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}], [TENSOR], "is float32 [-1, 4]"),
        ([{**TENSOR, "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}], [TENSOR], "is float64"),
        ([{**TENSOR, "tensor-spec": {"dtype": "float32", "shape": [-1, -1]}}], [TENSOR], None),
    ],
)
def test_a_successor_that_breaks_clients_is_distinguished_from_one_that_does_not(
    successor: list[dict[str, Any]], current: list[dict[str, Any]], words: str | None
) -> None:
    problems = check_successor(signature(*successor), signature(*current))

    assert (words is None and not problems) or (words is not None and words in problems[0]), problems


def test_without_a_signature_nobody_knows_whether_clients_break() -> None:
    known = signature(column("a"))

    assert "the successor has no signature" in check_successor(None, known)[0]
    assert "the current version has no signature" in check_successor(known, None)[0]


def test_outputs_that_clients_read_must_stay() -> None:
    def answering(*outputs: dict[str, Any]) -> Any:
        return read_signature(mlmodel(column("a"), outputs=json.dumps(outputs)))

    current = answering(column("label", "long"), column("score"))

    assert check_successor(current, current) == []
    assert check_successor(answering(column("label", "long")), current) == ["output 'score' was removed"]
    assert (
        "output 'label' is string" in check_successor(answering(column("label", "string"), column("score")), current)[0]
    )
