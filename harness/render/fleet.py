"""A fleet as text: a line for each model that is not fine, as it is judged; then how many there are of each verdict, and the verdict."""

from __future__ import annotations

from collections import Counter

from trivet.model.fleet import FleetReport, JudgedModel, ModelVerdict
from trivet.render.wording import printable, waiver_sentence, waiver_warnings

MOODS = {
    ModelVerdict.BREAKS: "failed",
    ModelVerdict.UNKNOWN: "inconclusive",
    ModelVerdict.UNSUPPORTED: "advice",
    ModelVerdict.FINE: "passed",
}
"""The tone of each verdict on a page (look.css)."""

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

    def lines(self, model: JudgedModel) -> str:
        """The lines of one model; empty when there is nothing to print."""
        return "\n".join(filter(None, (self._verdict(model), self._changes(model))))

    def _changes(self, model: JudgedModel) -> str:
        self._signatures += bool(model.breaks_clients)
        if not model.breaks_clients or self._signatures > self._most:
            return ""
        return printable(f"{named(model)}: {clients_sentence(model)}")

    def _verdict(self, model: JudgedModel) -> str:
        if model.verdict is ModelVerdict.FINE:
            return ""
        self._shown[model.verdict] += 1
        if model.verdict is not ModelVerdict.BREAKS and self._shown[model.verdict] > self._most:
            return ""
        lines = []
        for reason in model.reasons:
            where = f", {reason.place}" if reason.place else ""
            contract = f" [{reason.contract}]" if reason.contract else ""
            known = f" ({waiver_sentence(reason.waiver)})" if reason.waiver else ""
            lines.append(f"{named(model)}{where}: {model.verdict}: {reason.message}{contract}{known}")
        if not lines:
            lines.append(f"{named(model)}: {model.verdict}: no MUST applies to it")
        return printable("\n".join(lines))

    def summary(self, report: FleetReport) -> str:
        """How many models there are of each verdict, what was not shown, and the verdict."""
        verdicts = report.verdicts
        judged = f"{len(report.models):,} of {report.total:,} registered versions at {report.server}"
        lines = [f"judged: {judged}, on stack {report.stack.name}"]
        lines += [f"  {number:>9,} {verdict:<12} {MEANING[verdict]}" for verdict, number in verdicts.items() if number]
        omitted = {one: self._shown[one] - self._most for one in (ModelVerdict.UNKNOWN, ModelVerdict.UNSUPPORTED)}
        if changed := sum(bool(model.breaks_clients) for model in report.models):
            lines.append(f"  {changed:>9,} change their signature so that clients of the version before break")
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


def clients_sentence(model: JudgedModel) -> str:
    """What of a model's signature breaks clients of the version before it."""
    return f"breaks clients of version {model.predecessor}: {'; '.join(model.breaks_clients)}"


def named(model: JudgedModel) -> str:
    """``models:/NAME/VERSION``, with the aliases and the stage of the version."""
    also = [*model.aliases, *([model.stage] if model.stage not in ("", "None") else [])]
    return f"{model.uri} ({', '.join(also)})" if also else model.uri


def sentence(report: FleetReport) -> str:
    """The verdict and its causes: ``2024.11 breaks 3 of 60 models``."""
    total, name = len(report.models), report.stack.name
    blocking = Counter(model.blocks for model in report.models)
    causes = ""
    if report.errors:
        causes = f"; {len(report.errors)} error{'s' if len(report.errors) > 1 else ''} while reading the server"
    if not total:
        return f"no model was judged on {name}{causes}"
    accepted = sum(model.blocks is not model.verdict for model in report.models)
    causes += f"; {accepted:,} accepted" if accepted else ""
    if breaking := blocking[ModelVerdict.BREAKS]:
        return f"{name} breaks {breaking:,} of {total:,} models{causes}"
    if report.errors or blocking[ModelVerdict.UNKNOWN]:
        return f"it is unknown whether {name} serves {blocking[ModelVerdict.UNKNOWN]:,} of {total:,} models{causes}"
    return f"nothing is seen that {name} breaks in {total:,} models{causes}"
