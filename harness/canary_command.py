"""The commands ``trivet canary …``: their options, and their exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from trivet.cli_options import Function, InputPath
from trivet.errors import UsageError, unknown
from trivet.operation_options import (
    check_report_options,
    check_source,
    cluster_of,
    cluster_options,
    finish,
    judging_options,
    known_requests_of,
    limits_of,
    namespace_option,
    no_known_requests,
    prometheus_of,
    registry_names,
    registry_options,
    report_options,
    say,
    tracking_if_named,
)

_FORWARDED = {
    "prometheus": "--prometheus",
    "prometheus_token_file": "--prometheus-token-file",
    "prometheus_ca_file": "--prometheus-ca-file",
    "prometheus_user": "--prometheus-user",
    "source": "--source",
    "revision_url": "--revision-url",
    "interval": "--interval",
    "patience": "--patience",
    "server": "--mlflow",
    "production_alias": "--production-alias",
    "canary_alias": "--canary-alias",
}
"""The options with a value that ``render`` writes into the manifest, and `judge` reads there."""


@click.group()
def canary() -> None:
    """Judge canaries, promote them, roll them back, and run the judge in a cluster."""


@canary.command()
@click.argument("service", metavar="SERVICE")
@cluster_options
@judging_options
@click.option(
    "--known",
    type=InputPath(path_type=Path),
    metavar="FILE",
    help="A JSON file with requests whose answers are known; in each window one is sent to both revisions.",
)
@registry_options
@click.option("--restart", is_flag=True, help="Forget an earlier judgement of this canary, and begin anew.")
@report_options
def judge(
    service: str,
    namespace: str,
    context: str | None,
    kubeconfig: str | None,
    prometheus: str,
    prometheus_token_file: str | None,
    prometheus_ca_file: str | None,
    prometheus_user: str | None,
    source: str | None,
    limits: Sequence[str],
    interval: float,
    patience: float,
    decide_only: bool,
    revision_url: str | None,
    known: Path | None,
    restart: bool,
    server: str,
    output: str,
    file: Path | None,
    decision_file: Path | None,
    exit_zero: bool,
    **names: Any,
) -> int:
    """Judge the canary of an InferenceService until it is decided, then promote it or roll it back.

    State and lease are in the Lease trivet-canary-SERVICE: a judge that is killed goes on where it was, and of two at once one waits.
    Without a canary there is nothing to do.

    Exit codes: 0 promoted, or no canary; 1 rolled back; 2 undecided, or nothing is decided because Prometheus, the API server, a permission
    or the canary itself is gone; 3 wrong usage.
    """
    from trivet.operations.canary_metrics import PrometheusMetrics
    from trivet.operations.canary_run import RunSettings, run_canary
    from trivet.operations.deploying import canary_actions

    check_report_options(output)
    settings = RunSettings(interval=interval, patience=patience, decide_only=decide_only, restart=restart)
    metrics = PrometheusMetrics(
        prometheus=prometheus_of(
            prometheus, token_file=prometheus_token_file, ca_file=prometheus_ca_file, user=prometheus_user
        ),
        namespace=namespace,
        source_name=source or "",
    )
    check_source(source)
    chosen = limits_of(limits)
    answers = known_requests_of(service, namespace, known, revision_url)
    cluster = cluster_of(context, kubeconfig)
    actions = canary_actions(
        service,
        namespace,
        cluster=cluster,
        tracking=tracking_if_named(server),
        registry=registry_names(**names),
        progress=say,
    )
    report = run_canary(
        service,
        namespace,
        cluster=cluster,
        metrics=metrics,
        actions=actions,
        limits=chosen,
        known=answers,
        settings=settings,
        progress=say,
    )
    return finish(report, output=output, file=file, decision_file=decision_file, exit_zero=exit_zero)


def _change_options(function: Function) -> Function:
    """Options of the commands that move traffic without a judgement."""

    @click.argument("service", metavar="SERVICE")
    @click.option(
        "--revision", required=True, metavar="NAME", help="The newest revision; if another one is, nothing changes."
    )
    @cluster_options
    @registry_options
    @report_options
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


@canary.command()
@_change_options
def promote(revision: str, **options: Any) -> int:
    """Give a revision all traffic, and move links and aliases with it.

    Exit codes: 0 it has all traffic, 2 another revision is the newest, or the API server or MLflow does not answer, 3 wrong usage.
    """
    return _change(revision, promoting=True, **options)


@canary.command()
@_change_options
def rollback(revision: str, **options: Any) -> int:
    """Take the traffic from a revision: give it to what served before, and make the service that again.

    Exit codes: 0 it has no traffic, 2 another revision is the newest, or the API server or MLflow does not answer, 3 wrong usage.
    """
    return _change(revision, promoting=False, **options)


def _change(
    revision: str,
    *,
    promoting: bool,
    service: str,
    namespace: str,
    context: str | None,
    kubeconfig: str | None,
    server: str,
    output: str,
    file: Path | None,
    decision_file: Path | None,
    exit_zero: bool,
    **names: Any,
) -> int:
    from trivet.model.operation import Decision, OperationReport
    from trivet.operations.deploying import canary_actions

    check_report_options(output)
    cluster = cluster_of(context, kubeconfig)
    tracking = tracking_if_named(server)
    actions = canary_actions(
        service, namespace, cluster=cluster, tracking=tracking, registry=registry_names(**names), progress=say
    )
    (actions.promote if promoting else actions.roll_back)(revision)
    report = OperationReport(
        command=f"trivet canary {'promote' if promoting else 'rollback'}",
        decision=Decision.PROMOTED if promoting else Decision.ROLLED_BACK,
        reason=f"{revision} has {'all' if promoting else 'no'} traffic of {service}",
        namespace=namespace,
        service=service,
        revision=revision,
        acted=True,
    )
    return finish(report, output=output, file=file, decision_file=decision_file, exit_zero=exit_zero)


@canary.command()
@click.argument("service", metavar="SERVICE")
@namespace_option
@click.option("--deploy", "deploying", is_flag=True, help="Also what `trivet deploy` needs.")
def rbac(service: str, namespace: str, deploying: bool) -> None:
    """Print the ServiceAccount, Role and RoleBinding that judging, promoting and rolling back a service needs."""
    from trivet.operations.rbac import canary_rbac

    _print(canary_rbac(service, namespace, deploying=deploying))


@canary.command()
@click.argument("service", metavar="SERVICE")
@click.option("--as", "kind", required=True, help="What to print: cronjob, job or argo.")
@click.option("--image", required=True, metavar="NAME", help="The image with trivet, as docs/operations.md builds it.")
@click.option("--schedule", metavar="CRON", help="When a CronJob looks for a canary (default: every 5 minutes).")
@namespace_option
@judging_options
@click.option("--known-config-map", metavar="NAME", help="The ConfigMap with known requests, in its key known.json.")
@registry_options
def render(
    service: str,
    kind: str,
    image: str,
    schedule: str | None,
    namespace: str,
    limits: Sequence[str],
    decide_only: bool,
    known_config_map: str | None,
    stages: bool,
    **options: Any,
) -> None:
    """Print the manifest that runs `trivet canary judge` in a cluster: a CronJob, a Job or an Argo WorkflowTemplate.

    It needs what `trivet canary rbac` prints. The other options are those of the judge.
    """
    from trivet.operations.canary_run import RunSettings
    from trivet.operations.manifests import RENDERERS

    if kind not in RENDERERS:
        raise unknown("manifest", kind, RENDERERS)
    if schedule and kind != "cronjob":
        raise UsageError(
            f"a schedule is of a CronJob, not of --as {kind}", remedy="omit --schedule, or use --as cronjob"
        )
    if options["revision_url"] and not known_config_map:
        raise no_known_requests("--known-config-map NAME")
    RunSettings(interval=options["interval"], patience=options["patience"])
    limits_of(limits)
    check_source(options["source"])
    arguments = [word for name, option in _FORWARDED.items() if options[name] for word in (option, f"{options[name]}")]
    arguments += [word for one in limits for word in ("--limit", one)]
    arguments += [flag for flag, given in (("--decide-only", decide_only), ("--stages", stages)) if given]
    given = {"schedule": schedule, "known_config_map": known_config_map}
    chosen: Mapping[str, str] = {name: value for name, value in given.items() if value}
    _print([RENDERERS[kind](service, namespace, image=image, arguments=arguments, **chosen)])


def _print(documents: Sequence[Mapping[str, Any]]) -> None:
    from trivet.operations.manifest_yaml import as_yaml

    click.echo(as_yaml(documents), nl=False)
