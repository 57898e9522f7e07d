"""junit.xml for CI systems: it has failures or errors exactly when the report is not conformant.

A suite per seam and a case per contract, named by its id. FAILED is a failure if the contract is a MUST. A SHOULD that FAILED or is
INCONCLUSIVE does not decide conformance, and JUnit has no advice, so it is a skipped case whose message begins with ``advice:``; what a
waiver or the baseline accepts is one whose message begins with ``accepted:``. A waiver that is unused or expired is a skipped case of the
suite ``waivers``.
SKIPPED is skipped; INCONCLUSIVE (of a MUST) and ERROR are errors, with the outcome as their type.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from trivet.model.finding import Finding
from trivet.model.outcome import Outcome
from trivet.model.report import ConformanceReport, ContractResult, InputError
from trivet.render.wording import (
    acceptance,
    acceptances,
    by_seam,
    judged_text,
    printable,
    seam_name,
    verdict_sentence,
    waiver_warning,
)

filename = "junit.xml"


def write(report: ConformanceReport) -> str:
    """The whole file. What could not be read is a case ``input`` with an error each.

    A report that is not conformant without any such case, because it has no contracts, gets a case ``verdict`` that states it.
    """
    root = ET.Element("testsuites", name=printable(f"trivet {report.stack.name} on {report.target}"))
    for seam, results in by_seam(report).items():
        suite = _suite(root, seam_name(seam), report, [_case(result) for result in results])
        properties = ET.Element("properties")
        for name, value in {
            "stack": report.stack.name,
            "digest": report.stack.digest,
            **report.stack.components,
            **({"stacks": ", ".join(one.name for one in report.stacks)} if report.stacks else {}),
        }.items():
            ET.SubElement(properties, "property", name=printable(name), value=printable(value))
        suite.insert(0, properties)
    if warnings := [_warning(use.name, text) for use in report.waivers if (text := waiver_warning(use))]:
        _suite(root, "waivers", report, warnings)
    if report.errors:
        _suite(root, "input", report, [_input(error) for error in report.errors])
    elif report.exit_code and not any(result.blocks for result in report.contracts):
        case = ET.Element("testcase", name="verdict", classname="trivet", time="0.000")
        ET.SubElement(case, "error", type="INCONCLUSIVE", message=printable(verdict_sentence(report)))
        _suite(root, "verdict", report, [case])
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, 0)) for suite in root)))
    root.set("time", f"{report.provenance.seconds:.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, name: str, report: ConformanceReport, cases: Sequence[ET.Element]) -> ET.Element:
    suite = ET.SubElement(root, "testsuite", name=printable(name), tests=str(len(cases)))
    for kind, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(kind, str(sum(case.find(child) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
    suite.set("timestamp", printable(report.provenance.started))
    suite.extend(cases)
    return suite


def _input(error: InputError) -> ET.Element:
    case = ET.Element("testcase", name="input", classname="trivet", time="0.000")
    child = ET.SubElement(case, "error", type="ERROR", message=printable(error.message))
    child.text = printable(f"{error.message}\n\nremedy: {error.remedy}")
    return case


def _warning(name: str, text: str) -> ET.Element:
    case = ET.Element("testcase", name=printable(name), classname="trivet.waivers", time="0.000")
    ET.SubElement(case, "skipped", message=printable(f"warning: {text}"))
    return case


def _case(result: ContractResult) -> ET.Element:
    case = ET.Element(
        "testcase",
        name=printable(result.id),
        classname=printable(result.id.rpartition(".")[0] or result.id),
        time=f"{result.seconds:.3f}",
    )
    place = next((f.location for f in result.findings if f.outcome is result.outcome and f.location), None)
    if place and place.file:
        case.set("file", printable(place.file))
        if place.line:
            case.set("line", str(place.line))
    reason = printable(result.reason)
    if result.blocks:
        child = ET.SubElement(case, "failure" if result.outcome is Outcome.FAILED else "error")
        child.set("type", result.outcome.value)
        child.set("message", reason)
        known = "".join(f"\nknown: {text}" for text in acceptances(result))
        text = f"{result.title}\n\n{result.reason}\n\nwhy: {result.rationale}\nremedy: {result.remedy}{known}"
        stacks = dict.fromkeys(f.stack for f in result.findings if f.outcome is result.outcome and f.stack)
        child.text = printable(f"{text}\nstack: {', '.join(stacks)}" if stacks else text)
    elif result.accepted:
        message = printable(f"accepted: {'; '.join(acceptances(result))}: {result.reason}")
        ET.SubElement(case, "skipped", message=message)
    elif result.outcome is Outcome.FAILED:
        ET.SubElement(case, "skipped", message=f"advice: {reason}")
    elif result.outcome is Outcome.INCONCLUSIVE:
        ET.SubElement(case, "skipped", message=f"advice: inconclusive: {reason}")
    elif result.outcome is Outcome.SKIPPED:
        ET.SubElement(case, "skipped", message=reason)
    if output := "\n".join(_observed(result)):
        ET.SubElement(case, "system-out").text = printable(output)
    return case


def _observed(result: ContractResult) -> list[str]:
    lines = [f"reused, judged {judged_text(result)}"] if result.reused else []
    for finding in result.findings:
        known = f" [{text}]" if (text := acceptance(finding)) else ""
        lines.append(f"{finding.outcome} {_located(finding)}{known}")
        if finding.outcome is not Outcome.PASSED:
            lines += [f"--- {item.name} (sha256 {item.sha256[:12]})\n{item.text}" for item in finding.evidence]
    for one in result.ignored:
        lines.append(f"ignored by {one.by} {_located(one.finding)}{f'; reason: {one.reason}' if one.reason else ''}")
    return lines


def _located(finding: Finding) -> str:
    """The message with its place before it, and with the stack that the file was judged by, if there are several."""
    place = f"{finding.location}: " if finding.location and str(finding.location) else ""
    return f"{place}{finding.message}{f' (stack {finding.stack})' if finding.stack else ''}"
