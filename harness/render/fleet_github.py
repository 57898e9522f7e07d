"""GitHub workflow commands of a fleet: an annotation for each model that breaks, is unknown or unsupported, worst first."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.fleet import FleetReport, JudgedModel, ModelVerdict
from trivet.render.cases import Case, Weight, workflow_commands
from trivet.render.fleet import MEANING, named, sentence
from trivet.render.wording import waiver_warnings

filename = "github-annotations.txt"

_WEIGHTS = {ModelVerdict.BREAKS: Weight.FAILED, ModelVerdict.UNKNOWN: Weight.INCONCLUSIVE}


def write(report: FleetReport) -> str:
    """One command per line."""
    return workflow_commands(_cases(report), sentence(report), report.exit_code)


def _cases(report: FleetReport) -> Iterator[Case]:
    for model in report.models:
        if model.verdict is not ModelVerdict.FINE:
            yield _case(model)
    for error in report.errors:
        yield Case(
            suite="server",
            name="trivet: not judged",
            weight=Weight.INCONCLUSIVE,
            message=error.message,
            remedy=error.remedy,
        )
    for text in waiver_warnings(report):
        yield Case(suite="waivers", name="trivet: waiver", weight=Weight.ADVICE, message=text)


def _case(model: JudgedModel) -> Case:
    reason = model.reasons[0] if model.reasons else None
    message = reason.message if reason else MEANING[model.verdict]
    return Case(
        suite=model.name,
        name=named(model),
        # What waivers accept is advice.
        weight=_WEIGHTS.get(model.blocks, Weight.ADVICE),
        message=f"{model.verdict}: {message}",
        remedy=reason.remedy if reason else "",
    )
