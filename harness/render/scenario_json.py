"""scenarios.json: a report of scenarios as a versioned API object, and the way back."""

from __future__ import annotations

from trivet.errors import UsageError
from trivet.model.report import API_VERSION
from trivet.model.scenario import KIND, ScenarioReport
from trivet.render.report_json import encodable

filename = "scenarios.json"


def write(report: ScenarioReport) -> str:
    """The report with what is computed from it (``exitCode``, and each scenario's ``verdict``) beside it, indented."""
    import msgspec

    fields = encodable(msgspec.to_builtins(report))
    for result, document in zip(report.scenarios, fields["scenarios"], strict=True):
        document["verdict"] = result.verdict.value
    head = {"apiVersion": fields.pop("apiVersion"), "kind": fields.pop("kind"), "exitCode": report.exit_code}
    return msgspec.json.format(msgspec.json.encode(head | fields), indent=2).decode() + "\n"


def read(text: str) -> ScenarioReport:
    """The report that :func:`write` wrote; computed fields are computed anew. Raises UsageError for anything else."""
    import msgspec

    try:
        report = msgspec.json.decode(text, type=ScenarioReport)
    except msgspec.DecodeError as error:
        raise UsageError(f"not a {KIND}: {error}", remedy="name a scenarios.json that trivet wrote") from error
    if (report.apiVersion, report.kind) != (API_VERSION, KIND):
        raise UsageError(
            f"the report is a {report.kind} of {report.apiVersion}",
            remedy=f"this trivet reads {KIND} of {API_VERSION}; play the scenarios anew",
        )
    return report
