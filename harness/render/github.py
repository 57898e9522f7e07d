"""GitHub workflow commands: an annotation per deviation, at its file and line if known.

Errors make the report not conformant; warnings are advice, or about waivers; notices are what waivers or the baseline accept. GitHub
shows the first ten errors and the first ten warnings of a step, so the worst findings come first.
Escaping: ``packages/core/src/command.ts`` of actions/toolkit.
"""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.finding import Location
from trivet.model.outcome import Outcome, blocks
from trivet.model.report import ConformanceReport, ContractResult
from trivet.render.wording import (
    OUTCOME_WORDINGS,
    acceptance,
    printable,
    verdict_sentence,
    waiver_warnings,
    wording_of,
)

filename = "github-annotations.txt"


def write(report: ConformanceReport) -> str:
    """One command per line; the last one states the verdict."""
    results = sorted(report.contracts, key=lambda result: OUTCOME_WORDINGS.index(wording_of(result)))
    lines = [line for result in results for line in _annotations(result)]
    lines += [annotation("error", "trivet: not judged", _text(one.message, one.remedy), None) for one in report.errors]
    lines += [annotation("warning", "trivet: waiver", text, None) for text in waiver_warnings(report)]
    command = "error" if report.exit_code else "notice"
    lines.append(annotation(command, "trivet", verdict_sentence(report), None))
    return "\n".join(lines) + "\n"


def _annotations(result: ContractResult) -> Iterator[str]:
    if not result.outcome.deviates:
        return
    found = [finding for finding in result.findings if finding.outcome is result.outcome or finding.accepted]
    for finding in sorted(found, key=lambda finding: finding.accepted):
        stack = f" (stack {finding.stack})" if finding.stack else ""
        text = _text(f"{finding.message}{stack}", finding.remedy or result.remedy, acceptance(finding))
        yield annotation(*_kind(result, finding.outcome, accepted=finding.accepted), text, finding.location)
    if not found:
        yield annotation(*_kind(result, result.outcome, accepted=False), result.reason, None)


def _kind(result: ContractResult, outcome: Outcome, *, accepted: bool) -> tuple[str, str]:
    """The command for a finding, and its title."""
    if accepted:
        return "notice", f"{result.id} {outcome} (accepted)"
    if blocks(outcome, result.level):
        return "error", f"{result.id} {outcome}"
    return "warning", f"{result.id} {outcome} (advice)"


def _text(message: str, remedy: str, known: str = "") -> str:
    lines = [message, f"known: {known}" if known else "", f"remedy: {remedy}" if remedy else ""]
    return "\n".join(line for line in lines if line)


def annotation(command: str, title: str, message: str, location: Location | None) -> str:
    """One workflow command, escaped."""
    properties = {}
    if location and location.file:
        properties["file"] = location.file
        if location.line:
            properties["line"] = str(location.line)
    elif location and location.object:
        message = f"{location.object}: {message}"
    properties["title"] = title
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{command} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
