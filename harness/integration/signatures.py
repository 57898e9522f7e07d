"""Model signatures: reads them from an ``MLmodel`` file, checks them for a version of MLflow, and builds and reads V2
requests by them.

The caller parses the YAML. The quality of predictions is out of scope.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivet.errors import PlatformError, UsageError
from trivet.integration.signature_reader import reading_problems

V2_DATATYPES = {
    "boolean": ("BOOL", ""),
    "integer": ("INT32", ""),
    "long": ("INT64", ""),
    "float": ("FP32", ""),
    "double": ("FP64", ""),
    "string": ("BYTES", "str"),
    "binary": ("BYTES", "base64"),
    "datetime": ("BYTES", "datetime"),
}
"""V2 datatype and content type of the tensor by MLflow's column type (mlserver-mlflow 1.5.0,
``mlserver_mlflow/metadata.py``)."""

_V2_OF_DTYPE = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}

_WHOLE = {"integer": 32, "long": 64}
_WIDER = {("integer", "long"), ("integer", "double"), ("float", "double")}
"""MLflow accepts a value of the first type in a column of the second (mlflow 2.10.2, ``mlflow/models/utils.py``,
``_enforce_mlflow_datatype``)."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: MLflow's type (``double``, ``string``, ``array`` …), its name, and whether rows must have it.
    ``spec`` is the JSON as written."""

    name: str
    type: str
    required: bool
    spec: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor: NumPy dtype and shape, with -1 for any length. The name is empty when the model takes a single array."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The declared inputs and outputs of a model, each empty when not declared. ``params`` maps names to types."""

    inputs: tuple[Column, ...] | tuple[Tensor, ...]
    outputs: tuple[Column, ...] | tuple[Tensor, ...]
    params: Mapping[str, str]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The inputs as columns; empty when they are tensors."""
        return tuple(entry for entry in self.inputs if isinstance(entry, Column))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs as tensors; empty when they are columns."""
        return tuple(entry for entry in self.inputs if isinstance(entry, Tensor))


def read_signature(mlmodel: Mapping[str, Any]) -> Signature | None:
    """The signature of a parsed ``MLmodel``; None when it has none. Raises UsageError for one that cannot be parsed."""
    written = mlmodel.get("signature")
    if not written:
        return None
    if not isinstance(written, Mapping):
        raise _broken(written)
    return Signature(
        inputs=_schema(written.get("inputs")),
        outputs=_schema(written.get("outputs")),
        params={str(p["name"]): str(p.get("type", p.get("dtype"))) for p in _entries(written.get("params"))},
    )


def check_signature(mlmodel: Mapping[str, Any], *, reader: str | None = None, server: str | None = None) -> list[str]:
    """The problems that a model's signature causes in serving; empty when there are none.

    ``reader`` is the MLflow version of the serving runtime (``2.10.2``), ``server`` its MLServer's: a signature that one of them cannot
    read prevents the model from loading.
    """
    written = mlmodel.get("signature")
    if isinstance(written, Mapping) and written and reader is not None:
        problems = reading_problems(written, mlflow=reader, mlserver=server)
        if problems:
            return problems
    try:
        signature = read_signature(mlmodel)
    except UsageError as error:
        return [error.message]
    if signature is None:
        return ["the model has no signature: inputs are not checked, and V2 requests fail without a content type"]
    return [
        f"the signature has no {side}: MLServer cannot load the model ('NoneType' object has no attribute 'inputs')"
        for side in ("inputs", "outputs")
        if not getattr(signature, side)
    ]


def check_rows(signature: Signature, rows: Sequence[Any]) -> list[str]:
    """The violations of the signature by rows, such as an input example; empty when the rows satisfy it.

    For columns a row maps column names to JSON values; for one unnamed tensor a row is a (nested) list, for named
    tensors it maps names to such lists. Rows that MLflow accepts only by chance are violations too: whole numbers only
    in a column that is declared double.
    """
    if not rows:
        return ["there are no rows"]
    if signature.tensors:
        return [problem for tensor in signature.tensors for problem in _check_tensor(tensor, _cells(tensor.name, rows))]
    problems = []
    for position, column in enumerate(signature.columns):
        name = column.name or position
        present = [row[name] for row in rows if _has(row, name)]
        if len(present) < len(rows) and column.required:
            problems.append(f"column {name!r}: missing from {len(rows) - len(present)} of {len(rows)} rows")
        problems += [
            f"column {name!r}: {text}" for text in _check_column(column.type, present, required=column.required)
        ]
    declared = {column.name for column in signature.columns}
    extra = sorted({str(key) for row in rows if isinstance(row, Mapping) for key in row} - declared)
    if extra and all(declared):
        problems.append(f"not in the signature: {', '.join(extra)}; MLflow drops such columns silently")
    return problems


