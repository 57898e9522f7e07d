"""The difference of two reports as a versioned API object in JSON, and its JSON Schema."""

from __future__ import annotations

from typing import Any

from trivet.model.difference import KIND, ReportDifference
from trivet.render.report_json import schema_of
from trivet.toolkit.encoding import encodable

SCHEMA_FILE = "report-difference.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def write(difference: ReportDifference) -> str:
    """The difference as indented JSON, with the computed field ``exitCode``."""
    import msgspec

    fields = encodable(msgspec.to_builtins(difference))
    head = {"apiVersion": fields.pop("apiVersion"), "kind": fields.pop("kind"), "exitCode": difference.exit_code}
    return msgspec.json.format(msgspec.json.encode(head | fields), indent=2).decode() + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of what :func:`write` writes."""
    exit_code = {"enum": [0, 1, 2], "description": "0 nothing newly failed. 1 a MUST newly failed. 2 inconclusive."}
    return schema_of(ReportDifference, KIND, {"exitCode": exit_code})
