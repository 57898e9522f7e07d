"""Options of the commands that deploy, gate and judge, and what becomes of them. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trivet.cli_options import Function, InputPath, server_option
from trivet.errors import UsageError, unknown

if TYPE_CHECKING:
    from trivet.integration.canary import CanaryLimits
    from trivet.integration.deployment import RegistryNames
    from trivet.integration.kubernetes_api import KubernetesApi
    from trivet.integration.prometheus import Prometheus
    from trivet.integration.tracking import TrackingApi
    from trivet.model.operation import OperationReport
    from trivet.operations.known_request_client import KnownRequestClient

PROMETHEUS_PASSWORD = "TRIVET_PROMETHEUS_PASSWORD"
"""The variable with the password that belongs to --prometheus-user: arguments are visible to every process of a machine."""

namespace_option = click.option(
    "-n", "--namespace", default="default", show_default=True, metavar="NAME", help="The namespace of the service."
)


def cluster_options(function: Function) -> Function:
    """Options of commands that read and change a service; in a pod without them, its ServiceAccount counts."""

    @namespace_option
    @click.option("--context", metavar="NAME", help="The kubeconfig context (default: the current one).")
    @click.option("--kubeconfig", metavar="FILE", help="The kubeconfig (default: kubectl's; in a pod: its account).")
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


def registry_options(function: Function) -> Function:
    """Options of commands after which MLflow's registry says what serves."""

    @server_option
    @click.option(
        "--production-alias", default="production", show_default=True, metavar="NAME", help="The alias of what serves."
    )
    @click.option(
        "--canary-alias", default="canary", show_default=True, metavar="NAME", help="The alias of the canary's version."
    )
    @click.option("--stages", is_flag=True, help="Move the stages Production, Staging and Archived too.")
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


def judging_options(function: Function) -> Function:
    """Options of judging a canary: where its metrics are, and by which limits it is judged."""

    @click.option("--prometheus", required=True, metavar="URL", help="The Prometheus that has the service's metrics.")
    @click.option("--prometheus-token-file", metavar="FILE", help="A file with a bearer token for it.")
    @click.option("--prometheus-ca-file", metavar="FILE", help="The certificate authority of its server.")
    @click.option(
        "--prometheus-user", metavar="NAME", help=f"A user name for it; the password is {PROMETHEUS_PASSWORD}."
    )
    @click.option("--source", metavar="NAME", help="What counts the requests (default: what Prometheus has).")
    @click.option(
        "--limit", "limits", multiple=True, metavar="NAME=VALUE", help="Another limit of CanaryLimits; repeatable."
    )
    @click.option(
        "--interval", type=float, default=60.0, show_default=True, metavar="SECONDS", help="The length of a window."
    )
    @click.option(
        "--patience",
        type=float,
        default=600.0,
        show_default=True,
        metavar="SECONDS",
        help="Give up when Prometheus or the API server is away for so long.",
    )
    @click.option("--decide-only", is_flag=True, help="Decide, and leave the service as it is.")
    @click.option(
        "--revision-url",
        metavar="URL",
        help="Where known requests are sent, with {revision} and {namespace} for the names (default: the revision's Service).",
    )
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


def report_options(function: Function) -> Function:
    """Where the report of an operation goes."""

    @click.option("--format", "output", default="text", help="Print text (default) or json.")
    @click.option(
        "--output",
        "file",
        type=InputPath(path_type=Path),
        metavar="FILE",
        help="Also write the report to FILE, as JSON.",
    )
    @click.option(
        "--decision-file",
        type=InputPath(path_type=Path),
        metavar="FILE",
        help="Also write the decision, one word, to FILE.",
    )
    @click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is decided; errors keep their exit codes.")
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


def check_report_options(output: str) -> None:
    """Raise UsageError for an unknown format, before anything is done."""
    if output not in ("text", "json"):
        raise unknown("format", output, ("text", "json"))


