"""Reads a baseline: a report of lint whose findings are accepted. Any report.json of lint is one; nothing else is written for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trivet.errors import UsageError
from trivet.model.finding import Finding
from trivet.model.outcome import Outcome
from trivet.model.report import STATIC
from trivet.render import report_json


def read_baseline(path: Path) -> list[Finding]:
    """The deviations in the report at ``path``, without those that it ignores. An ERROR is none: nothing was judged.

    Raises UsageError for anything but a report of lint.
    """
    remedy = f"write it with `trivet lint PATH… --format json > {path}`"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the baseline {path}: {error}", remedy=remedy) from error
    try:
        report = report_json.read(text)
    except UsageError as error:
        raise UsageError(f"the baseline {path} is {error.message}", remedy=remedy) from error
    if report.target != STATIC:
        raise UsageError(f"the baseline {path} is the report of a run on {report.target}, not of lint", remedy=remedy)
    return [
        replace(finding, contract=contract.id)
        for contract in report.contracts
        for finding in contract.findings
        if finding.outcome.deviates and finding.outcome is not Outcome.ERROR
    ]
