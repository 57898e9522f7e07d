"""report.json: the whole report as a versioned API object, its JSON Schema, and the way back."""

from __future__ import annotations

from typing import Any

from trivet.errors import UsageError
from trivet.model.outcome import Outcome
from trivet.model.report import API_VERSION, KIND, VERDICTS, ConformanceReport

filename = "report.json"

SCHEMA_FILE = "conformance-report.schema.json"
"""The published schema, beside this module; :func:`schema` makes it."""


def write(report: ConformanceReport) -> str:
    """The report with what is computed from it (``verdict``, ``exitCode``, ``summary``) in front, indented."""
    import msgspec

    fields = encodable(msgspec.to_builtins(report))
    document = {
        "apiVersion": fields.pop("apiVersion"),
        "kind": fields.pop("kind"),
        "verdict": report.verdict,
        "exitCode": report.exit_code,
        "summary": {"contracts": len(report.contracts)} | {outcome.value: report.count(outcome) for outcome in Outcome},
    }
    return msgspec.json.format(msgspec.json.encode(document | fields), indent=2).decode() + "\n"


def read(text: str) -> ConformanceReport:
    """The report that :func:`write` wrote; computed fields are computed anew. Raises UsageError for anything else."""
    import msgspec

    try:
        report = msgspec.json.decode(text, type=ConformanceReport)
    except msgspec.DecodeError as error:
        raise UsageError(
            f"not a {KIND}: {error}", remedy="name a report.json that trivet wrote; its schema is published with trivet"
        ) from error
    if (report.apiVersion, report.kind) != (API_VERSION, KIND):
        raise UsageError(
            f"the report is a {report.kind} of {report.apiVersion}",
            remedy=f"this trivet reads {KIND} of {API_VERSION}; write the report anew",
        )
    return report


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of what :func:`write` writes, derived from the dataclasses."""
    import msgspec

    definitions: dict[str, Any]
    (reference,), definitions = msgspec.json.schema_components([ConformanceReport], ref_template="#/$defs/{name}")
    root: dict[str, Any] = definitions.pop(reference["$ref"].rpartition("/")[2])
    count = {"type": "integer", "minimum": 0}
    computed = {
        "verdict": {"enum": list(VERDICTS), "description": "Follows from exitCode."},
        "exitCode": {
            "enum": [0, 1, 2],
            "description": "0 conformant: every applicable MUST passed, and there was one. 1 a MUST failed. 2 could not tell.",
        },
        "summary": {
            "type": "object",
            "description": "How many contracts the report holds, and how many came to each outcome.",
            "properties": dict.fromkeys(("contracts", *Outcome), count),
            "required": ["contracts", *Outcome],
        },
    }
    root["properties"] |= {"apiVersion": {"const": API_VERSION}, "kind": {"const": KIND}} | computed
    for definition in (root, *definitions.values()):
        # The writer leaves no field out, whether or not the dataclass has a default for it.
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | root | {"$defs": definitions}


def schema_text() -> str:
    """The content of :data:`SCHEMA_FILE`."""
    import json

    return json.dumps(schema(), indent=2) + "\n"


def encodable(value: Any) -> Any:
    """``value`` with text that any UTF-8 file can hold."""
    # Logs that were decoded with "surrogateescape" hold halves of pairs, which no UTF-8 file can.
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    return value
