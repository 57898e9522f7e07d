"""fleet.xml for CI systems: a case per registered version. It has failures or errors exactly when the exit code is not 0.

A model that breaks is a failure; one of which it is unknown, and what could not be read of the server, is an error; one that is
unsupported is skipped with a message that begins with ``advice:``, since JUnit has no advice.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from trivet.model.fleet import FleetReport, JudgedModel, ModelVerdict
from trivet.render.fleet import MEANING, sentence
from trivet.render.wording import printable, waiver_sentence

filename = "fleet.xml"


def write(report: FleetReport) -> str:
    """The whole file."""
    suite = ET.Element("testsuite", name=printable(f"trivet fleet {report.stack.name}"))
    for model in report.models:
        suite.append(_case(model))
    for failure in report.errors:
        case = ET.SubElement(suite, "testcase", name="server", classname="trivet", time="0.000")
        child = ET.SubElement(case, "error", type="ERROR", message=printable(failure.message))
        child.text = printable(f"{failure.message}\n\nremedy: {failure.remedy}")
    if not report.models and not report.errors:
        case = ET.SubElement(suite, "testcase", name="verdict", classname="trivet", time="0.000")
        ET.SubElement(case, "error", type="INCONCLUSIVE", message=printable(sentence(report)))
    suite.set("tests", str(len(suite)))
    for kind, child_name in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(kind, str(len(suite.findall(f"testcase/{child_name}"))))
    suite.set("time", f"{report.provenance.seconds:.3f}")
    suite.set("timestamp", printable(report.provenance.started))
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _case(model: JudgedModel) -> ET.Element:
    case = ET.Element("testcase", name=printable(model.uri), classname=printable(model.name), time="0.000")
    message = printable(model.reasons[0].message if model.reasons else MEANING[model.verdict])
    if model.blocks is not model.verdict and model.blocks not in (ModelVerdict.BREAKS, ModelVerdict.UNKNOWN):
        waivers = dict.fromkeys(waiver_sentence(one.waiver) for one in model.reasons if one.waiver)
        ET.SubElement(case, "skipped", message=printable(f"accepted: {message}; {'; '.join(waivers)}"))
    elif model.verdict is ModelVerdict.UNSUPPORTED:
        ET.SubElement(case, "skipped", message=f"advice: {message}")
    elif model.verdict is not ModelVerdict.FINE:
        child = ET.SubElement(case, "failure" if model.verdict is ModelVerdict.BREAKS else "error")
        child.set("type", model.verdict.value)
        child.set("message", message)
        child.text = printable(
            "\n".join(f"{one.place}: {one.message} [{one.contract}]\nremedy: {one.remedy}" for one in model.reasons)
        )
    return case
