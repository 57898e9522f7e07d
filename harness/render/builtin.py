"""The formats that come with trivet. Nothing heavy is imported before a report is written."""

from __future__ import annotations

from trivet.model.writer import Writer
from trivet.render import github, html, junit, report_json, report_markdown, sarif


def writers() -> dict[str, Writer]:
    """Writers by format name: the files of ``--report DIR``, the annotations of ``--format github`` last."""
    return {
        "json": report_json,
        "junit": junit,
        "html": html,
        "sarif": sarif,
        "markdown": report_markdown,
        "github": github,
    }
