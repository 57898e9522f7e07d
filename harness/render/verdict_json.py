"""verdict.json: the verdict on an upgrade as a versioned API object, and its JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trivet.model.verdict import VERDICT_REPORT, VERDICT_VERSION, Mix, UpgradeVerdict
from trivet.render.report_json import computed_of_runs, decode, fields_of_runs, json_text, read_in, schema_of_runs

filename = "verdict.json"

SCHEMA_FILE = "upgrade-verdict.schema.json"
"""The published schema, in the folder of this module; :func:`schema` generates it."""


def write(report: UpgradeVerdict) -> str:
    """The verdict as indented JSON, with the computed fields ``exitCode``, ``judged`` and ``reused`` first."""
    return json_text(fields_of_runs(report, "mixes"), computed_of_runs(report))


def read(text: str) -> UpgradeVerdict:
    """The verdict that :func:`write` wrote. Raises UsageError for anything else, naming both versions if the version differs."""
    return decode(text, UpgradeVerdict, VERDICT_REPORT, filename, VERDICT_VERSION)


def read_file(path: Path) -> UpgradeVerdict:
    """The verdict in a file. Raises UsageError, which names the file, for one that cannot be read or is no verdict of this version."""
    return read_in(path, read, VERDICT_REPORT, f"pass the {filename} that `trivet verdict --report DIR` wrote")


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of verdict.json, derived from the dataclasses."""
    meaning = "0 there is a safe order, and no file or model newly fails. 1 there is none, or one does. 2 inconclusive."
    return schema_of_runs(UpgradeVerdict, VERDICT_REPORT, Mix, runs="mixes", meaning=meaning, version=VERDICT_VERSION)
