"""GitHub workflow commands of a fleet: an annotation for each model and service that breaks, is unknown or unsupported, worst first."""

from __future__ import annotations

from trivet.model.fleet import FleetReport
from trivet.render.cases import workflow_commands
from trivet.render.fleet import sentence
from trivet.render.fleet_cases import cases

filename = "github-annotations.txt"


def write(report: FleetReport) -> str:
    """One command per line."""
    return workflow_commands(cases(report), sentence(report), report.exit_code)
