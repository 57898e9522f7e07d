"""junit.xml of a matrix: a suite for each cell, a test case for each contract."""

from __future__ import annotations

from collections.abc import Iterator

from trivet.model.matrix import MatrixReport
from trivet.model.outcome import Outcome, blocks
from trivet.render.cases import Case, Weight, junit

filename = "junit.xml"

_WEIGHTS = {Outcome.PASSED: Weight.PASSED, Outcome.SKIPPED: Weight.SKIPPED, Outcome.FAILED: Weight.FAILED}


def write(report: MatrixReport) -> str:
    """The whole file."""
    return junit(f"trivet matrix of {report.base} on {report.target}", _cases(report), report.provenance.started)


def _cases(report: MatrixReport) -> Iterator[Case]:
    for cell in report.cells:
        if cell.error:
            yield Case(suite=cell.name, name="cell", weight=Weight.INCONCLUSIVE, message=cell.error)
        for one in cell.contracts:
            weight = _WEIGHTS.get(one.outcome, Weight.INCONCLUSIVE)
            if one.outcome.deviates and not blocks(one.outcome, one.level):
                weight = Weight.ADVICE
            yield Case(suite=cell.name, name=one.id, weight=weight, message=f"{one.outcome}: {one.reason}")
