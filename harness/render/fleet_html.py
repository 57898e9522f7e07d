"""fleet.html: one self-contained page without scripts: models by flavor and verdict at a glance, predictions beside what was measured, then
each model and service that is not fine or was served."""

from __future__ import annotations

from collections import Counter

from trivet.model.fleet import FleetReport, JudgedModel, Measured, ModelVerdict
from trivet.render.fleet import MEANING, MOODS, OUTCOMES, SYMBOLS, clients_sentence, named, predictions, scope, sentence
from trivet.render.page import environment
from trivet.render.wording import waiver_sentence

filename = "fleet.html"

LOADER = "python_function"
"""The flavor that every model has beside the one that says what it is."""


def write(report: FleetReport) -> str:
    """The whole page. All text of the report is escaped; characters that HTML does not allow are replaced."""
    templates = environment()
    templates.globals |= {
        "moods": MOODS,
        "symbols": SYMBOLS,
        "meaning": MEANING,
        "named": named,
        "clients": clients_sentence,
        "waived": waiver_sentence,
        "outcomes": OUTCOMES,
        "scope": scope,
        "is_model": lambda member: isinstance(member, JudgedModel),
    }
    cells = Counter((_flavor(member.flavors), member.verdict) for member in report.members)
    worst_first = list(ModelVerdict)
    return (
        templates.get_template("fleet.html.j2").render(
            report=report,
            sentence=sentence(report),
            tone=("passed", "failed", "inconclusive", "inconclusive")[report.exit_code],
            verdicts=worst_first,
            flavors=sorted({flavor for flavor, _ in cells}),
            cells=cells,
            predictions=predictions(report),
            measured=list(Measured),
            members=sorted(
                (one for one in report.members if one.verdict is not ModelVerdict.FINE or one.measured),
                key=lambda one: (worst_first.index(one.blocks), worst_first.index(one.verdict)),
            ),
        )
        + "\n"
    )


def _flavor(flavors: tuple[str, ...]) -> str:
    """The flavor that says what the model is."""
    return next((flavor for flavor in flavors if flavor != LOADER), flavors[0] if flavors else "unreadable")
