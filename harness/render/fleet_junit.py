"""fleet.xml for CI systems: a suite for each registered model and each namespace, a case for each version and service."""

from __future__ import annotations

from trivet.model.fleet import FleetReport
from trivet.render.cases import junit
from trivet.render.fleet_cases import cases

filename = "fleet.xml"


def write(report: FleetReport) -> str:
    """The whole file. It has failures or errors exactly when the exit code is not 0."""
    return junit(f"trivet fleet {report.stack.name}", cases(report), report.provenance.started)
