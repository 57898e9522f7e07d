"""The command ``trivet gate``: its options, and its exit code."""

from __future__ import annotations

from pathlib import Path

import click

from trivet.cli_options import server_option
from trivet.operation_options import check_report_options, finish, report_options, tracking_of


@click.command()
@click.argument("model", metavar="MODEL")
@server_option
@click.option("--metric", required=True, metavar="NAME", help="The metric of the runs to compare; higher is better.")
@click.option("--minimum", type=float, default=0.80, show_default=True, help="What the candidate must reach.")
@click.option(
    "--tolerance",
    type=float,
    default=0.02,
    show_default=True,
    help="How far it may be below the version in production.",
)
@click.option(
    "--production-alias",
    default="production",
    show_default=True,
    metavar="NAME",
    help="The alias, or the stage, of the version in production.",
)
@report_options
def gate(
    model: str,
    server: str,
    metric: str,
    minimum: float,
    tolerance: float,
    production_alias: str,
    output: str,
    file: Path | None,
    decision_file: Path | None,
    exit_zero: bool,
) -> int:
    """Decide whether a registered version may be deployed.

    MODEL is models:/NAME/VERSION or models:/NAME@ALIAS. It passes when the metric of its run reaches the minimum, and is not more than the
    tolerance below that of the version in production. What was not measured never passes.

    Exit codes: 0 it passes, 1 it does not, 2 MLflow does not answer, 3 wrong usage.
    """
    from trivet.operations.gating import gate_version

    check_report_options(output)
    report = gate_version(
        model,
        tracking=tracking_of(server),
        metric=metric,
        minimum=minimum,
        tolerance=tolerance,
        production_alias=production_alias,
    )
    return finish(report, output=output, file=file, decision_file=decision_file, exit_zero=exit_zero)
