"""The difference of two reports as a versioned API object in JSON, and its JSON Schema."""

from __future__ import annotations

from typing import Any

from trivet.model.difference import KIND, ReportDifference
from trivet.render.report_json import fields_of, json_text, schema_of

SCHEMA_FILE = "report-difference.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def write(difference: ReportDifference) -> str:
    """The difference as indented JSON, with the computed field ``exitCode``."""
    return json_text(fields_of(difference), {"exitCode": difference.exit_code})


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of what :func:`write` writes."""
    exit_code = {"enum": [0, 1, 2], "description": "0 nothing newly failed. 1 a MUST newly failed. 2 inconclusive."}
    return schema_of(ReportDifference, KIND, {"exitCode": exit_code})
