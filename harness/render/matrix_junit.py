"""junit.xml of a matrix: a suite for each cell, a test case for each contract."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from trivet.model.matrix import Cell, MatrixReport
from trivet.model.outcome import Outcome, blocks
from trivet.render.wording import printable

filename = "junit.xml"


def write(report: MatrixReport) -> str:
    """The whole file."""
    root = ET.Element("testsuites", name=printable(f"trivet matrix of {report.base} on {report.target}"))
    for cell in report.cells:
        _suite(root, cell, report.provenance.started)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, cell: Cell, started: str) -> None:
    suite = ET.SubElement(root, "testsuite", name=printable(cell.name), timestamp=printable(started))
    if cell.error:
        case = ET.SubElement(suite, "testcase", name="cell", classname="trivet")
        ET.SubElement(case, "error", type="ERROR", message=printable(cell.error))
    for result in cell.contracts:
        case = ET.SubElement(suite, "testcase", name=printable(result.id), classname=printable(cell.name))
        if blocks(result.outcome, result.level):
            kind = "failure" if result.outcome is Outcome.FAILED else "error"
            ET.SubElement(case, kind, type=result.outcome.value, message=printable(result.reason))
        elif result.outcome is not Outcome.PASSED:
            ET.SubElement(case, "skipped", message=printable(f"{result.outcome.value}: {result.reason}"))
    for name, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(child) is not None for case in suite)))
    suite.set("tests", str(len(suite)))
