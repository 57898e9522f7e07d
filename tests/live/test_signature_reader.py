"""The rules for signatures against the real readers: MLflow's and MLServer's of each runtime, on drawn and on listed signatures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from trivet.integration.signature_reader import reading_problems
from trivet.stacks.environments import build_environment
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

READER = """
import json, sys, warnings
warnings.simplefilter("ignore")
from mlflow.models import ModelSignature
from mlserver_mlflow.metadata import to_metadata_tensors, to_model_content_type

def problem(written):
    try:
        read = ModelSignature.from_dict(written)
    except Exception as error:
        return f"MLflow: {type(error).__name__}: {error}"
    try:
        for schema in (read.inputs, read.outputs):
            if schema is not None:
                to_metadata_tensors(schema=schema)
                to_model_content_type(schema=schema)
    except Exception as error:
        return f"MLServer: {type(error).__name__}: {error}"
    return ""

json.dump([problem(each) for each in json.load(sys.stdin)], sys.stdout)
"""

TYPES = [
    *("boolean", "integer", "long", "float", "double", "string", "binary", "datetime"),
    *("float64", "int64", "object", "array", "map", "any", "sparkml_vector", "Double", "", "tensor", 3, None),
]
DTYPES = [
    *("float64", "float32", "int64", "int32", "uint8", "bool", "object", "str", "bytes", "double", "datetime64[ns]"),
    *(
        "float16",
        "float128",
        "complex64",
        "bfloat16",
        "Int64",
        "category",
        "string",
        "<f8",
        ">f8",
        "|S1",
        "U10",
        "S",
        "i4",
        "f3",
        "?",
    ),
    *(
        "timedelta64[s]",
        "datetime64",
        "M8[us]",
        "datetime64[xs]",
        "void",
        "int",
        "float",
        "unicode",
        "b",
        "=i8",
        ">i1",
        "a5",
        "O8",
        "",
        5,
    ),
]
NAMES = st.sampled_from(["a", "b", "", None])
KINDS = st.sampled_from(TYPES)

NESTED: st.SearchStrategy[Any] = st.recursive(
    st.one_of(KINDS.map(lambda kind: {"type": kind}), st.sampled_from([{}, {"required": True}, "string", None])),
    lambda inner: st.one_of(
        inner.map(lambda each: {"type": "array", "items": each}),
        inner.map(lambda each: {"type": "map", "values": each}),
        st.dictionaries(st.sampled_from(["p", "q"]), inner, max_size=2).map(
            lambda each: {"type": "object", "properties": each}
        ),
    ),
    max_leaves=4,
)
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES,
        "required": st.sampled_from([True, True, False, None]),
        "optional": st.sampled_from([True, False, None]),
        "unit": st.just("m"),
    },
)
NAMED = st.fixed_dictionaries({"name": st.sampled_from("abc"), "required": st.booleans()})
COLUMN = st.tuples(
    st.one_of(KINDS.map(lambda kind: {"type": kind}), NESTED.filter(lambda each: isinstance(each, dict))),
    st.one_of(NAMED, KEYS),
).map(lambda both: {**both[0], **both[1]})
SHAPE = st.one_of(
    st.lists(st.sampled_from([-1, 0, 3]), max_size=3), st.sampled_from([None, 3, [None, 2], ["x"], [1.5]])
)
SPEC = st.one_of(
    st.fixed_dictionaries({"dtype": st.sampled_from(DTYPES), "shape": SHAPE}),
    st.fixed_dictionaries({"dtype": st.sampled_from(DTYPES[:11]), "shape": st.just([-1])}),
    st.sampled_from([{}, {"dtype": "int64"}, None, "int64"]),
)
TENSOR = st.tuples(SPEC, st.fixed_dictionaries({}, optional={"name": NAMES})).map(
    lambda both: {"type": "tensor", "tensor-spec": both[0], **both[1]}
)
PARAM: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["p", "q", "r"]),
        "default": st.sampled_from([None, 1, 1.5, "x", True, [1], [1.5, 2], ["x"], [], "2024-01-02", {}]),
    },
    optional={
        "type": st.sampled_from(
            ["integer", "long", "double", "float", "string", "boolean", "datetime", "binary", "object", "int"]
        ),
        "dtype": st.sampled_from(["integer", "double"]),
        "shape": st.sampled_from([None, [-1], [2], [-1, -1]]),
    },
)
SCHEMA = st.one_of(
    st.none(),
    st.lists(COLUMN, min_size=1, max_size=3).map(json.dumps),
    st.lists(TENSOR, min_size=1, max_size=2).map(json.dumps),
    st.lists(st.one_of(COLUMN, TENSOR), max_size=2).map(json.dumps),
    st.sampled_from(["", "[]", "{}", "[{", "null", "3", '["a"]', '[{"name": "a"}]', [{"type": "double"}], {"a": 1}]),
)
SIGNATURE = st.fixed_dictionaries(
    {"inputs": SCHEMA, "outputs": SCHEMA, "params": st.one_of(st.none(), st.lists(PARAM, max_size=2).map(json.dumps))}
).filter(lambda each: any(each.values()))


def drawn(number: int) -> list[dict[str, Any]]:
    """Signatures from a fixed seed."""
    found: list[dict[str, Any]] = []

    @seed(11)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(SIGNATURE)
    def collect(signature: dict[str, Any]) -> None:
        found.append(signature)

    collect()
    return found


@pytest.mark.parametrize("name", ["2024.11", "current"])
def test_the_rules_refuse_what_the_real_readers_refuse(name: str) -> None:
    stack = load_stack(name)
    runtime = stack.roles["runtime"]
    signatures = drawn(3000) + [
        {"inputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1]}}])} for dtype in DTYPES
    ]
    python: Path = build_environment(runtime).python
    ran = subprocess.run(
        [python, "-c", READER], input=json.dumps(signatures), capture_output=True, text=True, check=True, timeout=300
    )
    real = json.loads(ran.stdout)
    different = [
        (signature, theirs, ours)
        for signature, theirs in zip(signatures, real, strict=True)
        if bool(theirs)
        != bool(
            ours := reading_problems(signature, mlflow=runtime.pins["mlflow"], mlserver=stack.components["runtime"])
        )
    ]
    assert not different, "\n".join(
        f"{signature}\n  real: {theirs!r}\n  ours: {ours}" for signature, theirs, ours in different[:10]
    )
    assert 0.1 < sum(map(bool, real)) / len(real) < 0.95, "the drawn signatures are nearly all of one kind"
