"""verdict.md: the verdict on an upgrade as GitHub's Markdown, for the summary of a job or a ticket."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.verdict import UpgradeVerdict
from trivet.render.verdict_wording import (
    changes,
    cost,
    further_ones,
    listed,
    mix_name,
    order_rows,
    outcome,
    remedies,
    sentence,
    step_name,
    suspects,
)
from trivet.render.wording import brief, code_span, prose, seam_name

filename = "verdict.md"


def write(report: UpgradeVerdict) -> str:
    """The verdict as a heading, then the order, what breaks, the mixes, files and models."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: UpgradeVerdict) -> Iterator[str]:
    yield f"### {prose(sentence(report))}"
    yield ""
    yield prose(cost(report))
    yield from (f"- inconclusive: {prose(reason)}" for reason in report.unclear)
    by_name = {step.name: step for step in report.steps}
    rows = list(order_rows(report))
    if rows:
        yield from ("", "| step | upgrade | versions | found by running |", "|---|---|---|---|")
    for number, (group, mix) in enumerate(rows, 1):
        versions = "; ".join(changes(by_name[name]) for name in group)
        no_return = "; ".join(f"no way back: {by_name[name].no_return}" for name in group if by_name[name].no_return)
        found = outcome(mix) if mix else "not run"
        yield f"| {number} | {prose(listed(group))} | {prose('. '.join(filter(None, (versions, no_return))))} | {prose(found)} |"
    yield from (f"- remedy: {prose(remedy)}" for remedy in remedies(report))
    if report.incompatibilities:
        yield from ("", "| what breaks | contract | seam | reason | fails with |", "|---|---|---|---|---|")
    for one in report.incompatibilities:
        mixes = "; ".join(map(mix_name, one.mixes))
        yield (
            f"| {prose(suspects(one))} | {code_span(one.contract)} | {prose(seam_name(one.seam))} "
            f"| {brief(one.reason)} | {prose(mixes)} |"
        )
    if impossible := [mix for mix in report.mixes if mix.impossible]:
        yield from ("", *(f"- {prose(mix_name(mix))}: {prose(outcome(mix))}" for mix in impossible))
    if report.files:
        yield ""
        for broken in report.files.breaks:
            step = step_name(broken.step) if broken.step else "new stack"
            yield f"- files: {code_span(broken.contract)} newly fails ({prose(step)}): {brief(broken.reason)}"
        if not report.files.breaks:
            yield "- files: no MUST newly fails"
    if report.models:
        yield ""
        for model, number in report.models.alike:
            yield f"- {code_span(model.uri)}{further_ones(number)}: {model.before} → {model.after}: {brief(model.reason)}"
        if not report.models.changes:
            yield "- models: no verdict differs"
