"""The command ``trivet fleet``: its options, where its output goes, and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from trivet.cli_options import (
    MEBIBYTE,
    contracts_option,
    no_feature_option,
    report_directory,
    server_option,
    settings_of,
    stack_options,
)
from trivet.errors import UsageError


@click.command()
@stack_options
@server_option
@click.option("--model", "models", multiple=True, metavar="GLOB", help="Only models whose name matches; repeatable.")
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Only versions with this alias; repeatable.")
@click.option("--stage", "stages", multiple=True, metavar="NAME", help="Only versions in this stage; repeatable.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only versions with this tag; repeatable.")
@contracts_option
@no_feature_option
@click.option(
    "--max-size",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    metavar="MiB",
    help="Download at most this much of each model.",
)
@click.option(
    "--max-lines",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="Print at most this many models each that are unknown and unsupported.",
)
@click.option("--report", metavar="DIR", help="Write fleet.json, fleet.html, fleet.xml (JUnit) and fleet.md to DIR.")
@click.option(
    "--format",
    "output",
    default="text",
    help="Print text (default), or nothing but this format: json, html, junit, markdown or github.",
)
def fleet(
    server: str,
    models: Sequence[str],
    aliases: Sequence[str],
    stages: Sequence[str],
    tags: Sequence[str],
    contracts: Sequence[str],
    max_size: int,
    max_lines: int,
    output: str,
    **flags: Any,
) -> int:
    """Judge the registered models of an MLflow server by their files.

    Reads metadata and model files from the server, and executes nothing of a model. A verdict says what the stack's runtime makes of it:
    breaks, unknown, unsupported or fine.

    Exit codes: 0 nothing breaks, 1 a model breaks, 2 unknown for some, 3 wrong usage.
    """
    from trivet.engine.acceptance import Waivers, check_waivers
    from trivet.engine.fleet import Selection, judge_fleet
    from trivet.engine.plan import make_plan
    from trivet.engine.registry import Registry
    from trivet.errors import unknown
    from trivet.render import fleet_github, fleet_html, fleet_json, fleet_junit, fleet_markdown
    from trivet.render.fleet import FleetText
    from trivet.render.writers import write_texts
    from trivet.settings import settings_folder
    from trivet.stacks.read import load_stack

    writers = {
        "json": fleet_json,
        "html": fleet_html,
        "junit": fleet_junit,
        "markdown": fleet_markdown,
        "github": fleet_github,
    }
    if output not in ("text", *writers):
        raise unknown("report format", output, ["text", *writers])
    if not server:
        raise UsageError(
            "no tracking server is named",
            remedy="pass --mlflow https://…, or set MLFLOW_TRACKING_URI as for MLflow itself",
        )
    settings = settings_of(**{**flags, "profile": flags["profile"] or "static"})
    registry = Registry(settings.plugins, settings=settings)
    stack = load_stack(settings.stack)
    made = make_plan(registry, profile=settings.profile, stack=stack, patterns=contracts)
    check_waivers(settings.waivers, registry)
    directory = report_directory(settings.report)
    text = FleetText(max_lines)

    def echo(lines: str) -> None:
        if lines and output == "text":
            click.echo(lines)

    report = judge_fleet(
        server,
        made.contracts,
        stack,
        selection=Selection(
            models=tuple(models), aliases=tuple(aliases), stages=tuple(stages), tags=dict(map(_tag, tags))
        ),
        max_bytes=max_size * MEBIBYTE,
        waivers=Waivers(settings.waivers, settings_folder(Path.cwd())),
        emit=lambda model: echo(text.lines(model)),
    )
    for error in report.errors:
        click.echo(f"trivet: {error.message}\n  remedy: {error.remedy}", err=True)
    echo(text.summary(report))
    if directory:
        for path in write_texts({one.filename: one.write(report) for one in writers.values()}, directory):
            echo(f"wrote {path}")
    if output != "text":
        click.echo(writers[output].write(report), nl=False)
    return report.exit_code


def _tag(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise UsageError(f"--tag {text!r} is not KEY=VALUE", remedy="write --tag team=search, for example")
    return key, value
