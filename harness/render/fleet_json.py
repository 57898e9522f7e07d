"""fleet.json: writes and reads a report on a fleet as a versioned API object."""

from __future__ import annotations

from typing import Any

from trivet.model.fleet import KIND, FleetReport, ModelVerdict
from trivet.render.report_json import COUNT, decode, fields_of, json_text, schema_of

filename = "fleet.json"

SCHEMA_FILE = "fleet-report.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def write(report: FleetReport) -> str:
    """The report as indented JSON, with the computed fields ``exitCode`` and ``verdicts`` first."""
    verdicts = {verdict.value: number for verdict, number in report.verdicts.items()}
    return json_text(fields_of(report), {"exitCode": report.exit_code, "verdicts": verdicts})


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
