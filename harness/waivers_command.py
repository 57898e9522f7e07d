"""The command ``trivet waivers``."""

from __future__ import annotations

from typing import Any

import click

from trivet.cli_options import settings_of


@click.command()
@click.option("--plugin", "plugins", multiple=True, help="A module with additional contracts; repeatable.")
def waivers(**flags: Any) -> None:
    """List the waivers of the settings, with the days that are left of each.

    A waiver of [tool.trivet.waivers], or of the file that waivers_file names, accepts a known failure until it expires.
    """
    from trivet.engine.acceptance import check_waivers, today
    from trivet.engine.registry import Registry
    from trivet.render.inventory import waivers as table

    settings = settings_of(**flags)
    check_waivers(settings.waivers, Registry(settings.plugins, settings=settings))
    click.echo(table(settings.waivers, today()), nl=False)
