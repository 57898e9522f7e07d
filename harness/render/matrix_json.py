"""matrix.json: the matrix as a versioned API object, and its JSON Schema."""

from __future__ import annotations

from typing import Any

from trivet.model.matrix import MATRIX_REPORT, MATRIX_VERSION, MatrixReport
from trivet.model.report import VERDICTS
from trivet.render.report_json import COUNT, fields_of, json_text, schema_of

filename = "matrix.json"

SCHEMA_FILE = "matrix-report.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def write(report: MatrixReport) -> str:
    """The report as indented JSON, with the computed fields ``exitCode``, ``judged`` and ``reused`` first."""
    fields = fields_of(report)
    for cell, written in zip(report.cells, fields["cells"], strict=True):
        written["verdict"] = cell.verdict
    return json_text(fields, {"exitCode": report.exit_code, "judged": report.judged, "reused": report.reused})


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of matrix.json, derived from the dataclasses."""
    computed = {
        "exitCode": {
            "enum": [0, 1, 2],
            "description": "0 every cell is conformant. 1 a MUST failed in a cell. 2 a cell is inconclusive, or there is none.",
        },
        "judged": {**COUNT, "description": "The number of results that were judged, in all cells."},
        "reused": {**COUNT, "description": "The number of results that cells have from the results store."},
    }
    schema = schema_of(MatrixReport, MATRIX_REPORT, computed, version=MATRIX_VERSION)
    cell = schema["$defs"]["Cell"]
    cell["properties"]["verdict"] = {"enum": list(VERDICTS), "description": "The verdict that belongs to exit_code."}
    cell["required"].append("verdict")
    return schema
