"""A fleet as cases: one for each registered version and each service, what could not be read, and waivers."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.fleet import FleetReport, JudgedModel, Member, ModelVerdict
from trivet.render.cases import Case, Weight
from trivet.render.fleet import MEANING, both, deciding, is_accepted, named, sentence
from trivet.render.wording import waiver_sentence, waiver_warnings

_WEIGHTS = {ModelVerdict.BREAKS: Weight.FAILED, ModelVerdict.UNKNOWN: Weight.INCONCLUSIVE}


def cases(report: FleetReport) -> Iterator[Case]:
    """A version's suite is its model, a service's its namespace, as ``InferenceService/NAMESPACE``. What is unsupported, or accepted, is
    advice.

    No model has a name with ``/`` or ``:``, so that no suite is two things.
    """
    for member in report.members:
        yield _case(member)
    for error in report.errors:
        yield Case(
            suite="trivet: errors",
            name="trivet: not judged",
            weight=Weight.INCONCLUSIVE,
            message=error.message,
            remedy=error.remedy,
        )
    if not report.members and not report.errors:
        yield Case(suite="trivet: verdict", name="verdict", weight=Weight.INCONCLUSIVE, message=sentence(report))
    for text in waiver_warnings(report):
        yield Case(suite="trivet: waivers", name="trivet: waiver", weight=Weight.ADVICE, message=text)


def _case(member: Member) -> Case:
    reasons = deciding(member)
    text = reasons[0].message if reasons else MEANING[member.verdict]
    if is_accepted(member):
        waivers = dict.fromkeys(waiver_sentence(one.waiver) for one in reasons if one.waiver)
        text = f"{text}; {'; '.join(waivers)}"
    fine = member.verdict is ModelVerdict.FINE and not is_accepted(member)
    return Case(
        suite=member.name if isinstance(member, JudgedModel) else member.uri.rpartition("/")[0],
        name=named(member),
        weight=_WEIGHTS.get(member.blocks, Weight.PASSED if fine else Weight.ADVICE),
        message=f"{both(member)}: {text}",
        remedy="\n".join(dict.fromkeys(one.remedy for one in reasons if one.remedy)),
    )
