"""The files of a report of scenarios: scenarios.json, scenarios.html, and an SVG per timeline."""

from __future__ import annotations

from pathlib import Path

from trivet.model.scenario import ScenarioReport
from trivet.render import scenario_html, scenario_json
from trivet.render.timeline import svg
from trivet.render.writers import write_texts


def write_files(report: ScenarioReport, directory: Path) -> list[Path]:
    """Write the files to ``directory``, which is created if missing. Raises UsageError when writing fails."""
    texts = {writer.filename: writer.write(report) for writer in (scenario_json, scenario_html)}
    for result in report.scenarios:
        for variant in result.variants:
            if variant.timeline:
                title = f"{result.id} {variant.name}: {variant.verdict.value}"
                texts[f"timelines/{result.id}.{variant.name}.svg"] = svg(variant.timeline, title)
    return write_texts(texts, directory)
