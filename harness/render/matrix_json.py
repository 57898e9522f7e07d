"""matrix.json: the matrix as a versioned API object, and its JSON Schema."""

from __future__ import annotations

import json
from typing import Any

from trivet.model.matrix import MATRIX_REPORT, MATRIX_VERSION, MatrixReport
from trivet.toolkit.encoding import encodable

filename = "matrix.json"

SCHEMA_FILE = "matrix-report.schema.json"
"""The published schema, in the folder of this module; :func:`schema_text` is its content."""

_COMPUTED = ("exitCode", "judged", "reused")


def write(report: MatrixReport) -> str:
    """The report as indented JSON, with the computed fields ``exitCode``, ``judged`` and ``reused`` first."""
    import msgspec

    fields = encodable(msgspec.to_builtins(report))
    head = {
        "apiVersion": fields.pop("apiVersion"),
        "kind": fields.pop("kind"),
        "exitCode": report.exit_code,
        "judged": report.judged,
        "reused": report.reused,
    }
    for cell, written in zip(report.cells, fields["cells"], strict=True):
        written["verdict"] = cell.verdict
    return msgspec.json.format(msgspec.json.encode(head | fields), indent=2).decode() + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of matrix.json."""
    import msgspec

    from trivet.model.report import VERDICTS

    definitions: dict[str, Any]
    (reference,), definitions = msgspec.json.schema_components([MatrixReport], ref_template="#/$defs/{name}")
    root: dict[str, Any] = definitions.pop(reference["$ref"].rpartition("/")[2])
    number = {"type": "integer", "minimum": 0}
    root["properties"] |= {"apiVersion": {"const": MATRIX_VERSION}, "kind": {"const": MATRIX_REPORT}}
    root["properties"] |= dict.fromkeys(_COMPUTED, number)
    definitions["Cell"]["properties"]["verdict"] = {"enum": list(VERDICTS)}
    for definition in (root, *definitions.values()):
        # Every field is written, also those for which the dataclass has a default.
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | root | {"$defs": definitions}


def schema_text() -> str:
    """The content of :data:`SCHEMA_FILE`."""
    return json.dumps(schema(), indent=2) + "\n"
