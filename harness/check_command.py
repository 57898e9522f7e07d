"""The command ``trivet check``: its options, where its output goes, and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trivet.cli_options import (
    FORMAT_HELP,
    MEBIBYTE,
    contracts_option,
    no_feature_option,
    report_directory,
    results_option,
    server_option,
    settings_of,
    stack_options,
    stream_beside,
    writers_of,
)

if TYPE_CHECKING:
    from trivet.model.contract import Contract
    from trivet.model.target import Target


@click.command()
@stack_options
@click.argument("model", metavar="MODEL")
@server_option
@contracts_option
@no_feature_option
@results_option
@click.option("--network", is_flag=True, help="Leave the model this machine's network.")
@click.option(
    "--max-size",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    metavar="MiB",
    help="Download at most this much.",
)
@click.option(
    "--report", metavar="DIR", help="Write report.json, junit.xml, report.html, report.sarif and report.md to DIR."
)
@click.option("--format", "formats", multiple=True, help=FORMAT_HELP)
def check(
    model: str,
    server: str,
    contracts: Sequence[str],
    results: str | None,
    network: bool,
    max_size: int,
    formats: Sequence[str],
    **flags: Any,
) -> int:
    """Serve one model in the stack's runtime, and compare its answers.

    MODEL is a directory, models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN/PATH or a storage URI such as s3://BUCKET/PATH/. The model is
    executed: once in the environment that it asks for, and once in the runtime, without your environment variables and, on Linux, without a
    network.

    Exit codes: 0 conformant, 1 a contract failed, 2 inconclusive, 3 usage error.
    """
    from trivet.engine.acceptance import Acceptance, Waivers, check_waivers
    from trivet.engine.plan import make_plan
    from trivet.engine.registry import Registry
    from trivet.engine.results_store import ResultsStore
    from trivet.engine.run import run as engine_run
    from trivet.render.terminal import watch
    from trivet.render.writers import write_files
    from trivet.settings import settings_folder
    from trivet.stacks.read import load_stack
    from trivet.targets.local.model import ModelTarget
    from trivet.targets.local.model_source import model_named

    settings = settings_of(**flags)
    registry = Registry(settings.plugins, settings=settings)
    writers = writers_of(registry, formats)
    stack = load_stack(settings.stack)
    check_waivers(settings.waivers, registry)
    directory = report_directory(settings.report)
    store = ResultsStore(Path(results).expanduser()) if results else None
    beside = stream_beside(formats)
    with (
        watch(beside) as emit,
        model_named(model, stack, emit, server=server, max_bytes=max_size * MEBIBYTE) as found,
    ):
        target = ModelTarget(found.directory, network=network, predecessor=found.predecessor)
        plan = make_plan(registry, profile=settings.profile, stack=stack, target=target, patterns=contracts)
        chosen = [contract for contract in plan.contracts if contracts or _is_of_a_model(contract, target)]
        waivers = Waivers(settings.waivers, settings_folder(Path.cwd()))
        report = engine_run(
            chosen,
            target=target,
            stack=stack,
            profile=plan.profile,
            emit=emit,
            command="trivet check",
            results=store,
            acceptance=Acceptance(stack=stack.name, target=target.name, waivers=waivers),
        )
    if directory:
        for path in write_files(report, directory, registry.writers):
            click.echo(f"wrote {path}", file=beside)
    for writer in writers:
        click.echo(writer.write(report))
    return report.exit_code


def _is_of_a_model(contract: Contract, target: Target) -> bool:
    """Whether a contract is about one model: it judges its directory, or asks only for clients that there are for one."""
    observes = contract.subject == "model_directory" or (contract.subject is None and bool(contract.clients))
    return observes and set(contract.clients) <= set(target.clients)
