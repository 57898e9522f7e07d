"""fleet.html: one self-contained page without scripts: models by flavor and verdict at a glance, then each model that is not fine."""

from __future__ import annotations

from collections import Counter

from trivet.model.fleet import FleetReport, ModelVerdict
from trivet.render.fleet import MEANING, MOODS, SYMBOLS, clients_sentence, named, sentence
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
    }
    cells = Counter((_flavor(model.flavors), model.verdict) for model in report.models)
    worst_first = list(ModelVerdict)
    return (
        templates.get_template("fleet.html.j2").render(
            report=report,
            sentence=sentence(report),
            tone=("passed", "failed", "inconclusive", "inconclusive")[report.exit_code],
            verdicts=worst_first,
            flavors=sorted({flavor for flavor, _ in cells}),
            cells=cells,
            models=sorted(
                (model for model in report.models if model.verdict is not ModelVerdict.FINE),
                key=lambda model: worst_first.index(model.verdict),
            ),
        )
        + "\n"
    )


def _flavor(flavors: tuple[str, ...]) -> str:
    """The flavor that says what the model is."""
    return next((flavor for flavor in flavors if flavor != LOADER), flavors[0] if flavors else "unreadable")