def finish(
    report: OperationReport, *, output: str, file: Path | None, decision_file: Path | None, exit_zero: bool
) -> int:
    """Print and write the report; returns the exit code. Raises UsageError for a file that cannot be written."""
    from trivet.operations.report_json import write

    text = write(report)
    click.echo(text if output == "json" else f"{report.decision}: {report.reason}\n", nl=False)
    for option, path, content in (("--output", file, text), ("--decision-file", decision_file, report.decision)):
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"cannot write {option} {path}: {error.strerror}", remedy="pass a file that can be written"
            ) from error
    return 0 if exit_zero else report.exit_code


def say(text: str) -> None:
    """Print what happens meanwhile, on standard error."""
    click.echo(text, err=True)


def cluster_of(context: str | None, kubeconfig: str | None) -> KubernetesApi:
    """The API server of the options."""
    from trivet.integration.kubernetes_api import connect

    return connect(context=context, kubeconfig=kubeconfig)


def tracking_of(server: str, *, artifact_root: str = "") -> TrackingApi:
    """The tracking server of the options. Raises UsageError without one."""
    from trivet.integration.tracking import TrackingApi

    if not server:
        raise UsageError("no tracking server is named", remedy="pass --mlflow URL, or set MLFLOW_TRACKING_URI")
    return TrackingApi(server, artifact_root=artifact_root)


def tracking_if_named(server: str) -> TrackingApi | None:
    """The tracking server of the options; None, and a line that says what that means, without one."""
    if server:
        return tracking_of(server)
    say("no tracking server is named (--mlflow): links, aliases and stages stay as they are")
    return None


def registry_names(*, production_alias: str, canary_alias: str, stages: bool) -> RegistryNames:
    """How the registry says what serves."""
    from trivet.integration.deployment import RegistryNames

    return RegistryNames(production=production_alias, canary=canary_alias, stages=stages)


def prometheus_of(url: str, *, token_file: str | None, ca_file: str | None, user: str | None) -> Prometheus:
    """The Prometheus of the options. Raises UsageError for a user without a password."""
    from trivet.integration.prometheus import Prometheus

    if user and PROMETHEUS_PASSWORD not in os.environ:
        raise UsageError(
            f"--prometheus-user {user} has no password", remedy=f"set {PROMETHEUS_PASSWORD}, in a pod from a Secret"
        )
    password = os.environ.get(PROMETHEUS_PASSWORD, "") if user else ""
    return Prometheus(url, token_file=token_file, ca_file=ca_file, username=user or "", password=password)


def check_source(name: str | None) -> None:
    """Raise UsageError for an unknown source of request metrics."""
    if name:
        from trivet.integration.request_metrics import source_named

        source_named(name)


def no_known_requests(option: str) -> UsageError:
    """--revision-url without known requests, which ``option`` names."""
    return UsageError("--revision-url is where known requests are sent, and there are none", remedy=f"add {option}")


def known_requests_of(
    service: str, namespace: str, file: Path | None, revision_url: str | None
) -> KnownRequestClient | None:
    """The known requests of the options; None without any. Raises UsageError for what is none, and for an address without them."""
    if file is None:
        if revision_url:
            raise no_known_requests("--known FILE")
        return None
    from trivet.integration.known_requests import read_known_requests
    from trivet.operations.known_request_client import REVISION_URL, KnownRequestClient

    return KnownRequestClient(
        service=service, namespace=namespace, known=read_known_requests(file), url=revision_url or REVISION_URL
    )


def limits_of(given: Sequence[str]) -> CanaryLimits:
    """The limits of ``NAME=VALUE``. Raises UsageError for an unknown name, and for a value out of range."""
    from trivet.integration.canary import CanaryLimits

    known = {one.name: one.type for one in fields(CanaryLimits)}
    values: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if name not in known:
            raise unknown("limit", name, known)
        try:
            values[name] = int(text) if known[name] == "int" else float(text)
        except ValueError as error:
            raise UsageError(
                f"--limit {one!r}: {text!r} is no number" if equals else f"--limit {one!r} has no value",
                remedy=f"write {name}=NUMBER",
            ) from error
    return CanaryLimits(**values)
