"""The output of lint: one line per deviation, with its location first so that editors can jump to it; then a summary and the verdict."""

from __future__ import annotations

from trivet.engine.lint import LintResult
from trivet.model.finding import Finding
from trivet.model.outcome import Outcome, blocks
from trivet.model.report import ContractResult
from trivet.render.wording import printable, verdict_sentence


def lint_text(result: LintResult) -> str:
    """The whole output, sorted by location, without control characters."""
    report = result.report
    deviations = [
        (finding, contract)
        for contract in report.contracts
        for finding in contract.findings
        if finding.outcome.deviates
    ]
    lines = [_line(finding, contract) for finding, contract in sorted(deviations, key=_order)]
    subjects = ", ".join(f"{number:,} × {name}" for name, number in result.counts.items()) or "nothing"
    judged = sum(1 for contract in report.contracts if contract.outcome is not Outcome.SKIPPED)
    lines.append(
        f"found: {subjects}; {judged} of {len(report.contracts)} contracts apply, on stack {report.stack.name}"
    )
    if result.errors:
        lines.append(
            f"incomplete: {len(result.errors)} error{'s' if len(result.errors) > 1 else ''} while reading, listed below"
        )
    else:
        lines.append(verdict_sentence(report))
    return printable("\n".join(lines))


def _order(entry: tuple[Finding, ContractResult]) -> tuple[str, int, bool, str]:
    finding, contract = entry
    place = finding.location
    return (
        (place and place.file) or "",
        (place and place.line) or 0,
        not blocks(finding.outcome, contract.level),
        contract.id,
    )


def _line(finding: Finding, contract: ContractResult) -> str:
    place = finding.location
    where = f"{place.file}:{place.line or 1}: " if place and place.file else ""
    if blocks(finding.outcome, contract.level):
        word = finding.outcome.value
    else:
        word = "advice" if finding.outcome is Outcome.FAILED else "advice, inconclusive"
    return f"{where}{word}: {finding.message} [{contract.id}]\n    remedy: {finding.remedy or contract.remedy}"
