"""Reads a baseline: a report whose findings are accepted. Any report.json of lint, or of a run, is one; nothing else is written for it."""

from __future__ import annotations

from pathlib import Path

from trivet.engine.acceptance import deviations
from trivet.errors import UsageError
from trivet.model.finding import Finding
from trivet.model.report import STATIC
from trivet.render import report_json


def read_baseline(path: Path, *, of_run: bool = False) -> list[Finding]:
    """The deviations in the report of lint, or of a run, at ``path``. Raises UsageError for anything else."""
    writing = f"run --report DIR`, as DIR/{report_json.filename}" if of_run else f"lint PATH… --format json > {path}`"
    remedy = f"write it with `trivet {writing}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the baseline {path}: {error}", remedy=remedy) from error
    try:
        report = report_json.read(text)
    except UsageError as error:
        raise UsageError(f"the baseline {path} is {error.message}", remedy=remedy) from error
    if report.target != STATIC and not of_run:
        raise UsageError(f"the baseline {path} is the report of a run on {report.target}, not of lint", remedy=remedy)
    if report.target == STATIC and of_run:
        raise UsageError(f"the baseline {path} is the report of lint, not of a run", remedy=remedy)
    return deviations(report.contracts)
