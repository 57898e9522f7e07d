"""What MLflow and MLServer of a version refuse in the signature of an MLmodel. Imports neither, and judges no model.

A signature that MLflow cannot parse, or that MLServer cannot turn into the metadata of its protocol, keeps the model from
loading. The rules are those of ``ModelSignature.from_dict`` (mlflow 2.10.2 and 2.19.0 ``mlflow/types/schema.py``) and of
``to_metadata_tensors`` (MLServer 1.5.0 and 1.7.1 ``runtimes/mlflow/mlserver_mlflow/metadata.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from trivet.errors import UsageError

Version = tuple[int, int]

SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
"""mlflow 2.10.2 and 2.19.0 mlflow/types/schema.py, DataType."""

OF_NUMPY = {
    "bool": "boolean",
    "int8": "integer",
    "int16": "integer",
    "int32": "integer",
    "int64": "long",
    "int": "long",
    "float16": "float",
    "float32": "float",
    "float64": "double",
    "str": "string",
    "object": "string",
    "bytes": "binary",
    "datetime64": "datetime",
    "datetime64[ns]": "datetime",
}
"""Names that people write from NumPy and pandas, and MLflow's name of the type."""

# The first and last MLflow (major, minor) whose ModelSignature.from_dict reads a column with this trait. Executed with
# 2.3.2, 2.9.2, 2.10.2, 2.11.3, 2.15.1, 2.16.2, 2.17.2, 2.18.0, 2.19.0 and 3.17.2; 2.12 for map is from 2.12.2.
READABLE: Mapping[str, tuple[Version, Version | None]] = {
    "required": ((2, 10), None),
    "optional": ((2, 6), (2, 17)),
    "array": ((2, 10), None),
    "object": ((2, 10), None),
    "map": ((2, 12), None),
    "sparkml_vector": ((2, 16), None),
    "any": ((2, 19), None),
}

MAX_DEPTH = 100
"""Mappings and lists within one another that are read; Python's JSON reader, which MLflow uses, ends below 1000."""

MLSERVER_READS_NESTED = (1, 7)
"""The first MLServer that has metadata for columns that are no scalars (1.6.1 has not, 1.7.0 has)."""

MLSERVER_TRUNCATES_BEFORE = (1, 6)
"""The first MLServer with Pydantic 2, which refuses a fraction where a whole number is declared; Pydantic 1 truncates it."""

_DTYPES: Mapping[str, str] = {
    alias: code
    for code, aliases in {
        "b1": "? bool bool_ bool8",
        "i1": "b byte int8",
        "i2": "h short int16",
        "i4": "i intc int32",
        "i8": "l q p int long longlong intp int_ int0 int64",
        "u1": "B ubyte uint8",
        "u2": "H ushort uint16",
        "u4": "I uintc uint32",
        "u8": "L Q P uint ulong ulonglong uintp uint0 uint64",
        "f2": "e half float16",
        "f4": "f single float32",
        "f8": "d double float_ float float64",
        "f16": "g longdouble longfloat float128",
        "c8": "F csingle singlecomplex complex64",
        "c16": "D cdouble cfloat complex_ complex complex128",
        "c32": "G clongdouble clongfloat longcomplex complex256",
        "O": "object object_ object0",
        "S": "a bytes bytes_ bytes0 string_",
        "U": "str str_ str0 unicode unicode_",
        "V": "void void0",
        "M8": "M datetime64",
        "m8": "m timedelta64",
    }.items()
    for alias in (code, *aliases.split())
}
"""Names of dtypes of NumPy 1.26 on Linux (numpy.sctypeDict) → code."""

_SIZES = {"b": "1", "i": "1248", "u": "1248", "f": ("2", "4", "8", "16"), "c": ("8", "16", "32")}
_UNIT = r"(\[\d*(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?"


