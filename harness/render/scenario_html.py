"""scenarios.html: one self-contained page that runs no script: what happened to the platform, second by second, and what protects it."""

from __future__ import annotations

from importlib.resources import files

from trivet.model.scenario import ScenarioReport, VariantResult
from trivet.render.scenarios import mood, sentence, symbol, worst_first
from trivet.render.timeline import svg
from trivet.render.wording import printable

filename = "scenarios.html"


def write(report: ScenarioReport) -> str:
    """The whole page. All text of the report is escaped; characters that no page may hold are replaced."""
    import jinja2
    from markupsafe import Markup

    def drawn(variant: VariantResult) -> Markup:
        assert variant.timeline is not None
        # The drawing escapes its own text.
        return Markup(svg(variant.timeline, f"{variant.name}: {variant.verdict.value}"))

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"mood": mood, "symbol": symbol, "drawn": drawn}
    template = environment.from_string(files("trivet.render").joinpath("scenarios.html.j2").read_text(encoding="utf-8"))
    return (
        template.render(
            report=report,
            results=worst_first(report.scenarios),
            sentence=sentence(report),
            tone=("passed", "failed", "inconclusive")[report.exit_code],
        )
        + "\n"
    )
