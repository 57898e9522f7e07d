"""matrix.json: the matrix as a versioned API object, and its JSON Schema."""

from __future__ import annotations

from typing import Any

from trivet.model.matrix import MATRIX_REPORT, MATRIX_VERSION, Cell, MatrixReport
from trivet.render.report_json import computed_of_runs, fields_of_runs, json_text, schema_of_runs

filename = "matrix.json"

SCHEMA_FILE = "matrix-report.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def write(report: MatrixReport) -> str:
    """The report as indented JSON, with the computed fields ``exitCode``, ``judged`` and ``reused`` first."""
    return json_text(fields_of_runs(report, "cells"), computed_of_runs(report))


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of matrix.json, derived from the dataclasses."""
    meaning = "0 every cell is conformant. 1 a MUST failed in a cell. 2 a cell is inconclusive, or there is none."
    return schema_of_runs(MatrixReport, MATRIX_REPORT, Cell, runs="cells", meaning=meaning, version=MATRIX_VERSION)
