"""verdict.html: the order as a drawing, what breaks, and every mix with its evidence. One page without scripts or network requests."""

from __future__ import annotations

from trivet.model.verdict import UpgradeVerdict
from trivet.render import verdict_wording
from trivet.render.page import environment
from trivet.render.wording import EXIT_MEANING, seam_name

filename = "verdict.html"


def write(report: UpgradeVerdict) -> str:
    """The whole page. All text of the report is escaped."""
    return (
        environment()
        .get_template("verdict.html.j2")
        .render(
            report=report,
            words=verdict_wording,
            rows=list(verdict_wording.order_rows(report)),
            by_name={step.name: step for step in report.steps},
            seam_name=seam_name,
            moods=("passed", "failed", "inconclusive", "inconclusive"),
            tones={"compatible": "passed", "incompatible": "failed", "unknown": "inconclusive"},
            meaning=EXIT_MEANING[report.exit_code],
        )
        + "\n"
    )
