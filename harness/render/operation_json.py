"""The JSON Schema of the reports of commands that deploy, gate and judge, which ``trivet.operations.report_json`` writes."""

from __future__ import annotations

from typing import Any

from trivet.model.operation import KIND, OperationReport
from trivet.render.report_json import schema_of

SCHEMA_FILE = "operation-report.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the report, derived from its dataclass."""
    computed = {
        "exitCode": {
            "enum": [0, 1, 2],
            "description": "0 as wished, or nothing to do. 1 the gate failed, or the canary is rolled back. 2 undecided.",
        }
    }
    return schema_of(OperationReport, KIND, computed)
