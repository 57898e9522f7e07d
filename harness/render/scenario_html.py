"""scenarios.html: one self-contained page without scripts: the effects of each incident over time, and the remedies against it."""

from __future__ import annotations

from trivet.model.scenario import IN_CLUSTER, ScenarioReport, VariantResult, Verdict
from trivet.render.page import environment
from trivet.render.scenarios import mood, sentence, symbol, worst_first
from trivet.render.timeline import svg

filename = "scenarios.html"


def write(report: ScenarioReport) -> str:
    """The whole page. All text of the report is escaped; characters that HTML does not allow are replaced."""
    from markupsafe import Markup

    def drawn(variant: VariantResult) -> Markup:
        assert variant.timeline is not None
        # svg() escapes its text.
        return Markup(svg(variant.timeline, f"{variant.name}: {variant.verdict.value}"))

    templates = environment()
    templates.globals |= {"mood": mood, "symbol": symbol, "drawn": drawn}
    templates.tests["in_cluster"] = lambda name: name.startswith(IN_CLUSTER)
    return (
        templates.get_template("scenarios.html.j2").render(
            report=report,
            results=worst_first(report.scenarios),
            sentence=sentence(report),
            tone=_tone(report),
        )
        + "\n"
    )


def _tone(report: ScenarioReport) -> str:
    """The colour of the page: of the worst verdict, which the exit code does not show if the incident is expected."""
    if any(result.verdict is Verdict.VULNERABLE for result in report.scenarios):
        return mood(Verdict.VULNERABLE)
    return ("passed", "failed", "inconclusive")[report.exit_code]
