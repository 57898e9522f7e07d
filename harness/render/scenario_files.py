"""The files of a report of scenarios: scenarios.json, scenarios.html, and an SVG per timeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trivet.errors import UsageError
from trivet.model.scenario import ScenarioReport
from trivet.render import scenario_html, scenario_json
from trivet.render.timeline import svg


def write_files(report: ScenarioReport, directory: Path) -> list[Path]:
    """Write the files to ``directory``, which is created if missing. Raises UsageError when writing fails."""
    texts = {writer.filename: writer.write(report) for writer in (scenario_json, scenario_html)}
    for result in report.scenarios:
        for variant in result.variants:
            if variant.timeline:
                title = f"{result.id} {variant.name}: {variant.verdict.value}"
                texts[f"timelines/{result.id}.{variant.name}.svg"] = svg(variant.timeline, title)
    return write_texts(texts, directory)


def write_texts(texts: Mapping[str, str], directory: Path) -> list[Path]:
    """Write ``texts`` by their paths below ``directory``, which is created if missing. Raises UsageError when writing fails."""
    written = []
    try:
        for name, text in texts.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {str(directory)!r}: {error.strerror}",
            remedy="pass a writable directory with enough space",
        ) from error
    return written
