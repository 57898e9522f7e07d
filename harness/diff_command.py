"""The command ``trivet diff``."""

from __future__ import annotations

from pathlib import Path

import click

from trivet.cli_options import InputPath
from trivet.errors import unknown


@click.command()
@click.argument("old", type=InputPath(path_type=Path), metavar="OLD")
@click.argument("new", type=InputPath(path_type=Path), metavar="NEW")
@click.option("--format", "output", default="text", help="Print text (default), json, markdown, html, junit or github.")
def diff(old: Path, new: Path, output: str) -> int:
    """Compare two reports: OLD and NEW are each a report.json of `trivet run`, of `trivet lint`, or a verdict.json of `trivet verdict`.

    Exit codes: 0 nothing newly failed, 1 a MUST newly failed, 2 inconclusive, 3 a file is no report of this version.
    """
    from trivet.engine.difference import difference
    from trivet.engine.verdict_difference import verdict_difference
    from trivet.model.verdict import VERDICT_REPORT
    from trivet.render import verdict_json
    from trivet.render.difference import WRITERS
    from trivet.render.report_json import kind_of, read_file

    if output not in WRITERS:
        raise unknown("format", output, WRITERS)
    if VERDICT_REPORT in (kind_of(old), kind_of(new)):
        found = verdict_difference(verdict_json.read_file(old), verdict_json.read_file(new))
    else:
        found = difference(read_file(old), read_file(new))
    click.echo(WRITERS[output](found), nl=False)
    return found.exit_code
