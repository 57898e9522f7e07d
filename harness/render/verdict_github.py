"""GitHub workflow commands of a verdict: an annotation for what fails, at its file if it has one, and for what an order avoids."""

from __future__ import annotations

from trivet.model.verdict import UpgradeVerdict
from trivet.render.cases import workflow_commands
from trivet.render.verdict_cases import cases
from trivet.render.verdict_wording import sentence

filename = "github-annotations.txt"


def write(report: UpgradeVerdict) -> str:
    """One command per line."""
    return workflow_commands(cases(report), sentence(report), report.exit_code)
