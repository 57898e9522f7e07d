"""The difference of two reports: as lines of a terminal, as Markdown for the summary of a job, as a page, and for CI systems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from trivet.model.difference import ChangeKind, ContractChange, ReportDifference, ReportSummary
from trivet.model.outcome import Level
from trivet.render import cases, difference_cases, difference_json
from trivet.render.layout import COLUMNS, STYLES, Line, Span, entry, fit, line, plain, wrap
from trivet.render.page import environment
from trivet.render.wording import NAMES, code_span, prose

_STYLES = {
    ChangeKind.NEWLY_FAILED: STYLES["failed"],
    ChangeKind.NEWLY_INCONCLUSIVE: STYLES["inconclusive"],
    ChangeKind.NEWLY_ACCEPTED: STYLES["accepted"],
    ChangeKind.NEWLY_PASSED: STYLES["passed"],
}
_MOODS = {
    ChangeKind.NEWLY_FAILED: "failed",
    ChangeKind.NEWLY_INCONCLUSIVE: "inconclusive",
    ChangeKind.NEWLY_ACCEPTED: "accepted",
    ChangeKind.NEWLY_PASSED: "passed",
}
"""The tone of a kind on a page (look.css)."""
_MEANING = ("nothing newly failed", "a MUST newly failed", "it is inconclusive whether something newly failed")
_REASON_LINES = 6
_FINDINGS = 5


def text(difference: ReportDifference) -> str:
    """What differs, at most 100 columns wide, without control characters; the verdict and the exit code last."""
    return plain(list(_lines(difference)))


def markdown(difference: ReportDifference) -> str:
    """What differs, as GitHub's Markdown: the verdict as a heading, then a table of the contracts."""
    names = f"{code_span(difference.old.stack)} → {code_span(difference.new.stack)}"
    rows = [f"### {names}: {_sentence(difference)}", ""]
    rows += [f"- {prose(f'{label}: {content}')}" for label, content in _facts(difference)]
    rows += [f"- inconclusive: {prose(reason)}" for reason in difference.unclear]
    if difference.contracts:
        rows += ["", "| | contract | level | before | after | reason |", "|---|---|---|---|---|---|"]
        rows += [_row(change) for change in difference.contracts]
    return "\n".join([*rows, "", _counts(difference)]) + "\n"


def html(difference: ReportDifference) -> str:
    """What differs, as one page without scripts or network requests. All text of the reports is escaped."""
    page = environment().get_template("difference.html.j2")
    return (
        page.render(
            difference=difference,
            sentence=_sentence(difference),
            facts=list(_facts(difference)),
            kinds=[kind for kind in ChangeKind if any(change.kind is kind for change in difference.contracts)],
            moods=_MOODS,
            tone=("passed", "failed", "inconclusive")[difference.exit_code],
            outcomes=_outcomes,
            reason=_reason,
            counts=_counts(difference),
        )
        + "\n"
    )


def junit(difference: ReportDifference) -> str:
    """What differs, as JUnit: a suite for each kind of change."""
    title = f"trivet diff {difference.old.stack} → {difference.new.stack}: {_sentence(difference)}"
    return cases.junit(title, difference_cases.cases(difference), difference.new.started)


def github(difference: ReportDifference) -> str:
    """What got worse, as GitHub's workflow commands, and the verdict."""
    return cases.workflow_commands(difference_cases.cases(difference), _sentence(difference), difference.exit_code)


WRITERS: Mapping[str, Callable[[ReportDifference], str]] = {
    "text": text,
    "json": difference_json.write,
    "markdown": markdown,
    "html": html,
    "junit": junit,
    "github": github,
}
"""What writes a difference, by the name of its format."""


