"""The verdict on an upgrade on the terminal: the steps, a line for each mix, what breaks, the order, and the verdict last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trivet.model.verdict import Compatibility, FilesVerdict, Mix, ModelsVerdict, UpgradeStep, UpgradeVerdict
from trivet.render.layout import COLUMNS, Line, Span, entry, fit, line, plain, wrap
from trivet.render.verdict_wording import (
    changes,
    cost,
    further_ones,
    judged,
    mix_name,
    newly_fails,
    order_rows,
    outcome,
    remedies,
    sentence,
    step_name,
    suspects,
)
from trivet.render.wording import EXIT_MEANING, seam_name

_STYLES = ("bold green", "bold red", "bold yellow")
_SYMBOLS = ("✓", "✕", "?")
_TONES = {Compatibility.COMPATIBLE: 0, Compatibility.INCOMPATIBLE: 1, Compatibility.UNKNOWN: 2}


def opening(old: str, new: str, target: str, steps: Sequence[UpgradeStep], contracts: int, store: str) -> str:
    """The lines before the first mix: what is upgraded."""
    lines = [line(f"from {old} to {new}, target {target}: {len(steps)} steps, {contracts} contracts in each mix")]
    for step in steps:
        lines += entry(step_name(step.name), changes(step), width=18)
        lines += entry("", step.no_return, width=18)
    return plain([*lines, line(f"results: {store}")]).rstrip("\n")


def remaining(steps: Sequence[UpgradeStep]) -> str:
    """Which mixes there are to judge, for a verdict that is not made."""
    return (
        f"{2 ** len(steps)} mixes of old and new are possible; judged are the two stacks, each step as the first and as the last one, "
        "and what an order still needs, except where kept results refuse it"
    )


def progress(mix: Mix) -> str:
    """The line of a mix that was judged."""
    code = 1 if mix.refused else min(mix.exit_code, 2)
    return plain([line(fit(f"{_SYMBOLS[code]} {mix_name(mix)}: {outcome(mix)}", 2 * COLUMNS))]).rstrip("\n")


def summary(report: UpgradeVerdict) -> str:
    """What breaks, the order, the seams, files and models, and the verdict."""
    return plain(list(_lines(report)))


def _lines(report: UpgradeVerdict) -> Iterator[Line]:
    yield from _incompatibilities(report)
    yield from _order(report)
    yield line()
    yield line(Span("seams in the new versions", "bold"))
    for seam in report.seams:
        tone = _TONES[seam.verdict]
        text = f"{seam.verdict}, {seam.passed} of {seam.contracts} MUST passed"
        yield line("  ", Span(f"{_SYMBOLS[tone]} ", _STYLES[tone]), fit(f"{seam_name(seam.seam)}: {text}", COLUMNS - 4))
        yield from entry("reason", seam.reason, indent=4, most=3)
    if report.files:
        yield from _files(report.files)
    if report.models:
        yield from _models(report.models)
    yield line()
    yield line(Span("─" * COLUMNS, "dim"))
    for reason in report.unclear:
        yield from (line(Span(one, "yellow")) for one in wrap(f"inconclusive: {reason}", COLUMNS, 4))
    yield line(cost(report))
    yield from (line(Span(one, _STYLES[report.exit_code])) for one in wrap(sentence(report), COLUMNS))
    yield line(f"exit code {report.exit_code}: {_MEANING[report.exit_code]}")


_MEANING = ("a safe order, and nothing newly fails", "no order is safe, or something newly fails", EXIT_MEANING[2])


def _incompatibilities(report: UpgradeVerdict) -> Iterator[Line]:
    yield line()
    yield line(Span("what breaks on the way", "bold"))
    impossible = [mix for mix in report.mixes if mix.impossible]
    if not report.incompatibilities and not impossible:
        yield line("  nothing failed in the mixes that were judged")
    for one in report.incompatibilities:
        if one.mixes == ((),):
            yield from (line("  ", text) for text in wrap(f"in the old stack already: {one.contract}", COLUMNS - 2))
            continue
        yield from (line("  ", Span(text, "bold red")) for text in wrap(suspects(one), COLUMNS - 2))
        yield line("    ", fit(f"{one.contract} [{seam_name(one.seam)}]", COLUMNS - 4))
        yield from entry("reason", one.reason, indent=4, most=4)
        yield from entry("fails", "; ".join(map(mix_name, one.mixes)), indent=4, most=6)
        yield from entry("judged", judged(report, one.contract), indent=4)
        yield from entry("remedy", one.remedy, indent=4, most=4)
    for mix in impossible:
        yield from (
            line("  ", Span(text, "bold red")) for text in wrap(f"{mix_name(mix)}: cannot be composed", COLUMNS - 2)
        )
        yield from entry("reason", mix.error, indent=4, most=4)


def _order(report: UpgradeVerdict) -> Iterator[Line]:
    yield line()
    heading = (
        "safe order" if report.order else "no safe order" if report.blocked else "no order that is known to be safe"
    )
    yield line(Span(heading, "bold"))
    by_name = {step.name: step for step in report.steps}
    for number, (group, mix) in enumerate(order_rows(report), 1):
        for position, name in enumerate(group):
            label = f"{number}." if position == 0 else "  +"
            yield from entry(label, f"{step_name(name)}: {changes(by_name[name])}", width=4)
            yield from entry("", by_name[name].no_return and f"no way back: {by_name[name].no_return}", width=4)
        if mix:
            yield from entry("", f"{_SYMBOLS[min(mix.exit_code, 2)]} {outcome(mix)}", width=4)
    for remedy in remedies(report):
        yield from entry("remedy", remedy, most=4)


def _files(files: FilesVerdict) -> Iterator[Line]:
    seen = ", ".join(f"{number} {name}" for name, number in files.seen.items()) or "nothing"
    yield line()
    yield from (line(Span(text, "bold")) for text in wrap(f"files: {', '.join(files.paths)} ({seen})", COLUMNS))
    for one in files.breaks:
        until = "" if one.lasting else ", until a later step"
        yield from (
            line("  ", Span(text, "bold red"))
            for text in wrap(f"{one.contract}: {newly_fails(one)}{until}", COLUMNS - 2)
        )
        for place in one.places or (one.reason,):
            yield from (line("    ", text) for text in wrap(str(place), COLUMNS - 4, 3))
    if not files.breaks:
        yield line("  no MUST newly fails")
    if files.failing_before:
        yield from entry("before", f"fails in the old stack already: {', '.join(files.failing_before)}", most=4)


def _models(models: ModelsVerdict) -> Iterator[Line]:
    yield line()
    yield from (line(Span(text, "bold")) for text in wrap(f"registered models at {models.server}", COLUMNS))
    for label, counts in (("before", models.before), ("after", models.after)):
        yield from entry(label, ", ".join(f"{number:,} {name}" for name, number in counts.items()))
    for one, number in models.alike:
        with_step = f" with the step {step_name(one.step)}" if one.step else ""
        contract = f" [{one.contract}]" if one.contract else ""
        text = f"{one.uri}{further_ones(number)}: {one.before} → {one.after}{with_step}{f': {one.reason}' if one.reason else ''}{contract}"
        yield from (line("  ", part) for part in wrap(text, COLUMNS - 2, 4))
