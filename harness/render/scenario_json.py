"""scenarios.json: writes and reads a report of scenarios as a versioned API object."""

from __future__ import annotations

from trivet.model.scenario import KIND, ScenarioReport
from trivet.render.report_json import decode, fields_of, json_text

filename = "scenarios.json"


def write(report: ScenarioReport) -> str:
    """The report as indented JSON, with the computed fields ``exitCode`` and, of each scenario, ``verdict``."""
    fields = fields_of(report)
    for result, document in zip(report.scenarios, fields["scenarios"], strict=True):
        document["verdict"] = result.verdict.value
    return json_text(fields, {"exitCode": report.exit_code})


def read(text: str) -> ScenarioReport:
    """The report that :func:`write` wrote. Raises UsageError for anything else, naming both versions if the version differs."""
    return decode(text, ScenarioReport, KIND, filename)
