"""report.sarif, SARIF 2.1.0, for code scanning: contracts as rules, deviations as results.

FAILED findings are results: ``error`` for a MUST, ``warning`` for a SHOULD; those that a waiver or the baseline accepts, or that a comment
or the baseline ignores, are suppressed (§3.35), and those that ``trivet lint --fix`` corrects in the files as they are now have a fix.
INCONCLUSIVE and ERROR do not describe the code, so they are ``toolExecutionNotifications`` of the invocation, and so are files that could
not be read; ``toolConfigurationNotifications`` are about waivers. Section numbers: SARIF 2.1.0, OASIS.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivet.model.finding import Finding, IgnoredFinding, Location, Replacement
from trivet.model.fingerprint import file_uri, fingerprint, relative_uri
from trivet.model.outcome import Outcome, blocks
from trivet.model.report import ConformanceReport, ContractResult, StackSummary
from trivet.render.wording import acceptance, printable, seam_name, waiver_warnings

if TYPE_CHECKING:
    from trivet.engine.fixes import Change

filename = "report.sarif"

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"
"""The base of paths below the working directory (§3.14.14)."""


def write(report: ConformanceReport) -> str:
    """The whole file. Paths below the working directory become relative to it; others stay absolute."""
    seen: Counter[str] = Counter()
    changes = _changes(report)
    results = [
        _result(index, result, finding, seen) | _fixes(finding, changes)
        for index, result in enumerate(report.contracts)
        for finding in result.findings
        if finding.outcome is Outcome.FAILED
    ]
    results += [
        _result(index, result, one.finding, seen) | {"suppressions": [_suppression(one)]}
        for index, result in enumerate(report.contracts)
        for one in result.ignored
        if one.finding.outcome is Outcome.FAILED
    ]
    notifications = [
        _notification(index, result)
        for index, result in enumerate(report.contracts)
        if result.outcome.deviates and result.outcome is not Outcome.FAILED
    ]
    notifications += [
        {"level": "error", "message": {"text": f"{one.message}\nRemedy: {one.remedy}"}} for one in report.errors
    ]
    run = {
        "tool": {
            "driver": {
                "name": "trivet",
                "version": report.provenance.trivet,
                "rules": [_rule(result) for result in report.contracts],
            }
        },
        "automationDetails": {"id": f"trivet/{report.stack.name}/{report.target}/{report.profile}"},
        "originalUriBaseIds": {ROOT: root()},
        "invocations": [
            {
                "executionSuccessful": not report.count(Outcome.ERROR) and not report.errors,
                "exitCode": report.exit_code,
                "toolExecutionNotifications": notifications,
                "toolConfigurationNotifications": [
                    {"level": "warning", "message": {"text": text}} for text in waiver_warnings(report)
                ],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {
            "stack": dict(report.stack.components),
            "digest": report.stack.digest,
            "verdict": report.verdict,
            **({"stacks": {one.name: _stack(one) for one in report.stacks}} if report.stacks else {}),
        },
    }
    return document(run)


def document(run: Mapping[str, Any]) -> str:
    """The file with one run; its text is made printable."""
    whole = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_printable(dict(run))]}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def root() -> dict[str, str]:
    """The place of ROOT: the working directory."""
    return {"uri": Path.cwd().as_uri().rstrip("/") + "/"}


def _rule(result: ContractResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "shortDescription": {"text": result.title},
        "fullDescription": {"text": result.rationale or result.title},
        "help": {
            "text": f"{result.rationale}\n\nRemedy: {result.remedy}",
            "markdown": f"{_markdown(result.rationale)}\n\n**Remedy:** {_markdown(result.remedy)}",
        },
        "defaultConfiguration": {"level": _level(result, Outcome.FAILED)},
        "properties": {"tags": [seam_name(result.seam)], "level": result.level.value},
    }


def _result(index: int, result: ContractResult, finding: Finding, seen: Counter[str]) -> dict[str, Any]:
    remedy = finding.remedy or result.remedy
    key = fingerprint(result.id, finding)
    seen[key] += 1
    known = acceptance(finding)
    lines = [finding.message, f"Known: {known}" if known else "", f"Remedy: {remedy}" if remedy else ""]
    body: dict[str, Any] = {
        "ruleId": result.id,
        "ruleIndex": index,
        "kind": "fail",
        "level": _level(result, Outcome.FAILED),
        "message": {"text": "\n".join(line for line in lines if line)},
        "partialFingerprints": {"trivetFinding/v1": f"{key}:{seen[key]}"},
    }
    if finding.location and (place := located(finding.location)):
        body["locations"] = [place]
    if finding.stack:
        body["properties"] = {"stack": finding.stack}
    if finding.accepted:
        body["suppressions"] = [{"kind": "external", "status": "accepted", "justification": known}]
    return body


def _stack(stack: StackSummary) -> dict[str, Any]:
    return {"components": dict(stack.components), "digest": stack.digest}


def _changes(report: ConformanceReport) -> dict[tuple[str, int, Replacement], Change]:
    """What ``--fix`` changes, by file, line and word."""
    fixable = [finding for result in report.contracts for finding in result.findings if finding.fix]
    if not fixable:
        return {}
    from trivet.engine.fixes import fixes  # reads YAML, which takes time to load

    return {(str(file.path), one.line, one.replacement): one for file in fixes(fixable) for one in file.changes}


def _fixes(finding: Finding, changes: Mapping[tuple[str, int, Replacement], Change]) -> dict[str, Any]:
    """What ``--fix`` changes for a finding (§3.27.30)."""
    place, word = finding.location, finding.fix
    if not (word and place and place.file and place.line):
        return {}
    change = changes.get((str(Path(place.file)), place.line, word))
    if change is None:
        return {}
    region = {
        "startLine": change.line,
        "startColumn": change.column,
        "endLine": change.line,
        "endColumn": change.column + len(word.old),
    }
    replacement = {"deletedRegion": region, "insertedContent": {"text": word.new}}
    artifact = {"artifactLocation": _artifact(place.file), "replacements": [replacement]}
    return {"fixes": [{"description": {"text": f"replace {word.old} with {word.new}"}, "artifactChanges": [artifact]}]}


def _suppression(ignored: IgnoredFinding) -> dict[str, str]:
    """§3.35. Whoever writes a baseline accepts what is in it."""
    if ignored.by == "comment":
        return {"kind": "inSource", "status": "accepted", "justification": ignored.reason}
    return {"kind": "external", "status": "accepted", "justification": "the baseline has it"}


def _notification(index: int, result: ContractResult) -> dict[str, Any]:
    return {
        "level": "note" if result.accepted else _level(result, result.outcome),
        "message": {"text": f"{result.outcome}: {result.reason}"},
        "associatedRule": {"id": result.id, "index": index},
    }


def _level(result: ContractResult, outcome: Outcome) -> str:
    return "error" if blocks(outcome, result.level) else "warning"


def located(location: Location) -> dict[str, Any]:
    """A location (§3.28); empty for one without file and object."""
    place: dict[str, Any] = {}
    if location.file:
        physical: dict[str, Any] = {"artifactLocation": _artifact(location.file)}
        if location.line and location.line > 0:
            physical["region"] = {"startLine": location.line}
        place["physicalLocation"] = physical
    if location.object:
        place["logicalLocations"] = [{"fullyQualifiedName": location.object, "kind": "resource"}]
    return place


def _artifact(file: str) -> dict[str, str]:
    if below := relative_uri(printable(file)):
        return {"uri": below, "uriBaseId": ROOT}
    return {"uri": file_uri(printable(file))}


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value
