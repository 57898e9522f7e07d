"""The verdict on an upgrade as cases: the order, what breaks on the way, seams, files, models, and what is inconclusive."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.verdict import Compatibility, FilesVerdict, ModelsVerdict, UpgradeVerdict
from trivet.render.cases import Case, Weight
from trivet.render.verdict_wording import (
    listed,
    mix_name,
    newly_fails,
    order_rows,
    outcome,
    remedies,
    sentence,
    suspects,
)
from trivet.render.wording import seam_name


def cases(report: UpgradeVerdict) -> Iterator[Case]:
    """What breaks on the way is advice where an order avoids it."""
    yield from _order(report)
    weight = Weight.ADVICE if report.order or not report.blocked else Weight.FAILED
    for one in report.incompatibilities:
        before = one.mixes == ((),)
        message = "the old stack fails it already" if before else f"{suspects(one)}: {one.reason}"
        shown = Weight.ADVICE if before else weight
        yield Case(suite="what breaks on the way", name=one.contract, weight=shown, message=message, remedy=one.remedy)
    for mix in report.mixes:
        if mix.impossible:
            yield Case(suite="what breaks on the way", name=mix_name(mix), weight=weight, message=outcome(mix))
    for seam in report.seams:
        judged = Weight.PASSED if seam.verdict is Compatibility.COMPATIBLE else Weight.ADVICE
        if seam.verdict is Compatibility.INCOMPATIBLE and report.blocked:
            judged = Weight.FAILED
        message = f"{seam.verdict}: {seam.reason}" if seam.reason else seam.verdict.value
        yield Case(suite="seams in the new versions", name=seam_name(seam.seam), weight=judged, message=message)
    if report.files:
        yield from _files(report.files)
    if report.models:
        yield from _models(report.models)
    for reason in report.unclear:
        yield Case(suite="verdict", name="verdict", weight=Weight.INCONCLUSIVE, message=reason)


def _order(report: UpgradeVerdict) -> Iterator[Case]:
    if report.order:
        for group, mix in order_rows(report):
            yield Case(suite="order", name=listed(group), message=outcome(mix) if mix else "")
        return
    weight = Weight.FAILED if report.blocked else Weight.ADVICE
    remedy = "\n".join(remedies(report))
    yield Case(suite="order", name="a safe order", weight=weight, message=sentence(report), remedy=remedy)


def _files(files: FilesVerdict) -> Iterator[Case]:
    for one in files.breaks:
        for place in one.places or (None,):
            yield Case(
                suite="files",
                name=one.contract,
                weight=Weight.FAILED,
                message=f"{newly_fails(one)}: {place.message if place else one.reason}",
                location=place.location if place else None,
            )
    if not files.breaks:
        yield Case(suite="files", name=", ".join(files.paths))


def _models(models: ModelsVerdict) -> Iterator[Case]:
    for one in models.changes:
        weight = Weight.FAILED if one.after == "breaks" else Weight.ADVICE
        message = f"{one.before} → {one.after}{f': {one.reason}' if one.reason else ''}"
        yield Case(suite="models", name=one.uri, weight=weight, message=message)
    if not models.changes:
        yield Case(suite="models", name=models.server)
