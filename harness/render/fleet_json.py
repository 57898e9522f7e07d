"""fleet.json: writes and reads a report on a fleet as a versioned API object."""

from __future__ import annotations

from typing import Any

from trivet.model.fleet import KIND, FleetReport, ModelVerdict
from trivet.render.report_json import COUNT, decode, schema_of
from trivet.toolkit.encoding import encodable

filename = "fleet.json"

SCHEMA_FILE = "fleet-report.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def write(report: FleetReport) -> str:
    """The report as indented JSON, with the computed fields ``exitCode`` and ``verdicts`` first."""
    import msgspec

    fields = encodable(msgspec.to_builtins(report))
    head = {
        "apiVersion": fields.pop("apiVersion"),
        "kind": fields.pop("kind"),
        "exitCode": report.exit_code,
        "verdicts": {verdict.value: number for verdict, number in report.verdicts.items()},
    }
    return msgspec.json.format(msgspec.json.encode(head | fields), indent=2).decode() + "\n"


def read(text: str) -> FleetReport:
    """The report that :func:`write` wrote. Raises UsageError for anything else, naming both versions if the version differs."""
    return decode(text, FleetReport, KIND, filename)


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of fleet.json, derived from the dataclasses."""
    computed = {
        "exitCode": {
            "enum": [0, 1, 2, 3],
            "description": "0 nothing breaks. 1 a model breaks. 2 unknown for some, or no model was judged. 3 wrong usage.",
        },
        "verdicts": {
            "type": "object",
            "description": "The number of models by verdict.",
            "properties": dict.fromkeys(ModelVerdict, COUNT),
            "required": list(ModelVerdict),
        },
    }
    return schema_of(FleetReport, KIND, computed)
