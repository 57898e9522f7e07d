"""scenarios.html: one self-contained page that runs no script: what happened to the platform, second by second, and what protects it."""

from __future__ import annotations

from trivet.model.scenario import IN_CLUSTER, ScenarioReport, VariantResult, Verdict
from trivet.render.page import environment
from trivet.render.scenarios import mood, sentence, symbol, worst_first
from trivet.render.timeline import svg

filename = "scenarios.html"


def write(report: ScenarioReport) -> str:
    """The whole page. All text of the report is escaped; characters that no page may hold are replaced."""
    from markupsafe import Markup

    def drawn(variant: VariantResult) -> Markup:
        assert variant.timeline is not None
        # The drawing escapes its own text.
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
    """The colour of the whole: how the platform stands, which the exit code does not say where the incident was to be expected."""
    if any(result.verdict is Verdict.VULNERABLE for result in report.scenarios):
        return mood(Verdict.VULNERABLE)
    return ("passed", "failed", "inconclusive")[report.exit_code]
