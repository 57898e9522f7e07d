"""junit.xml: the verdict on an upgrade as JUnit; a suite for the order, for what breaks, for the seams, for files and for models."""

from __future__ import annotations

from trivet.model.verdict import UpgradeVerdict
from trivet.render.cases import junit
from trivet.render.verdict_cases import cases

filename = "junit.xml"


def write(report: UpgradeVerdict) -> str:
    """The whole file."""
    return junit(f"trivet verdict {report.old.name} → {report.new.name}", cases(report), report.provenance.started)
