"""What a report over several runs or reports says, as cases: one for each statement that decides its exit code, or advises.

JUnit and GitHub's annotations are written from them. JUnit has failures or errors exactly when the exit code is not 0.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from trivet.model.finding import Location
from trivet.render.github import annotation
from trivet.render.wording import printable


class Weight(StrEnum):
    """What a case does to the exit code: ``FAILED`` makes it 1, ``INCONCLUSIVE`` 2; the others do nothing."""

    SKIPPED = "skipped"
    PASSED = "passed"
    ADVICE = "advice"
    INCONCLUSIVE = "inconclusive"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One statement: its suite, its name, and why it is not passed; ``remedy`` and ``location`` where there are any."""

    suite: str
    name: str
    weight: Weight = Weight.PASSED
    message: str = ""
    remedy: str = ""
    location: Location | None = None

    @property
    def text(self) -> str:
        """Message and remedy."""
        return "\n".join(filter(None, (self.message, f"remedy: {self.remedy}" if self.remedy else "")))


_CHILDREN = {
    Weight.FAILED: "failure",
    Weight.INCONCLUSIVE: "error",
    Weight.ADVICE: "skipped",
    Weight.SKIPPED: "skipped",
}
_COMMANDS = {Weight.FAILED: "error", Weight.INCONCLUSIVE: "error", Weight.ADVICE: "warning"}


def junit(title: str, cases: Iterable[Case], started: str) -> str:
    """The whole file: a suite for each name of one, in the order of their first case. Advice is a skipped case, ``advice: …``."""
    root = ET.Element("testsuites", name=printable(title))
    suites: dict[str, ET.Element] = {}
    for case in cases:
        suite = suites.get(case.suite)
        if suite is None:
            name = printable(case.suite)
            suite = suites[case.suite] = ET.SubElement(root, "testsuite", name=name, timestamp=printable(started))
        suite.append(_element(case))
    for element in (*suites.values(), root):
        for name, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            element.set(name, str(sum(case.find(child) is not None for case in element.iter("testcase"))))
        element.set("tests", str(sum(1 for _ in element.iter("testcase"))))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _element(case: Case) -> ET.Element:
    element = ET.Element("testcase", name=printable(case.name), classname=printable(case.suite), time="0.000")
    if case.location and case.location.file:
        element.set("file", printable(case.location.file))
        if case.location.line:
            element.set("line", str(case.location.line))
    if child := _CHILDREN.get(case.weight):
        message = f"advice: {case.message}" if case.weight is Weight.ADVICE else case.message
        attributes = {"message": printable(message)}
        if child != "skipped":
            attributes["type"] = case.weight.upper()
        ET.SubElement(element, child, attributes).text = printable(case.text)
    return element


def workflow_commands(cases: Iterable[Case], sentence: str, exit_code: int) -> str:
    """GitHub's workflow commands: one for each case that is not passed, worst first, and the verdict last."""
    worst_first = sorted(cases, key=lambda case: list(Weight).index(case.weight), reverse=True)
    lines = [
        annotation(_COMMANDS[case.weight], f"{case.name} ({case.weight})", case.text, case.location)
        for case in worst_first
        if case.weight in _COMMANDS
    ]
    lines.append(annotation("error" if exit_code else "notice", "trivet", sentence, None))
    return "\n".join(lines) + "\n"
