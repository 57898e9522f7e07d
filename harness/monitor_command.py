"""The commands ``trivet monitor …``: their options, and their exit codes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from trivet.cli_options import server_option, settings_of
from trivet.errors import UsageError


@click.group()
def monitor() -> None:
    """Write the monitoring of a platform, and export what nobody exports."""


@monitor.command("render")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="OUTPUT_FOLDER")
@click.option("--stack", help="Name of a shipped stack, or a folder that `trivet detect` wrote (default: current).")
@click.option(
    "--source",
    default="mlserver-rest",
    show_default=True,
    metavar="NAME",
    help="What counts the inference requests: mlserver-rest, knative, knative-opencensus (up to Knative 1.18) or kserve-python.",
)
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Watch this namespace only; repeatable.")
@click.option("--exporter", metavar="HOST:PORT", help="The exporter, as Prometheus reaches it.")
@click.option("--kube-state-metrics", metavar="HOST:PORT", help="kube-state-metrics, as Prometheus reaches it.")
@click.option("--gpu", metavar="HOST:PORT", help="NVIDIA's dcgm-exporter; adds alerts and panels for GPUs.")
def monitor_render(
    folder: Path,
    stack: str | None,
    source: str,
    namespaces: Sequence[str],
    exporter: str | None,
    kube_state_metrics: str | None,
    gpu: str | None,
) -> None:
    """Write scrape configuration, rules, alerts and a dashboard.

    For a plain Prometheus, for its operator on Kubernetes, and for Grafana. Existing files of the same names are replaced.
    """
    from trivet.operations.monitor.files import monitoring_files
    from trivet.operations.monitor.platform import MonitoredPlatform, metrics_endpoint, source_of
    from trivet.render.writers import write_texts
    from trivet.stacks.read import load_stack

    loaded = load_stack(settings_of(stack=stack).stack)
    counting = source_of(source)
    port, path = metrics_endpoint(loaded, counting)
    given = {"exporter": exporter, "kube_state_metrics": kube_state_metrics, "gpu": gpu}
    platform = MonitoredPlatform(
        stack=loaded.name,
        metrics_port=port,
        metrics_path=path,
        source=counting,
        namespaces=tuple(namespaces),
        **{name: value for name, value in given.items() if value is not None},
    )
    for written in write_texts(monitoring_files(platform), folder):
        click.echo(f"wrote {written}")


@monitor.command("export")
@server_option
@click.option("--kfp", metavar="URL", help="KFP's API server, such as http://ml-pipeline.kubeflow.svc:8888.")
@click.option("--kfp-namespace", "kfp_namespaces", multiple=True, help="A namespace of runs; repeatable.")
@click.option("--model", "models", multiple=True, help="A registered model; repeatable (default: all in production).")
@click.option(
    "--metric", "metrics", multiple=True, help="A metric of runs; higher is better; repeatable (default: f1_weighted)."
)
@click.option("--experiment", "experiments", multiple=True, help="Count the runs of this experiment; repeatable.")
@click.option("--production", default="production", show_default=True, help="The alias of the version in production.")
@click.option("--listen", default="0.0.0.0:9469", show_default=True, metavar="HOST:PORT", help="Where to serve.")
@click.option("--interval", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Seconds to read.")
@click.option("--once", is_flag=True, help="Read once, print the series, and exit.")
@click.option(
    "--manifest",
    "image",
    metavar="IMAGE",
    help="Print the manifest that runs this in IMAGE, as docs/operations.md builds it.",
)
def monitor_export(
    server: str,
    kfp: str | None,
    kfp_namespaces: Sequence[str],
    models: Sequence[str],
    metrics: Sequence[str],
    experiments: Sequence[str],
    production: str,
    listen: str,
    interval: float,
    once: bool,
    image: str | None,
) -> int:
    """Serve what MLflow and KFP know as metrics of Prometheus.

    Credentials and certificates are those of MLflow's and KFP's own clients. Exit codes with --once: 0 all was read, 2 a source
    cannot be read.
    """
    from trivet.integration.pipeline_api import PipelineApi
    from trivet.integration.tracking import TrackingApi
    from trivet.operations.exporter import Exporter, PipelineSource, RegistrySource, Source, exposition, serve

    sources: list[Source] = []
    if server:
        sources.append(
            RegistrySource(
                tracking=TrackingApi(server),
                metrics=metrics or ("f1_weighted",),
                production=production,
                models=models,
                experiments=experiments,
            )
        )
    if kfp:
        sources.append(PipelineSource(pipelines=PipelineApi(kfp), namespaces=kfp_namespaces))
    if not sources:
        raise UsageError("there is nothing to export", remedy="name the servers to read: --mlflow URL, --kfp URL")
    if image:
        return _print_manifest(image, reads_kfp=bool(kfp))
    host, port = _address(listen)
    exporter = Exporter(sources=sources, interval=interval)
    if not once:
        serve(exporter, host, port, stop=threading.Event())
        return 0
    problems = [f"trivet: {one.name}: {problem}" for one in sources if (problem := exporter.refresh(one))]
    click.echo(exposition(exporter), nl=False)
    for problem in problems:
        click.echo(problem, err=True)
    return 2 if problems else 0


def _print_manifest(image: str, *, reads_kfp: bool) -> int:
    from trivet.operations.manifest_yaml import as_yaml
    from trivet.operations.monitor.exporter_manifest import exporter_manifest

    context = click.get_current_context()
    if context.params["once"] or context.get_parameter_source("listen") is not ParameterSource.DEFAULT:
        raise UsageError(
            "--manifest serves in a pod at a port of its own", remedy="omit --once and --listen, or omit --manifest"
        )
    arguments: list[str] = []
    for parameter in context.command.params:
        given = context.params[parameter.name or ""]
        if parameter.name in ("image", "once", "listen") or given == parameter.default:
            continue
        for value in given if isinstance(given, tuple) else (given,):
            if urlsplit(f"{value}").password is not None:
                raise UsageError(
                    f"the address of {parameter.opts[0]} has a password, which everyone could read in the manifest",
                    remedy="leave it out, and add credentials: kubectl set env --from=secret/NAME deployment/trivet-exporter",
                )
            arguments += [parameter.opts[0], f"{value}"]
    click.echo(as_yaml(exporter_manifest(image, arguments, reads_kfp=reads_kfp)), nl=False)
    return 0


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) < 2**16:
        raise UsageError(f"--listen {text!r} is no address", remedy="pass HOST:PORT, such as 0.0.0.0:9469")
    return host.strip("[]"), int(port)