def reading_problems(written: Mapping[str, Any], *, mlflow: str, mlserver: str | None = None) -> list[str]:
    """Why MLflow ``mlflow`` cannot parse the ``signature`` of an MLmodel, or MLServer ``mlserver`` cannot use it; empty when both can.

    Raises UsageError for a version that is none.
    """
    reader, server = _version(mlflow, "MLflow"), _version(mlserver, "MLServer") if mlserver else None
    problems = []
    for side in ("inputs", "outputs"):
        if text := written.get(side):
            found = list(_schema_problems(side, text, mlflow, reader))
            problems += found or (list(_metadata_problems(side, text, str(mlserver), server)) if server else [])
    if text := written.get("params"):
        problems += _params_problems(text, mlflow)
    return problems


def _version(text: str, whose: str) -> Version:
    if not (found := re.match(r"(\d+)\.(\d+)", text)):
        raise UsageError(f"{text!r} is not a version of {whose}", remedy="use a version such as 2.10.2")
    return int(found[1]), int(found[2])


def _entries(part: str, text: Any, mlflow: str) -> tuple[list[Mapping[str, Any]], str]:
    """The entries of a part of the signature, and why MLflow does not get that far."""
    if not isinstance(text, str):
        return [], f"{part}: mlflow {mlflow} reads a text that holds JSON, and this is {_kind(text)}"
    try:
        entries = json.loads(text)
    except ValueError as error:
        return [], f"{part}: {text[:80]!r} is no JSON: {error}"
    except RecursionError:
        return [], f"{part}: the JSON is nested deeper than {MAX_DEPTH} levels"
    if _is_deeper(entries, MAX_DEPTH):
        return [], f"{part}: the JSON is nested deeper than {MAX_DEPTH} levels"
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        return [], f"{part}: mlflow {mlflow} reads a list of objects, and this is {text[:80]!r}"
    return entries, ""


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        if not level:
            return False
        level = [
            member
            for each in level
            if isinstance(each, dict | list)
            for member in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(level)


def _schema_problems(side: str, text: Any, mlflow: str, reader: Version) -> Iterator[str]:
    entries, problem = _entries(side, text, mlflow)
    if problem:
        yield problem
        return
    if not entries:
        yield f"{side}: mlflow {mlflow} refuses an empty list; leave the side out"
        return
    problems = [found for entry in entries for found in _entry_problems(entry, mlflow, reader)]
    yield from problems
    if problems:
        return
    tensors = [entry["type"] == "tensor" for entry in entries]
    unnamed = [entry.get("name") is None for entry in entries]
    optional = [entry.get("required") is False or entry.get("optional") is True for entry in entries]
    if any(unnamed) and not all(unnamed):
        yield f"{side}: mlflow {mlflow} refuses named entries beside unnamed ones"
    elif any(tensors) and not all(tensors):
        yield f"{side}: mlflow {mlflow} refuses columns beside tensors"
    elif all(tensors) and len(entries) > 1 and any(unnamed):
        yield f"{side}: mlflow {mlflow} refuses several tensors without names"
    elif all(unnamed) and any(optional) and not any(tensors):
        yield f"{side}: mlflow {mlflow} refuses optional columns without names"


def _entry_problems(entry: Mapping[str, Any], mlflow: str, reader: Version) -> Iterator[str]:
    kind = entry.get("type")
    label = _label(entry)
    if kind is None:
        yield f"{label}: mlflow {mlflow} needs its `type`"
    elif kind == "tensor":
        yield from _tensor_problems(entry, label, mlflow)
    elif (
        isinstance(kind, str)
        and kind in READABLE
        and kind not in ("required", "optional")
        and reader >= READABLE[kind][0]
    ):
        yield from _nested_problems(entry, label, mlflow, reader)
    else:
        allowed = {"type", "name", *(key for key in ("required", "optional") if _reads(key, reader))}
        for key in ("required", "optional"):
            if key in entry and not _reads(key, reader):
                yield _unreadable(label, key, mlflow, reader)
        if unknown := sorted(set(entry) - {*allowed, "required", "optional"}):
            yield f"{label}: mlflow {mlflow} does not know {', '.join(unknown)}"
        if (
            "optional" in allowed
            and "required" in allowed
            and None not in (entry.get("required"), entry.get("optional"))
        ):
            yield f"{label}: mlflow {mlflow} refuses `optional` beside `required`"
        yield from _type_problems(kind, label, mlflow, reader)


def _reads(trait: str, reader: Version) -> bool:
    first, last = READABLE[trait]
    return first <= reader and (last is None or reader <= last)


def _unreadable(label: str, trait: str, mlflow: str, reader: Version) -> str:
    first, last = READABLE[trait]
    if reader < first:
        return f"{label}: mlflow {mlflow} cannot read {trait!r}, which needs {_dotted(first)} or later"
    assert last is not None
    return f"{label}: mlflow {mlflow} cannot read {trait!r}, which versions after {_dotted(last)} do not support"


def _type_problems(kind: Any, label: str, mlflow: str, reader: Version) -> Iterator[str]:
    """A type that must be a scalar's."""
    if kind in SCALARS:
        return
    if isinstance(kind, str) and kind in READABLE and kind not in ("required", "optional"):
        yield _unreadable(label, kind, mlflow, reader)
    else:
        meant = OF_NUMPY.get(kind, "") if isinstance(kind, str) else ""
        instead = f"which is {meant!r} in MLflow" if meant else f"but {', '.join(SCALARS)}"
        yield f"{label}: mlflow {mlflow} has no type {kind!r}, {instead}"


def _nested_problems(spec: Any, label: str, mlflow: str, reader: Version) -> Iterator[str]:
    """The type below a column, an item, a value or a property."""
    kind = spec.get("type") if isinstance(spec, Mapping) else None
    if kind is None:
        yield f"{label}: mlflow {mlflow} needs an object with `type` below it"
    elif kind in ("any", "sparkml_vector") and reader >= READABLE[kind][0]:
        return
    elif kind in ("array", "map") and reader >= READABLE[kind][0]:
        key = "items" if kind == "array" else "values"
        if not isinstance(spec.get(key), Mapping):
            yield f"{label}: mlflow {mlflow} needs `{key}` of the {kind}, an object"
        else:
            yield from _nested_problems(spec[key], label, mlflow, reader)
    elif kind == "object" and reader >= READABLE[kind][0]:
        yield from _object_problems(spec.get("properties"), label, mlflow, reader)
    else:
        yield from _type_problems(kind, label, mlflow, reader)


def _object_problems(properties: Any, label: str, mlflow: str, reader: Version) -> Iterator[str]:
    if (
        not isinstance(properties, Mapping)
        or not properties
        or not all(isinstance(each, Mapping) for each in properties.values())
    ):
        yield f"{label}: mlflow {mlflow} needs `properties` of the object, each an object, and at least one"
        return
    for name, each in properties.items():
        if each.get("type") == "sparkml_vector" and reader >= READABLE["sparkml_vector"][0]:
            yield f"{label}: mlflow {mlflow} refuses a sparkml_vector as the property {name!r}"
        else:
            yield from _nested_problems(each, f"{label}, property {name!r}", mlflow, reader)


def _tensor_problems(entry: Mapping[str, Any], label: str, mlflow: str) -> Iterator[str]:
    spec = entry.get("tensor-spec")
    if not isinstance(spec, Mapping) or not {"dtype", "shape"} <= set(spec):
        yield f"{label}: mlflow {mlflow} needs a `tensor-spec` with `dtype` and `shape`"
        return
    if isinstance(spec["shape"], int | float) or spec["shape"] is None:
        yield f"{label}: mlflow {mlflow} reads a list as its shape, and this is {spec['shape']!r}"
    code = _dtype(spec["dtype"])
    if code is None:
        yield f"{label}: NumPy has no dtype {spec['dtype']!r}"
    elif re.fullmatch(r"[SU]\d*[1-9]\d*", code):
        yield f"{label}: mlflow {mlflow} refuses texts of a fixed size, as {spec['dtype']!r}; write 'str' or 'bytes'"


def _dtype(text: Any) -> str | None:
    """NumPy's code of a dtype, such as ``f8``, ``>f8``, ``U`` or ``M8``; None for what is none of NumPy 1.26's."""
    if not isinstance(text, str):
        return None
    if code := _DTYPES.get(text):
        return code
    if re.fullmatch(r"([<>=|]?[Mm]8|datetime64|timedelta64)" + _UNIT, text):
        return "M8"
    found = re.fullmatch(r"([<>=|]?)([?a-zA-Z])(\d*)", text)
    if not found:
        return None
    order, kind, size = found.groups()
    if kind in "SUVa":
        return f"{'S' if kind == 'a' else kind}{size}"
    if kind == "O":
        return "O" if size in ("", "8") else None
    if size and size not in _SIZES.get(kind, ()):
        return None
    code = f"{kind}{size}" if size else _DTYPES.get(kind)
    return code and (f">{code}" if order == ">" and code[1:] != "1" else code)


def _metadata_problems(side: str, text: str, mlserver: str, server: Version) -> Iterator[str]:
    """What MLServer makes of entries that MLflow has read."""
    lengths = (int, float) if server < MLSERVER_TRUNCATES_BEFORE else (int,)
    for entry in json.loads(text):
        label = _label(entry)
        if entry["type"] == "tensor":
            spec = entry["tensor-spec"]
            if not re.fullmatch(r"b1|[iu][1248]|f[248]|O|[SU].*", _dtype(spec["dtype"]) or ""):
                yield f"{side}, {label}: MLServer {mlserver} has no datatype for tensors of {spec['dtype']!r}"
            elif not isinstance(spec["shape"], list) or not all(
                isinstance(length, lengths) for length in spec["shape"]
            ):
                yield f"{side}, {label}: MLServer {mlserver} reads whole numbers as its shape, and this is {spec['shape']!r}"
        elif entry["type"] not in SCALARS and server < MLSERVER_READS_NESTED:
            yield (
                f"{side}, {label}: MLServer {mlserver} has no datatype for columns of the type {entry['type']!r}, which needs "
                f"{_dotted(MLSERVER_READS_NESTED)} or later"
            )


def _params_problems(text: Any, mlflow: str) -> Iterator[str]:
    entries, problem = _entries("params", text, mlflow)
    if problem:
        yield problem
        return
    seen = set()
    for entry in entries:
        kind = entry.get("type") or entry.get("dtype")
        label = f"param {entry.get('name')!r}"
        if not {"name", "default"} <= set(entry) or not {"type", "dtype"} & set(entry):
            yield f"{label}: mlflow {mlflow} needs its `name`, `type` and `default`"
        elif kind not in SCALARS or kind == "binary":
            yield f"{label}: mlflow {mlflow} has no params of the type {kind!r}, but {', '.join(k for k in SCALARS if k != 'binary')}"
        elif not _fits(entry["default"], entry.get("shape"), str(kind)):
            shape = f" of shape {entry['shape']}" if entry.get("shape") is not None else ""
            yield f"{label}: mlflow {mlflow} refuses the default {entry['default']!r} for {kind}{shape}"
        if str(entry.get("name")) in seen:
            yield f"{label}: mlflow {mlflow} refuses two params of one name"
        seen.add(str(entry.get("name")))


def _fits(default: Any, shape: Any, kind: str) -> bool:
    """Whether a default is a value of the type, or with the shape ``[-1]`` a list of such (mlflow 2.19.0, validate_type_and_shape)."""
    if shape is None:
        return _is_value(default, kind)
    return shape == [-1] and isinstance(default, list) and all(_is_value(each, kind) for each in default)


def _is_value(value: Any, kind: str) -> bool:
    if value is None:
        return True
    if kind == "datetime":
        return isinstance(value, str) and _is_moment(value)
    types: dict[str, tuple[type, ...]] = {
        "boolean": (bool,),
        "integer": (int,),
        "long": (int,),
        "float": (int, float),
        "double": (int, float),
        "string": (str,),
    }
    return type(value) in types[kind]


def _is_moment(text: str) -> bool:
    if re.fullmatch(r"\d{4}(-\d{2})?", text):
        return True
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _label(entry: Mapping[str, Any]) -> str:
    what = "tensor" if entry.get("type") == "tensor" else "column"
    return f"{what} {entry['name']!r}" if entry.get("name") else f"an unnamed {what}"


def _kind(value: Any) -> str:
    return {dict: "a mapping", list: "a list", bool: "a truth value"}.get(type(value), f"{value!r}")


def _dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
