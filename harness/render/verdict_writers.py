"""The formats of a verdict on an upgrade, and its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from trivet.model.verdict import UpgradeVerdict
from trivet.render import verdict_html, verdict_json, verdict_markdown
from trivet.render.writers import write_texts

WRITERS: Mapping[str, Callable[[UpgradeVerdict], str]] = {
    "json": verdict_json.write,
    "html": verdict_html.write,
    "markdown": verdict_markdown.write,
}


def write_verdict(report: UpgradeVerdict, directory: Path) -> list[Path]:
    """Write the file of every format to ``directory``. Raises UsageError when writing fails."""
    modules = (verdict_json, verdict_html, verdict_markdown)
    return write_texts({module.filename: module.write(report) for module in modules}, directory)
