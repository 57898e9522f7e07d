"""report.json: writes and reads the whole report as a versioned API object, and derives its JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from trivet.errors import UsageError
from trivet.model.outcome import Outcome
from trivet.model.report import API_VERSION, KIND, VERDICTS, ConformanceReport
from trivet.toolkit.encoding import encodable

filename = "report.json"

SCHEMA_FILE = "conformance-report.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""

CHANGES = (
    "Changes from trivet.dev/v1alpha1: the verdict of exit code 2 is 'inconclusive' ('could not tell' before), and reports of "
    "scenarios have other fields; docs/reports.md lists them."
)
"""What the version of the schema changed."""

COUNT = {"type": "integer", "minimum": 0}
ACCEPTED = "accepted"

Report = TypeVar("Report")


def write(report: ConformanceReport) -> str:
    """The report as indented JSON, with the computed fields ``verdict``, ``exitCode`` and ``summary`` first."""
    computed = {
        "verdict": report.verdict,
        "exitCode": report.exit_code,
        "summary": {"contracts": len(report.contracts)}
        | {outcome.value: report.count(outcome) for outcome in Outcome}
        | {ACCEPTED: sum(result.accepted for result in report.contracts)},
    }
    return json_text(fields_of(report), computed)


def fields_of(report: Any) -> dict[str, Any]:
    """The fields of a report's dataclass as JSON values, with text that is valid UTF-8."""
    import msgspec

    fields: dict[str, Any] = encodable(msgspec.to_builtins(report))
    return fields


def fields_of_runs(report: Any, name: str) -> dict[str, Any]:
    """The fields of a report over several runs, which are its field ``name``, each with its computed ``verdict``."""
    fields = fields_of(report)
    for one, written in zip(getattr(report, name), fields[name], strict=True):
        written["verdict"] = one.verdict
    return fields


def computed_of_runs(report: Any) -> dict[str, Any]:
    """What writers compute of a report over several runs; :func:`schema_of_runs` describes it."""
    return {"exitCode": report.exit_code, "judged": report.judged, "reused": report.reused}


def json_text(fields: Mapping[str, Any], computed: Mapping[str, Any]) -> str:
    """A report as indented JSON: its version and kind, what its writer computed, then the other ``fields``."""
    import msgspec

    head = {name: fields[name] for name in ("apiVersion", "kind")}
    return msgspec.json.format(msgspec.json.encode({**head, **computed, **fields}), indent=2).decode() + "\n"


def read(text: str) -> ConformanceReport:
    """The report that :func:`write` wrote. Raises UsageError for anything else, naming both versions if the version differs."""
    return decode(text, ConformanceReport, KIND, filename)


def read_file(path: Path) -> ConformanceReport:
    """The report in a file. Raises UsageError, which names the file, for one that cannot be read or is no report of this version."""
    remedy = f"pass the {filename} that `trivet run --report DIR` or `trivet lint --report DIR` wrote"
    return read_in(path, read, KIND, remedy)


def read_in(path: Path, read: Callable[[str], Report], kind: str, remedy: str) -> Report:
    """What ``read`` makes of a file's text. Raises UsageError, which names the file."""
    try:
        return read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a {kind}: it is not text in UTF-8", remedy=remedy) from error
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", remedy=error.remedy) from error


def kind_of(path: Path) -> str:
    """The kind of the object in a file; empty if it has none, or cannot be read, about which reading it as a report says more."""
    import msgspec

    try:
        head = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return str(head.get("kind", ""))


def decode(text: str, type: type[Report], kind: str, name: str, version: str = API_VERSION) -> Report:
    """A report of ``kind`` as an object of the dataclass ``type``; ``name`` is the file's name, for messages.

    The version is compared before the fields are, since another version has other fields. Raises UsageError.
    """
    import msgspec

    remedy = f"pass a {name} that trivet wrote"
    try:
        head = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UsageError(f"not a {kind}: {error}", remedy=remedy) from error
    found = (head.get("kind"), head.get("apiVersion"))
    if found[0] != kind or not isinstance(found[1], str):
        raise UsageError(f"not a {kind}: its kind is {found[0]!r} and its apiVersion {found[1]!r}", remedy=remedy)
    if found[1] != version:
        raise UsageError(
            f"the {kind} has apiVersion {found[1]}, and this version of trivet reads {version}",
            remedy="write the report again with this version of trivet, or read it with the version that wrote it; "
            "docs/reports.md lists the differences",
        )
    try:
        return msgspec.json.decode(text, type=type)
    except msgspec.DecodeError as error:
        raise UsageError(f"not a valid {kind} of {version}: {error}", remedy=remedy) from error


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of report.json, derived from the dataclasses."""
    computed = {
        "verdict": {"enum": list(VERDICTS), "description": "The verdict that belongs to exitCode."},
        "exitCode": {
            "enum": [0, 1, 2, 3],
            "description": "0 conformant: every applicable MUST passed or is accepted, and at least one passed. 1 a MUST failed. "
            "2 inconclusive. 3 a file could not be read.",
        },
        "summary": {
            "type": "object",
            "description": "The number of contracts, in total and by outcome; and of those all of whose deviations are accepted.",
            "properties": dict.fromkeys(("contracts", *Outcome, ACCEPTED), COUNT),
            "required": ["contracts", *Outcome, ACCEPTED],
        },
    }
    return schema_of(ConformanceReport, KIND, computed, CHANGES)


def schema_of_runs(report: type, kind: str, run: type, *, runs: str, meaning: str, version: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report over several runs, called ``runs``: what :func:`fields_of_runs` and :func:`computed_of_runs`
    write. ``meaning`` is that of the exit codes 0, 1 and 2."""
    computed = {
        "exitCode": {"enum": [0, 1, 2], "description": meaning},
        "judged": {**COUNT, "description": f"The number of results that were judged, in all {runs}."},
        "reused": {**COUNT, "description": f"The number of results that {runs} have from the results store."},
    }
    schema = schema_of(report, kind, computed, version=version)
    described = schema["$defs"][run.__name__]
    described["properties"]["verdict"] = {
        "enum": list(VERDICTS),
        "description": "The verdict that belongs to exit_code.",
    }
    described["required"].append("verdict")
    return schema


def schema_of(
    type: type[Any], kind: str, computed: Mapping[str, Any], note: str = "", version: str = API_VERSION
) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a document of ``kind``, derived from its dataclass. ``computed`` are properties that its writer adds."""
    import msgspec

    definitions: dict[str, Any]
    (reference,), definitions = msgspec.json.schema_components([type], ref_template="#/$defs/{name}")
    root: dict[str, Any] = definitions.pop(reference["$ref"].rpartition("/")[2])
    root["description"] = f"{root['description']} {note}".strip()
    root["properties"] |= {"apiVersion": {"const": version}, "kind": {"const": kind}, **computed}
    for definition in (root, *definitions.values()):
        # The writer writes every field, also those for which the dataclass has a default.
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | root | {"$defs": definitions}


def schema_text(of: dict[str, Any]) -> str:
    """The content of the file of a published schema."""
    import json

    return json.dumps(of, indent=2) + "\n"
