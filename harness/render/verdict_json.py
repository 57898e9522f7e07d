"""verdict.json: the verdict on an upgrade as a versioned API object, and its JSON Schema."""

from __future__ import annotations

from typing import Any

from trivet.model.report import VERDICTS
from trivet.model.verdict import VERDICT_REPORT, VERDICT_VERSION, UpgradeVerdict
from trivet.render.report_json import COUNT, fields_of, json_text, schema_of

filename = "verdict.json"

SCHEMA_FILE = "upgrade-verdict.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def write(report: UpgradeVerdict) -> str:
    """The verdict as indented JSON, with the computed fields ``exitCode``, ``judged`` and ``reused`` first."""
    fields = fields_of(report)
    for mix, written in zip(report.mixes, fields["mixes"], strict=True):
        written["verdict"] = mix.verdict
    return json_text(fields, {"exitCode": report.exit_code, "judged": report.judged, "reused": report.reused})


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of verdict.json, derived from the dataclasses."""
    computed = {
        "exitCode": {
            "enum": [0, 1, 2],
            "description": "0 there is a safe order, and no file or model newly fails. 1 there is none, or one does. 2 inconclusive.",
        },
        "judged": {**COUNT, "description": "The number of results that were judged, in all mixes."},
        "reused": {**COUNT, "description": "The number of results that mixes have from the results store."},
    }
    schema = schema_of(UpgradeVerdict, VERDICT_REPORT, computed, version=VERDICT_VERSION)
    mix = schema["$defs"]["Mix"]
    mix["properties"]["verdict"] = {"enum": list(VERDICTS), "description": "The verdict that belongs to exit_code."}
    mix["required"].append("verdict")
    return schema
