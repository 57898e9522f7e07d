"""The formats of a verdict on an upgrade, and its files."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from trivet.model.verdict import UpgradeVerdict
from trivet.render import (
    verdict_github,
    verdict_html,
    verdict_json,
    verdict_junit,
    verdict_markdown,
    verdict_sarif,
)
from trivet.render.writers import write_texts

WRITERS: dict[str, ModuleType] = {
    "json": verdict_json,
    "html": verdict_html,
    "markdown": verdict_markdown,
    "junit": verdict_junit,
    "sarif": verdict_sarif,
    "github": verdict_github,
}


def write_verdict(report: UpgradeVerdict, directory: Path) -> list[Path]:
    """Write the file of every format to ``directory``. Raises UsageError when writing fails."""
    return write_texts({writer.filename: writer.write(report) for writer in WRITERS.values()}, directory)
