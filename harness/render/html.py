"""report.html: one self-contained page. It makes no network requests, runs only its own script, and is readable without it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from trivet.model.report import VERDICTS, ConformanceReport, Phase
from trivet.render.page import environment
from trivet.render.picture import picture
from trivet.render.waivers import waiver_rows
from trivet.render.wording import (
    NAMES,
    OUTCOME_WORDINGS,
    acceptance,
    acceptances,
    baseline_sentence,
    by_seam,
    counts,
    exit_sentence,
    judged_text,
    qualified,
    seam_name,
    tally,
    verdict_sentence,
    wording,
    wording_of,
    worst,
)

filename = "report.html"


def write(report: ConformanceReport) -> str:
    """The whole page. All text of the report is escaped; characters that HTML does not allow are replaced."""
    templates = environment()
    templates.filters["sha256"] = _sha256
    templates.globals |= {
        "names": NAMES,
        "judged_text": judged_text,
        "outcome_wordings": OUTCOME_WORDINGS,
        "seam_name": seam_name,
        "wording": wording,
        "wording_of": wording_of,
        "qualified": qualified,
        "acceptance": acceptance,
        "acceptances": acceptances,
        "worst": worst,
        "tally": tally,
    }
    return templates.get_template("report.html.j2").render(**_content(report)) + "\n"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A phase on the timeline: the start and the width of its bar, in percent of the whole."""

    phase: Phase
    left: float
    width: float


def _content(report: ConformanceReport) -> Mapping[str, Any]:
    ranked = sorted(report.contracts, key=lambda result: OUTCOME_WORDINGS.index(wording_of(result)))
    span = max([report.provenance.seconds, *(phase.started + phase.seconds for phase in report.phases)]) or 1.0
    return {
        "report": report,
        "detected": {fact.name: fact for fact in report.detected},
        "seams": by_seam(report),
        "pictures": {"across": picture(report, upright=False), "upright": picture(report, upright=True)},
        "attention": [result for result in ranked if result.outcome.deviates],
        "tallies": tally(report.contracts),
        "bars": _bars(report, span),
        "span": span,
        "sentence": verdict_sentence(report),
        "waivers": waiver_rows(report.waivers, date.fromisoformat(report.provenance.started[:10])),
        "baseline": baseline_sentence(report),
        "counts": counts(report),
        "exit_sentence": exit_sentence(report),
        "mood": ("passed", "failed", "inconclusive")[VERDICTS.index(report.verdict)],
    }


def _bars(report: ConformanceReport, span: float) -> list[Bar]:
    return [
        Bar(phase=phase, left=100 * max(0.0, phase.started) / span, width=100 * phase.seconds / span)
        for phase in sorted(report.phases, key=lambda phase: (phase.started, -phase.seconds))
    ]


def _sha256(script: str) -> str:
    """The hash with which the content security policy allows exactly this script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
