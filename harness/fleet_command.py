"""The command ``trivet fleet``: its options, where its output goes, and its exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from trivet.cli_options import (
    MEBIBYTE,
    contracts_option,
    namespaces_option,
    no_feature_option,
    report_directory,
    server_option,
    settings_of,
    stack_options,
)
from trivet.errors import UsageError

if TYPE_CHECKING:
    from trivet.engine.registry import Registry
    from trivet.model.stack import Stack


ALL = "all"
"""The value of --serve without a number."""


def _number(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    if given not in (None, ALL) and not (given.isdecimal() and int(given)):
        raise UsageError(
            f"--serve {given!r} is not a number of models", remedy="give a number, or --serve alone for all"
        )
    return given


@click.command()
@stack_options
@server_option
@click.option(
    "--context",
    metavar="NAME",
    help="Also judge the InferenceServices of this cluster, or with --mlflow left out them alone; read only.",
)
@namespaces_option("With --context: only services of this namespace; repeatable.")
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
@click.option(
    "--serve",
    is_flag=False,
    flag_value=ALL,
    metavar="[N]",
    callback=_number,
    help="Also serve all models, or a sample of N, as `trivet check` does. This executes them: a model is code.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="NUMBER", help="With --serve N: which sample.")
@click.option(
    "--results",
    metavar="DIR",
    help="With --serve: the results store (default: one in the cache); what it has is not judged again.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="With --serve: models at a time (default: by this machine's cores and memory).",
)
@click.option("--network", is_flag=True, help="With --serve: leave the models this machine's network.")
@click.option(
    "--report",
    metavar="DIR",
    help="Write fleet.json, fleet.html, fleet.xml (JUnit) and fleet.md to DIR, and the report of each model that was served.",
)
@click.option(
    "--format",
    "output",
    default="text",
    help="Print text (default), or nothing but this format: json, html, junit, markdown or github.",
)
def fleet(
    server: str,
    context: str | None,
    namespaces: Sequence[str],
    models: Sequence[str],
    aliases: Sequence[str],
    stages: Sequence[str],
    tags: Sequence[str],
    contracts: Sequence[str],
    max_size: int,
    max_lines: int,
    serve: str | None,
    seed: int,
    results: str | None,
    jobs: int | None,
    network: bool,
    output: str,
    **flags: Any,
) -> int:
    """Judge the registered models of an MLflow server by their files, and the InferenceServices of a cluster.

    Reads metadata and model files, and executes nothing of a model unless --serve asks for it. A verdict says what the stack makes of it:
    breaks, unknown, unsupported or fine. With --context, MLFLOW_TRACKING_URI only says where models:/ URIs are; --mlflow has its models
    judged too.

    --serve executes models: each in the environment that it asks for and in the runtime, without your environment variables and, on Linux,
    without a network. What it measures stands beside what the files predict. An interrupted call continues where it was.

    Exit codes: 0 nothing breaks, 1 a model breaks, 2 unknown for some, 3 wrong usage.
    """
    from trivet.engine.acceptance import Waivers, check_waivers
    from trivet.engine.fleet import Selection, judge_fleet, waiver_uses
    from trivet.engine.fleet_serving import sample, with_members
    from trivet.engine.model_judge import judging
    from trivet.engine.plan import make_plan
    from trivet.engine.registry import Registry
    from trivet.engine.run import Recorder, summary_of
    from trivet.errors import unknown
    from trivet.model.fleet import FleetReport, Sample
    from trivet.render import fleet_github, fleet_html, fleet_json, fleet_junit, fleet_markdown
    from trivet.render.fleet import FleetText
    from trivet.render.writers import write_files, write_texts
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
    given = click.get_current_context().get_parameter_source("server") is ParameterSource.COMMANDLINE
    registry_of = server if given or not context else ""
    if not (registry_of or context):
        raise UsageError(
            "no tracking server and no cluster is named",
            remedy="pass --mlflow https://… or set MLFLOW_TRACKING_URI as for MLflow itself, or pass --context NAME",
        )
    of_registry = {"--model": models, "--alias": aliases, "--stage": stages, "--tag": tags}
    if wrong := next((name for name, value in of_registry.items() if value and not registry_of), ""):
        raise UsageError(
            f"{wrong} chooses registered models, and no tracking server is judged", remedy="pass --mlflow URL"
        )
    if namespaces and not context:
        raise UsageError("--namespace is for the services of a cluster", remedy="pass --context NAME, or omit it")
    _refuse_what_serves_nothing(serve)
    settings = settings_of(**{**flags, "profile": flags["profile"] or "static", "context": context})
    registry = Registry(settings.plugins, settings=settings)
    stack = load_stack(settings.stack)
    made = make_plan(registry, profile=settings.profile, stack=stack, patterns=contracts)
    check_waivers(settings.waivers, registry)
    directory = report_directory(settings.report)
    waivers = Waivers(settings.waivers, settings_folder(Path.cwd()))
    to_serve = _to_serve(flags, registry, stack, results=results, network=network) if serve else None
    if serve and not judging("model_directory", made.contracts, stack):
        raise UsageError(
            "--serve serves models that could be read, and none of the chosen contracts judges a model directory",
            remedy="choose one of those too, or leave --contract out: `trivet list` has all",
        )
    cluster = None
    if context:
        from trivet.engine.fleet_services import ModelPlaces, judge_services, list_services
        from trivet.targets.existing.target import kubectl_of

        cluster = list_services(kubectl_of(settings.existing), namespaces)
    text = FleetText(max_lines)

    def echo(lines: str) -> None:
        if lines and output == "text":
            click.echo(lines)

    recorder = Recorder(lambda event: None)
    report = FleetReport(
        server="", stack=summary_of(stack), models=(), context=context or "", provenance=recorder.provenance()
    )
    if registry_of:
        report = judge_fleet(
            registry_of,
            made.contracts,
            stack,
            selection=Selection(
                models=tuple(models), aliases=tuple(aliases), stages=tuple(stages), tags=dict(map(_tag, tags))
            ),
            max_bytes=max_size * MEBIBYTE,
            waivers=waivers,
            emit=lambda model: echo(text.lines(model)),
        )
    if cluster:
        services = judge_services(
            cluster,
            made.contracts,
            stack,
            places=ModelPlaces(server=server, max_bytes=max_size * MEBIBYTE),
            waivers=waivers,
            emit=lambda service: echo(text.lines(service)),
        )
        report = replace(report, context=context or "", services=tuple(services))
    if serve and to_serve:
        from trivet.served_fleet import Serving

        serving = Serving(
            arguments=to_serve.arguments,
            server=server,
            models=cluster.models if cluster else {},
            waivers=waivers,
            directory=directory,
            write=partial(write_files, writers=registry.writers),
            jobs=jobs,
        )
        chosen = sample(report.members, None if serve == ALL else int(serve), seed)
        served = Sample(chosen=len(chosen), of=sum(member.servable for member in report.members), seed=seed)
        echo(text.opening(served, report.stack.name, to_serve.store))
        report = with_members(
            replace(report, served=served),
            serving.serve(report.members, chosen, lambda member, left: echo(text.measured(member, left))),
        )
    report = replace(
        report,
        waivers=waiver_uses(waivers, report.members, made.contracts, stack),
        provenance=recorder.provenance("trivet fleet"),
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


def _refuse_what_serves_nothing(serve: str | None) -> None:
    """Raise UsageError for a given option that would change nothing."""
    source = click.get_current_context().get_parameter_source
    given = [name for name in ("seed", "results", "jobs", "network") if source(name) is ParameterSource.COMMANDLINE]
    if given and not serve:
        raise UsageError(
            f"--{given[0]} is for models that are served, and none is", remedy="pass --serve too, or omit it"
        )
    if "seed" in given and serve == ALL:
        raise UsageError("--seed draws a sample, and --serve without a number serves all", remedy="pass --serve N")


@dataclass(frozen=True, kw_only=True)
class _ToServe:
    """The folder of the results store, and the options of ``trivet check`` that say by what models are judged."""

    store: str
    arguments: Sequence[str]


def _to_serve(
    flags: Mapping[str, Any],
    registry: Registry,
    stack: Stack,
    *,
    results: str | None,
    network: bool,
) -> _ToServe:
    """What serving judges, whatever is chosen of the contracts over files. Raises UsageError for a store that cannot be used."""
    from trivet.engine.fleet_serving import of_the_runtime
    from trivet.engine.plan import make_plan
    from trivet.engine.results_store import ResultsStore
    from trivet.stacks.environments import cache_directory
    from trivet.targets.local.model import ModelSession

    store = ResultsStore(Path(results).expanduser() if results else cache_directory() / "results").folder.absolute()
    plan = make_plan(registry, profile="core", stack=stack)
    contracts = of_the_runtime(plan.contracts, ModelSession.CLIENTS)
    arguments = [
        *(("--stack", flags["stack"]) if flags["stack"] else ()),
        *("--profile", "core"),
        *(part for name in flags["plugins"] for part in ("--plugin", name)),
        *(part for one in contracts for part in ("--contract", one.id)),
        *("--results", str(store)),
        *(("--network",) if network else ()),
    ]
    return _ToServe(store=str(store), arguments=arguments)


def _tag(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise UsageError(f"--tag {text!r} is not KEY=VALUE", remedy="write --tag team=search, for example")
    return key, value