def check_successor(successor: Signature | None, current: Signature | None) -> list[str]:
    """The breaking changes for clients of the ``current`` version when the ``successor`` replaces it; empty when there are
    none.

    Clients are assumed to send every column of the current version, with its type, and to read its outputs. A missing
    signature is a problem too, because compatibility is then unknown.
    """
    missing = [name for name, one in (("successor", successor), ("current version", current)) if one is None]
    if successor is None or current is None:
        return [
            f"the {' and the '.join(missing)} has no signature, so that compatibility with existing clients is unknown"
        ]
    if [type(one) for one in successor.inputs[:1]] != [type(one) for one in current.inputs[:1]]:
        return ["one version takes columns and the other tensors"]
    problems = []
    sent = _by_name(current.inputs)
    for key, wanted in _by_name(successor.inputs).items():
        label = _described(wanted)
        given = sent.get(key)
        if given is None:
            if not isinstance(wanted, Column) or wanted.required:
                problems.append(f"{label} is required, and clients of the current version do not send it")
        elif isinstance(given, Column) and isinstance(wanted, Column):
            if wanted.required and not given.required:
                problems.append(f"{label} is required, and was optional")
            if wanted.type != given.type and (given.type, wanted.type) not in _WIDER:
                problems.append(f"{label} is {wanted.type}, and clients send {given.type}")
            elif wanted.type == given.type and not _holds(wanted.spec, given.spec):
                problems.append(f"{label} holds other elements than clients send")
        elif not _takes(wanted, given):
            problems.append(f"{label} is {_kind(wanted)}, and clients send {_kind(given)}")
    answers = _by_name(successor.outputs)
    for key, read in _by_name(current.outputs).items():
        if key not in answers:
            problems.append(f"output {read.name or key!r} was removed")
        elif _kind(answers[key]) != _kind(read):
            problems.append(f"output {read.name or key!r} is {_kind(answers[key])}, and clients read {_kind(read)}")
    return problems


def v2_request(signature: Signature | None, rows: Sequence[Any]) -> dict[str, Any]:
    """The V2 inference request for rows (shaped as for :func:`check_rows`).

    Each column becomes one tensor of shape ``[rows]``: MLServer 1.5.0 turns the cells of ``[rows, 1]`` into tuples
    (measured; 1.7.1 accepts both). MLServer needs the content type ``pd`` on the request for a model without a
    signature; models with one accept it too. Without a signature the first row determines the datatypes. Nulls and NaN
    become JSON null. Raises UsageError for no rows, a missing required column and a type without a V2 tensor.
    """
    if not rows:
        raise UsageError("no rows to predict", remedy="pass at least one row")
    if signature is not None and signature.tensors:
        return _tensor_request(signature.tensors, rows)
    if signature is not None and signature.columns:
        columns = [(c.name or i, c.name or f"input-{i}", c.type, c.required) for i, c in enumerate(signature.columns)]
    else:
        columns = [(name, name, _type_of(value), True) for name, value in rows[0].items()]
    inputs = []
    for key, name, kind, required in columns:
        present = [_has(row, key) for row in rows]
        if not any(present) and not required:
            continue
        if not all(present) and required:
            raise UsageError(f"column {key!r} is missing", remedy="list the violations with check_rows")
        if kind not in V2_DATATYPES:
            raise UsageError(
                f"column {key!r} has type {kind}, which the V2 protocol has no tensor for", remedy="use scalar columns"
            )
        datatype, content_type = V2_DATATYPES[kind]
        tensor: dict[str, Any] = {"name": name, "shape": [len(rows)], "datatype": datatype}
        if content_type:
            tensor["parameters"] = {"content_type": content_type}
        tensor["data"] = [_json_value(row[key] if _has(row, key) else None, name) for row in rows]
        inputs.append(tensor)
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


