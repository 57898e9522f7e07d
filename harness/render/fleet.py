"""A fleet as text: a line for each member that is not fine, as it is judged, and for each that was served; then numbers and the verdict."""

from __future__ import annotations

from collections import Counter

from trivet.model.fleet import (
    FleetReport,
    JudgedModel,
    JudgedService,
    Measured,
    Member,
    ModelReason,
    ModelVerdict,
    Sample,
)
from trivet.model.outcome import Level, Outcome
from trivet.render.wording import printable, waiver_sentence, waiver_warnings

MOODS = {
    ModelVerdict.BREAKS: "failed",
    ModelVerdict.UNKNOWN: "inconclusive",
    ModelVerdict.UNSUPPORTED: "advice",
    ModelVerdict.FINE: "passed",
}
"""The tone of each verdict on a page (look.css)."""

OUTCOMES = {Measured.BREAKS: "failed", Measured.UNKNOWN: "inconclusive", Measured.WORKS: "passed"}
"""The tone of what was measured on a page."""

SYMBOLS = {
    ModelVerdict.BREAKS: "✕",
    ModelVerdict.UNKNOWN: "?",
    ModelVerdict.UNSUPPORTED: "△",
    ModelVerdict.FINE: "✓",
}


class FleetText:
    """The text of one call, without control characters. It remembers what it has printed.

    Every model that breaks is printed; of those that are unknown and unsupported at most ``most`` each, the rest is counted.
    """

    def __init__(self, most: int = 20) -> None:
        self._most = most
        self._shown: Counter[ModelVerdict] = Counter()
        self._signatures = 0

    def lines(self, member: Member) -> str:
        """The lines of one member; empty when there is nothing to print."""
        changes = self._changes(member) if isinstance(member, JudgedModel) else ""
        return "\n".join(filter(None, (self._verdict(member), changes)))

    @staticmethod
    def opening(served: Sample, stack: str, store: str) -> str:
        """What is served before it is, and where results are kept."""
        which = f" (--serve {served.chosen} --seed {served.seed})" if served.chosen < served.of else ""
        return printable(
            f"serving {served.chosen:,} of {served.of:,} models{which} in the runtime of {stack}; results are kept in {store}"
        )

    @staticmethod
    def measured(member: Member, remaining: int) -> str:
        """What serving one member showed, beside what was predicted, and how many remain."""
        assert member.measured
        took = f"{member.measured.seconds:.0f} s" if member.measured.seconds else "kept results"
        lines = [f"{named(member)}: {both(member)} ({took}; {remaining:,} left)"]
        lines += [f"  {reason_line(reason)}" for reason in member.measured.reasons]
        return printable("\n".join(lines))

    def _changes(self, model: JudgedModel) -> str:
        self._signatures += bool(model.breaks_clients)
        if not model.breaks_clients or self._signatures > self._most:
            return ""
        return printable(f"{named(model)}: {clients_sentence(model)}")

    def _verdict(self, model: Member) -> str:
        if model.verdict is ModelVerdict.FINE:
            return ""
        self._shown[model.verdict] += 1
        if model.verdict is not ModelVerdict.BREAKS and self._shown[model.verdict] > self._most:
            return ""
        lines = []
        for reason in model.reasons:
            where = f", {reason.place}" if reason.place else ""
            lines.append(f"{named(model)}{where}: {_decided(reason)}: {reason_line(reason)}")
        if not lines:
            lines.append(f"{named(model)}: {model.verdict}: no MUST applies to it")
        return printable("\n".join(lines))

    def summary(self, report: FleetReport) -> str:
        """How many models there are of each verdict, what was not shown, and the verdict."""
        verdicts = report.verdicts
        lines = [f"judged: {scope(report)}, on stack {report.stack.name}"]
        lines += [f"  {number:>9,} {verdict:<12} {MEANING[verdict]}" for verdict, number in verdicts.items() if number]
        omitted = {one: self._shown[one] - self._most for one in (ModelVerdict.UNKNOWN, ModelVerdict.UNSUPPORTED)}
        if changed := sum(bool(model.breaks_clients) for model in report.models):
            lines.append(f"  {changed:>9,} change their signature so that clients of the version before break")
        lines += served_lines(report)
        if hidden := [f"{number:,} {verdict}" for verdict, number in omitted.items() if number > 0]:
            lines.append(f"not shown: {', '.join(hidden)}; --max-lines N shows more, --report DIR has all")
        lines += [f"warning: {text}" for text in waiver_warnings(report)]
        lines.append(sentence(report))
        return printable("\n".join(lines))


MEANING = {
    ModelVerdict.BREAKS: "does not load, or fails or answers wrongly",
    ModelVerdict.UNKNOWN: "could not be told from its files",
    ModelVerdict.UNSUPPORTED: "unsupported upstream, but nothing seen that breaks",
    ModelVerdict.FINE: "nothing seen that breaks",
}


def scope(report: FleetReport) -> str:
    """What was judged, and where it is."""
    parts = []
    if report.server:
        parts.append(f"{len(report.models):,} of {report.total:,} registered versions at {report.server}")
    if report.context:
        services = "1 InferenceService" if len(report.services) == 1 else f"{len(report.services):,} InferenceServices"
        parts.append(f"{services} of context {report.context}{_part(report)}")
    return ", and ".join(parts)


