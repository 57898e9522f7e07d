"""verdict.sarif, SARIF 2.1.0: what the user's files newly fail, each at its file and line. A verdict without files has no results."""

from __future__ import annotations

from typing import Any

from trivet.model.verdict import FileBreak, UpgradeVerdict
from trivet.render.sarif import ROOT, document, located, root
from trivet.render.verdict_wording import newly_fails, sentence

filename = "verdict.sarif"


def write(report: UpgradeVerdict) -> str:
    """The whole file. Paths below the working directory become relative to it."""
    breaks = report.files.breaks if report.files else ()
    run = {
        "tool": {
            "driver": {
                "name": "trivet verdict",
                "version": report.provenance.trivet,
                "rules": [{"id": one.contract, "shortDescription": {"text": one.title}} for one in breaks],
            }
        },
        "automationDetails": {"id": f"trivet-verdict/{report.old.name}/{report.new.name}"},
        "originalUriBaseIds": {ROOT: root()},
        "invocations": [
            {
                "executionSuccessful": not report.unclear,
                "exitCode": report.exit_code,
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": f"inconclusive: {reason}"}} for reason in report.unclear
                ],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": [result for index, one in enumerate(breaks) for result in _results(index, one)],
        "properties": {"from": report.old.name, "to": report.new.name, "verdict": sentence(report)},
    }
    return document(run)


def _results(index: int, one: FileBreak) -> list[dict[str, Any]]:
    head = {"ruleId": one.contract, "ruleIndex": index, "kind": "fail", "level": "error"}
    if not one.places:
        return [{**head, "message": {"text": f"{newly_fails(one)}: {one.reason}"}}]
    return [
        {
            **head,
            "message": {"text": f"{newly_fails(one)}: {place.message}"},
            **({"locations": [where]} if (where := located(place.location)) else {}),
        }
        for place in one.places
    ]
