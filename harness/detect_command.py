"""The command ``trivet detect``: its options, and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from trivet.cli_options import namespaces_option, settings_of


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="OUTPUT_FOLDER")
@click.option("--context", metavar="NAME", help="The kubeconfig context of the platform's cluster.")
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig (default: kubectl's).")
@namespaces_option(
    "Look for servers, pipelines and services in this namespace; repeatable (default: those of the settings, else all)."
)
@click.option("--mlflow", metavar="URL", help="The tracking server (default: look for its Service).")
@click.option("--kfp", metavar="URL", help="KFP's API server (default: look for its Service).")
@click.option(
    "--exec-in-runtime",
    is_flag=True,
    help="Read a runtime's packages by a command in a running pod of an InferenceService.",
)
def detect(
    folder: Path,
    context: str | None,
    kubeconfig: str | None,
    namespaces: Sequence[str],
    mlflow: str | None,
    kfp: str | None,
    exec_in_runtime: bool,
) -> int:
    """Write a stack from what runs on a cluster.

    Reads only. Each value says where it was read; what cannot be read stays unknown, with the reason.

    Exit codes: 0 the version of every component is known, 2 one is not or the cluster cannot be read, 3 wrong usage.
    """
    from trivet.engine.detect import Sources
    from trivet.engine.detect import detect as engine_detect
    from trivet.engine.detected_stack import DETECTED_COMPONENTS, check_folder, write_detected
    from trivet.render.inventory import facts_table
    from trivet.targets.existing.target import kubectl_of

    check_folder(folder)
    existing = settings_of(context=context).existing
    existing = replace(existing, kubeconfig=kubeconfig or existing.kubeconfig)
    of_settings = dict.fromkeys(filter(None, (existing.pipeline_namespace, existing.serving_namespace)))
    sources = Sources(
        namespaces=tuple(namespaces or of_settings),
        mlflow=mlflow or existing.tracking_url,
        kfp=kfp or "",
        exec_in_runtime=exec_in_runtime,
    )
    stack = write_detected(engine_detect(kubectl_of(existing), sources), folder)
    click.echo(facts_table(stack.facts))
    click.echo(f"wrote {folder}; judge files by it with `trivet lint --stack {folder}`")
    return 2 if any(fact.name in DETECTED_COMPONENTS and not fact.value for fact in stack.facts) else 0