def _part(report: FleetReport) -> str:
    """Which part of services was judged, where it was one alone."""
    if any(one.manifest is None for one in report.services):
        return " (their models alone)"
    return " (their manifests alone)" if any(one.model is None for one in report.services) else ""


def served_lines(report: FleetReport) -> list[str]:
    """How often what was predicted was measured: a line for what was served, and one for each verdict."""
    if report.served is None:
        return []
    served, counts = report.served, predictions(report)
    which = f", --serve {served.chosen} --seed {served.seed}" if served.chosen < served.of else ""
    lines = [f"served: {served.chosen:,} of {served.of:,} models{which}"]
    for verdict in ModelVerdict:
        numbers = [f"{counts[verdict, one]:,} measured {one}" for one in Measured if counts[verdict, one]]
        if numbers:
            lines.append(f"  predicted {verdict}: {', '.join(numbers)}")
    return lines


def predictions(report: FleetReport) -> Counter[tuple[ModelVerdict, Measured]]:
    """The number of members that were served, by what was predicted and what was measured."""
    return Counter((one.verdict, one.measured.outcome) for one in report.members if one.measured)


def both(member: Member) -> str:
    """What was predicted of a member, and what was measured if it was served."""
    return f"predicted {member.verdict}, measured {member.measured.outcome}" if member.measured else str(member.verdict)


def deciding(member: Member) -> tuple[ModelReason, ...]:
    """The reasons behind what the exit code follows from, predicted before measured ones; if there are none, what waivers accept, or what
    was predicted.

    What was measured settles what the files of the model left open.
    """
    measured = member.measured.reasons if member.measured else ()
    predicted = [
        one
        for one in member.reasons
        if member.measured is None or member.blocks is ModelVerdict.BREAKS or one.place.startswith("manifest")
    ]
    every = (*member.reasons, *measured)
    blocking = tuple(one for one in (*predicted, *measured) if _decided(one) is member.blocks and not _accepted(one))
    return blocking or tuple(one for one in every if _accepted(one)) or member.reasons


def reason_line(reason: ModelReason) -> str:
    """A reason with its contract, and who accepts it."""
    contract = f" [{reason.contract}]" if reason.contract else ""
    known = f" ({waiver_sentence(reason.waiver)})" if reason.waiver else ""
    return f"{reason.message}{contract}{known}"


def clients_sentence(model: JudgedModel) -> str:
    """What of a model's signature breaks clients of the version before it."""
    return f"breaks clients of version {model.predecessor}: {'; '.join(model.breaks_clients)}"


def named(member: Member) -> str:
    """``models:/NAME/VERSION`` with the aliases and the stage of the version, or ``InferenceService/NAMESPACE/NAME``."""
    if isinstance(member, JudgedService):
        return member.uri
    also = [*member.aliases, *([member.stage] if member.stage not in ("", "None") else [])]
    return f"{member.uri} ({', '.join(also)})" if also else member.uri


def sentence(report: FleetReport) -> str:
    """The verdict and its causes: ``2024.11 breaks 3 of 60 models``."""
    total, name = len(report.members), report.stack.name
    what = " and ".join(["models"] * (bool(report.models) or not total) + ["services"] * bool(report.services))
    blocking = Counter(member.blocks for member in report.members)
    causes = ""
    if report.errors:
        causes = f"; {len(report.errors)} error{'s' if len(report.errors) > 1 else ''} while reading {_read(report)}"
    if not total:
        return f"no model was judged on {name}{causes}"
    accepted = sum(is_accepted(member) for member in report.members)
    causes += f"; {accepted:,} accepted" if accepted else ""
    if breaking := blocking[ModelVerdict.BREAKS]:
        return f"{name} breaks {breaking:,} of {total:,} {what}{causes}"
    if unknown := blocking[ModelVerdict.UNKNOWN]:
        return f"it is unknown whether {name} serves {unknown:,} of {total:,} {what}{causes}"
    counted = f"{total:,} {what}" if total != 1 else f"1 {what.removesuffix('s')}"
    return f"nothing is seen that {name} breaks in {counted}{causes}"


def _decided(reason: ModelReason) -> ModelVerdict:
    """The verdict that a reason decided."""
    if reason.outcome is not Outcome.FAILED:
        return ModelVerdict.UNKNOWN
    return ModelVerdict.BREAKS if reason.level is Level.MUST else ModelVerdict.UNSUPPORTED


def _accepted(reason: ModelReason) -> bool:
    return reason.waiver is not None and not reason.waiver.expired


def is_accepted(member: Member) -> bool:
    """Whether waivers accept something that decided its verdict, or what was measured."""
    measured = member.measured
    return member.not_accepted not in (None, member.verdict) or bool(
        measured and measured.not_accepted not in (None, measured.outcome)
    )


def _read(report: FleetReport) -> str:
    return " or ".join(["the server"] * bool(report.server) + ["the cluster"] * bool(report.context))