def v2_values(body: Any) -> list[Any]:
    """The predictions in a V2 response, one per row: scalars, lists for wider outputs, mappings by name for several
    outputs.

    Raises PlatformError with the body when it is not such a response.
    """
    outputs = body.get("outputs") if isinstance(body, Mapping) else None
    if not outputs:
        raise PlatformError(f"no outputs in the response: {str(body)[:300]}", remedy="read the log of the runtime")
    columns = {output["name"]: _rows(output) for output in outputs}
    if len({len(values) for values in columns.values()}) != 1:
        raise PlatformError(f"outputs of different lengths: { {name: len(v) for name, v in columns.items()} }")
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _entries(text: Any) -> list[Mapping[str, Any]]:
    """MLmodel holds each schema as a JSON string."""
    if not text:
        return []
    try:
        entries = json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        raise _broken(text) from error
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise _broken(text)
    return entries


def _schema(text: Any) -> tuple[Column, ...] | tuple[Tensor, ...]:
    entries = _entries(text)
    try:
        if any(entry["type"] == "tensor" for entry in entries):
            return tuple(
                Tensor(
                    name=str(entry.get("name") or ""),
                    dtype=str(entry["tensor-spec"]["dtype"]),
                    shape=tuple(int(length) for length in entry["tensor-spec"]["shape"]),
                )
                for entry in entries
            )
        return tuple(
            Column(
                name=str(entry.get("name") or ""),
                type=str(entry["type"]),
                required=bool(entry.get("required", not entry.get("optional", False))),
                spec=entry,
            )
            for entry in entries
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(text) from error


def _broken(text: Any) -> UsageError:
    return UsageError(
        f"the signature in MLmodel cannot be parsed: {str(text)[:200]!r}",
        remedy="log the model again; inputs, outputs and params are strings that hold JSON lists",
    )


def _described(entry: Column | Tensor) -> str:
    what = "column" if isinstance(entry, Column) else "tensor"
    return f"{what} {entry.name!r}" if entry.name else f"an unnamed {what}"


def _by_name(entries: Sequence[Column | Tensor]) -> dict[str | int, Column | Tensor]:
    """Entries by name, or by position without one."""
    return {entry.name or position: entry for position, entry in enumerate(entries)}


def _kind(entry: Column | Tensor) -> str:
    return entry.type if isinstance(entry, Column) else f"{entry.dtype} {list(entry.shape)}"


def _holds(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Whether an array, object or map of the type ``given`` is one of the type ``wanted``; both are JSON as MLflow writes it."""
    if wanted.get("type") != given.get("type"):
        return (given.get("type"), wanted.get("type")) in _WIDER
    inner = [name for name in ("items", "values") if isinstance(wanted.get(name), Mapping)]
    if not all(_holds(wanted[name], _entry(given.get(name))) for name in inner):
        return False
    sent = _entry(given.get("properties"))
    return all(
        _holds(one, _entry(sent[name])) if name in sent else not one.get("required", True)
        for name, one in _entry(wanted.get("properties")).items()
        if isinstance(one, Mapping)
    )


def _entry(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _takes(wanted: Column | Tensor, given: Column | Tensor) -> bool:
    """Whether every tensor of the shape ``given`` fits ``wanted``."""
    if not isinstance(wanted, Tensor) or not isinstance(given, Tensor):
        return False
    fits = all(want in (-1, have) for want, have in zip(wanted.shape, given.shape, strict=False))
    return wanted.dtype == given.dtype and len(wanted.shape) == len(given.shape) and fits


def _has(row: Any, key: str | int) -> bool:
    if isinstance(key, int) and not isinstance(row, Mapping):
        return key < len(row)
    return key in row


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _check_column(kind: str, values: Sequence[Any], *, required: bool) -> list[str]:
    nulls = [value for value in values if _is_null(value)]
    there = [value for value in values if not _is_null(value)]
    problems = []
    if nulls and required and kind not in ("float", "double", "string", "any", "datetime"):
        problems.append(f"null in a {kind} column, which cannot hold it: pandas converts such a column to floats")
    wrong = [value for value in there if not _fits(kind, value)]
    if wrong:
        others = f", and {len(wrong) - 1} other values are not either" if len(wrong) > 1 else ""
        problems.append(f"{wrong[0]!r} is not of type {kind}{others}")
    elif kind in ("float", "double") and there and not nulls and all(isinstance(value, int) for value in there):
        problems.append(
            f"declared {kind}, but every value is a whole number: pandas makes them int64, which MLflow rejects "
            "(from 2.16 on only zeros and ones pass)"
        )
    return problems


def _fits(kind: str, value: Any) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in _WHOLE:
        return type(value) is int and -(2 ** (_WHOLE[kind] - 1)) <= value < 2 ** (_WHOLE[kind] - 1)
    if kind in ("float", "double"):
        return type(value) in (int, float)
    if kind in ("string", "datetime"):
        return isinstance(value, str)
    if kind == "binary":
        return isinstance(value, str | bytes)
    if kind in ("array", "sparkml_vector"):
        return isinstance(value, list | tuple)
    if kind in ("object", "map"):
        return isinstance(value, Mapping)
    return True


def _cells(name: str, rows: Sequence[Any]) -> list[Any]:
    if not name:
        return list(rows)
    return [row.get(name) if isinstance(row, Mapping) else None for row in rows]


def _check_tensor(tensor: Tensor, rows: list[Any]) -> list[str]:
    label = f"tensor {tensor.name!r}" if tensor.name else "the tensor"
    shapes = {_shape(row) for row in rows}
    if None in shapes or len(shapes) > 1:
        return [f"{label}: the rows have no common shape"]
    shape = (len(rows), *(shapes.pop() or ()))
    if len(shape) != len(tensor.shape) or any(
        want not in (-1, have) for want, have in zip(tensor.shape, shape, strict=False)
    ):
        return [f"{label}: shape {list(shape)}, declared {list(tensor.shape)}"]
    kind = "boolean" if tensor.dtype == "bool" else "long" if "int" in tensor.dtype else "double"
    if tensor.dtype not in _V2_OF_DTYPE:
        return []
    wrong = [value for value in _flat(rows) if not _fits(kind, value)]
    return [f"{label}: {wrong[0]!r} is not of type {tensor.dtype}"] if wrong else []


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a nested list; None when it is ragged or missing."""
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        return ()
    inner = {_shape(item) for item in value}
    if None in inner or len(inner) > 1:
        return None
    return (len(value), *(inner.pop() or () if inner else ()))


def _flat(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _flat(item)] if isinstance(value, list | tuple) else [value]


def _tensor_request(tensors: tuple[Tensor, ...], rows: Sequence[Any]) -> dict[str, Any]:
    inputs = []
    for position, tensor in enumerate(tensors):
        cells = _cells(tensor.name, rows)
        shape = _shape(cells)
        if shape is None:
            raise UsageError(
                f"tensor {tensor.name!r}: the rows have no common shape", remedy="make every row the same shape"
            )
        inputs.append(
            {
                "name": tensor.name or f"input-{position}",
                "shape": list(shape),
                "datatype": _V2_OF_DTYPE.get(tensor.dtype, "BYTES"),
                "data": [_json_value(leaf, tensor.name) for leaf in _flat(cells)],
            }
        )
    # MLServer's codecs: a dictionary of arrays, or one array (mlserver_mlflow/metadata.py, to_model_content_type)
    return {"parameters": {"content_type": "dict" if tensors[0].name else "np"}, "inputs": inputs}


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "long" if isinstance(value, int) else "double" if isinstance(value, float) else "string"


def _json_value(value: Any, name: str) -> Any:
    if _is_null(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        raise UsageError(f"column {name!r} holds an infinity, which JSON cannot represent", remedy="leave the row out")
    return value


def _rows(output: Mapping[str, Any]) -> list[Any]:
    """The data of a tensor along its first axis; a second axis of length one is dropped, and nested data is kept."""
    shape = [int(length) for length in output.get("shape", [])]
    data = _flat(output.get("data", []))
    if math.prod(shape) != len(data) or not shape:
        raise PlatformError(f"output {output.get('name')!r} has {len(data)} values, but its shape is {shape}")
    if shape[1:] == [1]:
        shape = shape[:1]
    return list(_nested(data, shape))


def _nested(data: list[Any], shape: list[int]) -> list[Any]:
    if len(shape) == 1:
        return data
    step = len(data) // shape[0] if shape[0] else 0
    return [_nested(data[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]
