"""The command ``trivet deploy``: its options, and its exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trivet.operation_options import (
    check_report_options,
    cluster_of,
    cluster_options,
    finish,
    registry_names,
    registry_options,
    report_options,
    say,
    tracking_of,
)


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("service", metavar="SERVICE")
@cluster_options
@registry_options
@click.option("--artifact-root", default="", metavar="URI", help="The store behind an artifact proxy of MLflow.")
@click.option("--pipeline", default="", metavar="NAME", help="The pipeline that the service names in a label.")
@click.option(
    "--canary-percent",
    type=int,
    metavar="PERCENT",
    help="The canary's share of the traffic (default: 20; 100: all at once).",
)
@click.option(
    "--mode", default="Serverless", show_default=True, help="The deployment mode: Serverless, RawDeployment …"
)
@click.option("--runtime", default="", metavar="NAME", help="The ServingRuntime (default: KServe selects one).")
@click.option("--protocol", default="v2", show_default=True, help="The protocol: v1, v2, grpc-v1 or grpc-v2.")
@click.option("--min-replicas", type=int, default=2, show_default=True)
@click.option("--max-replicas", type=int, default=10, show_default=True)
@click.option(
    "--cpu-target", type=int, default=70, show_default=True, metavar="PERCENT", help="0: the autoscaler's default."
)
@click.option("--service-account", default="", metavar="NAME", help="The ServiceAccount that may read the model.")
@click.option("--timeout", type=float, default=600.0, show_default=True, metavar="SECONDS", help="Until it must serve.")
@click.option("--dry-run", is_flag=True, help="Print the InferenceService, and apply nothing.")
@report_options
def deploy(
    model: str,
    service: str,
    namespace: str,
    context: str | None,
    kubeconfig: str | None,
    server: str,
    production_alias: str,
    canary_alias: str,
    stages: bool,
    artifact_root: str,
    pipeline: str,
    canary_percent: int | None,
    mode: str,
    cpu_target: int,
    timeout: float,
    dry_run: bool,
    output: str,
    file: Path | None,
    decision_file: Path | None,
    exit_zero: bool,
    **settings: Any,
) -> int:
    """Serve a registered version, as a canary beside the version that serves now, and wait until it does.

    MODEL is models:/NAME/VERSION or models:/NAME@ALIAS, SERVICE the name of the InferenceService, which is created or patched. A first
    deployment gets all traffic. What served before is kept for `trivet canary judge` and `trivet canary rollback`.

    Exit codes: 0 it serves, 2 it does not within the timeout, or MLflow or the API server does not answer, 3 wrong usage.
    """
    from trivet.operations.deploying import deploy as apply_and_wait
    from trivet.operations.deploying import service_of

    check_report_options(output)
    tracking = tracking_of(server, artifact_root=artifact_root)
    document = service_of(
        model,
        service,
        tracking=tracking,
        namespace=namespace,
        pipeline=pipeline,
        canary_percent=canary_percent,
        deployment_mode=mode,
        cpu_target=cpu_target or None,
        **settings,
    )
    if dry_run:
        import yaml

        click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)
        return 0
    report = apply_and_wait(
        document,
        cluster=cluster_of(context, kubeconfig),
        tracking=tracking,
        registry=registry_names(production_alias=production_alias, canary_alias=canary_alias, stages=stages),
        timeout=timeout,
        progress=say,
    )
    return finish(report, output=output, file=file, decision_file=decision_file, exit_zero=exit_zero)