def _lines(difference: ReportDifference) -> Iterator[Line]:
    for label, content in _facts(difference):
        yield from entry(label, content, indent=0, width=12)
    for kind in ChangeKind:
        changes = [change for change in difference.contracts if change.kind is kind]
        if changes:
            yield line()
            yield line(Span(f"{kind} ({len(changes)})", _STYLES.get(kind, "bold")))
        for change in changes:
            yield from _change(change)
    yield line()
    for reason in difference.unclear:
        yield from (line(Span(one, "bold yellow")) for one in wrap(f"inconclusive: {reason}", COLUMNS))
    yield from (line(one) for one in wrap(_counts(difference), COLUMNS))
    style = ("bold green", "bold red", "bold yellow")[difference.exit_code]
    yield line(Span(_sentence(difference), style))
    yield line(Span(f"exit code {difference.exit_code}", "dim"))


def _change(change: ContractChange) -> Iterator[Line]:
    advice = " (advice)" if change.kind is ChangeKind.NEWLY_FAILED and not change.blocks else ""
    yield line("  ", fit(f"{change.id} · {change.level}{advice} · {_outcomes(change)}", COLUMNS - 2))
    if change.kind is ChangeKind.OTHER_REASON:
        yield from entry("before", change.reason_before, indent=4, most=_REASON_LINES)
    if reason := _reason(change):
        yield from entry("reason", reason, indent=4, most=_REASON_LINES)
    for label, findings in (("new", change.appeared), ("gone", change.gone)):
        for finding in findings[:_FINDINGS]:
            where = f"{finding.location}: " if finding.location else ""
            yield from entry(label, f"{where}{finding.message}", indent=4, most=3)
        if len(findings) > _FINDINGS:
            yield from entry(label, f"{len(findings) - _FINDINGS} more; see the JSON", indent=4)


def _facts(difference: ReportDifference) -> Iterator[tuple[str, str]]:
    """What is compared, and what differs besides contracts, with a label each."""
    yield "old", _report(difference.old)
    yield "new", _report(difference.new)
    if difference.components:
        yield (
            "components",
            ", ".join(
                f"{NAMES.get(one.name, one.name)} {one.before or '-'} → {one.after or '-'}"
                for one in difference.components
            ),
        )
    if difference.features_gained:
        yield "gained", ", ".join(difference.features_gained)
    if difference.features_lost:
        yield "lost", ", ".join(difference.features_lost)
    for name, side in (("old", difference.old), ("new", difference.new)):
        if not side.measured:
            yield "features", f"not compared: a results store had all of the {name} report, which measured none"
    for kind, label in ((ChangeKind.ADDED, "added"), (ChangeKind.REMOVED, "removed")):
        ids = [
            change.id
            for change in difference.contracts
            if (change.before is None if kind is ChangeKind.ADDED else change.after is None)
        ]
        if ids:
            yield label, ", ".join(ids)


def _report(summary: ReportSummary) -> str:
    return (
        f"{summary.stack} on {summary.target}, profile {summary.profile}, {summary.contracts} contracts, {summary.started}: "
        f"{summary.verdict}"
    )


def _outcomes(change: ContractChange) -> str:
    return f"{change.before or 'absent'} → {change.after or 'absent'}"


def _reason(change: ContractChange) -> str:
    return change.reason_before if change.kind is ChangeKind.REMOVED else change.reason_after


def _counts(difference: ReportDifference) -> str:
    numbers = Counter(change.kind for change in difference.contracts)
    advice = sum(one.kind is ChangeKind.NEWLY_FAILED and one.level is Level.SHOULD for one in difference.contracts)
    parts = [
        f"{numbers[kind]} {kind}{f' ({advice} advice)' if kind is ChangeKind.NEWLY_FAILED and advice else ''}"
        for kind in ChangeKind
        if numbers[kind]
    ]
    return ", ".join([*parts, f"{difference.unchanged} unchanged"])


def _sentence(difference: ReportDifference) -> str:
    return _MEANING[difference.exit_code]


def _row(change: ContractChange) -> str:
    cells = (
        change.kind.value,
        code_span(change.id),
        change.level.value,
        change.before or "absent",
        change.after or "absent",
    )
    return f"| {' | '.join(cells)} | {prose(fit(_reason(change), 300))} |"
