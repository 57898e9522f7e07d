"""The command line: each command parses its options, calls one function of the library and prints the result.

Exit codes: 0 conformant · 1 a contract failed · 2 inconclusive · 3 usage error, or refused by a guard.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, NoReturn

import click

from trivet.canary_command import canary
from trivet.check_command import check
from trivet.cli_options import (
    FORMAT_HELP,
    Function,
    InputPath,
    addon_option,
    composed_stack,
    composition_option,
    contracts_option,
    planned_run,
    report_directory,
    require_feature_option,
    results_option,
    results_store,
    settings_of,
    stream_beside,
    target_of,
    target_options,
    writers_of,
)
from trivet.deploy_command import deploy
from trivet.detect_command import detect
from trivet.diff_command import diff
from trivet.errors import TrivetError, UsageError, unknown
from trivet.fleet_command import fleet
from trivet.gate_command import gate
from trivet.host.signals import interruptible, unwinding_on_signals
from trivet.lint_command import lint
from trivet.matrix_command import matrix
from trivet.monitor_command import monitor
from trivet.verdict_command import verdict
from trivet.waivers_command import waivers


class _Group(click.Group):
    """A group that maps every exception to a message and an exit code: usage errors and unknown names are 3; only a failed contract
    is 1."""

    group_class = type

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            with unwinding_on_signals():
                code = self._code(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            click.echo("\n".join(["trivet: interrupted", *_left_by_this_process()]), err=True)
            code = 128 + int(getattr(interrupt, "number", signal.SIGINT))
        sys.exit(code)

    @interruptible
    def _code(self, *args: Any, **kwargs: Any) -> int:
        """Run a command, print its errors, and return the exit code. Raises KeyboardInterrupt when a signal ends the command."""
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.NoSuchOption as error:
            known = [name for one in error.ctx.command.get_params(error.ctx) for name in one.opts] if error.ctx else []
            click.echo(f"trivet: {unknown('option', error.option_name, (n for n in known if n[0] == '-'))}", err=True)
            code = UsageError.exit_code
        except click.ClickException as error:
            error.show()
            code = UsageError.exit_code
        except TrivetError as error:
            click.echo(f"trivet: {error}", err=True)
            code = error.exit_code
        except click.Abort as abort:
            # Click raises it for KeyboardInterrupt, for the end of the input at a prompt, and for an EOFError that a command raises.
            cause = abort.__cause__ or abort.__context__
            if isinstance(cause, KeyboardInterrupt):
                raise cause from None
            code = _internal_error()
        except SystemExit:
            # Click exits this way when the reader of a pipe has closed it.
            code = 128 + signal.SIGPIPE
        except Exception:
            code = _internal_error()
        return code if isinstance(code, int) else 0

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None:
            raise unknown("command", cmd_name, self.list_commands(ctx))
        return command


def _internal_error() -> int:
    """Print the exception that is being handled; returns the exit code."""
    click.echo(f"{traceback.format_exc()}trivet: internal error (a bug in trivet); nothing was judged", err=True)
    return TrivetError.exit_code


def _left_by_this_process() -> Iterator[str]:
    """A line for each run of this process that could not be cleaned up."""
    # A command that has not imported it has started nothing.
    if "trivet.host.journal" in sys.modules:
        from trivet.host.journal import leftovers

        with suppress(OSError):
            for leftover in leftovers():
                if leftover.owner == os.getpid():
                    yield f"  left behind: {leftover}; remedy: trivet doctor --clean"


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="trivet")
def main() -> None:
    """Check that Kubeflow Pipelines, MLflow and KServe still fit together.

    Exit codes: 0 conformant, 1 a contract failed, 2 inconclusive, 3 usage error.
    """


@main.command()
@target_options
@composition_option
@results_option
@contracts_option
@click.option(
    "--report", metavar="DIR", help="Write report.json, junit.xml, report.html, report.sarif and report.md to DIR."
)
@click.option("--format", "formats", multiple=True, help=FORMAT_HELP)
@click.option(
    "--as-is", is_flag=True, help="Judge the cluster of the target kind without creating or repairing anything."
)
@click.option(
    "--baseline",
    type=InputPath(path_type=Path),
    metavar="FILE",
    help="Accept the findings in this report.json of a run: only what is new fails.",
)
@require_feature_option
def run(
    contracts: Sequence[str],
    formats: Sequence[str],
    parts: Sequence[str],
    results: str | None,
    baseline: Path | None,
    **flags: Any,
) -> int:
    """Run a stack on a target and judge every contract."""
    from trivet.engine.acceptance import Baseline, acceptance_of
    from trivet.engine.registry import Registry
    from trivet.engine.run import run as engine_run
    from trivet.render.baseline import read_baseline
    from trivet.render.terminal import watch
    from trivet.render.writers import write_files
    from trivet.settings import settings_folder

    settings = settings_of(**flags)
    registry = Registry(settings.plugins, settings=settings)
    writers = writers_of(registry, formats)
    target = target_of(registry, settings.target)
    stack = composed_stack(settings, parts)
    plan = planned_run(registry, settings, target, stack, contracts)
    known = Baseline(file=str(baseline), findings=read_baseline(baseline, of_run=True)) if baseline else None
    folder = settings_folder(Path.cwd())
    acceptance = acceptance_of(settings, registry, folder, stack=stack.name, baseline=known)
    directory = report_directory(settings.report)
    store = results_store(results, target, stack)
    beside = stream_beside(formats)
    with watch(beside) as emit:
        report = engine_run(
            plan.contracts,
            target=target,
            stack=stack,
            profile=plan.profile,
            emit=emit,
            command="trivet run",
            results=store,
            acceptance=acceptance,
        )
    if directory:
        for path in write_files(report, directory, registry.writers):
            click.echo(f"wrote {path}", file=beside)
    for writer in writers:
        click.echo(writer.write(report))
    return report.exit_code


def _cluster_options(function: Function) -> Function:
    """Options of the commands that create and delete clusters."""

    @click.option("--stack", help="Name of a shipped stack, or a stack's folder (default: current).")
    @click.option("--images", help="pull: images from their registries (default). build: from packages, by recipes.")
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


@main.command()
@_cluster_options
@click.option("--mirror", metavar="URL", help="A registry to pull images from before all others.")
@addon_option
@composition_option
def up(parts: Sequence[str], **flags: Any) -> None:
    """Create or complete a stack's kind cluster."""
    from trivet.provision.kind.up import ImageSource
    from trivet.provision.kind.up import up as bring_up
    from trivet.render.phases import Stopwatch, timetable
    from trivet.render.terminal import watch

    settings = settings_of(**flags)
    stack = composed_stack(settings, parts, target="kind")
    with watch(sys.stdout) as emit:
        stopwatch = Stopwatch(emit)
        source = ImageSource(kind=settings.images, mirror=settings.mirror)
        access = bring_up(stack, stopwatch, source, addons=settings.addons)
    click.echo(timetable(stopwatch.phases, stopwatch.seconds))
    click.echo(f"the cluster of stack {stack.name} is ready")
    click.echo(f"  kubectl      --kubeconfig {access.kubectl.kubeconfig} --context {access.kubectl.context}")
    click.echo(f"  ingress      {access.ingress}, with the host name of an InferenceService in the Host header")
    click.echo(f"  MLflow       {access.tracking_url}")
    click.echo(f"  Prometheus   {access.prometheus_url}")
    if access.pipelines:
        click.echo(f"  Pipelines    Service {access.pipelines.service} in the namespace {access.pipelines.namespace}")


@main.command()
@_cluster_options
@click.option(
    "--all", "everything", is_flag=True, help="Delete every cluster of trivet, and the container of the image store."
)
@composition_option
def down(everything: bool, parts: Sequence[str], **flags: Any) -> None:
    """Delete a stack's kind cluster. Built images stay in the cache."""
    from trivet.provision.kind import up as kind
    from trivet.render.terminal import watch

    settings = settings_of(**flags)
    if everything and parts:
        raise UsageError("--all deletes every cluster, so that --with chooses none", remedy="omit one of them")
    stack = None if everything else composed_stack(settings, parts, target="kind")
    if stack and parts and not stack.parts:
        raise UsageError(
            f"--with {parts[0]} changes nothing of {stack.name}, whose own cluster would be deleted",
            remedy=f"delete that one: trivet down {stack.options}",
        )
    with watch(sys.stdout) as emit:
        gone = kind.down(stack, emit) if stack else kind.down_all(emit)
    click.echo("\n".join(f"deleted {name}" for name in gone) or "nothing to delete")


@main.command()
@target_options
@composition_option
@contracts_option
@require_feature_option
def plan(contracts: Sequence[str], parts: Sequence[str], **flags: Any) -> None:
    """Show what a run would start and judge."""
    from trivet.engine.plan import declared_failures
    from trivet.engine.registry import Registry
    from trivet.render.catalogue import planned

    settings = settings_of(**flags)
    registry = Registry(settings.plugins, settings=settings)
    target = target_of(registry, settings.target)
    stack = composed_stack(settings, parts)
    made = planned_run(registry, settings, target, stack, contracts)
    click.echo(planned(made, stack, target.plan(stack), declared_failures(made, stack)))


@main.command("list")
@click.option("--plugin", "plugins", multiple=True, help="A module with additional contracts; repeatable.")
def list_(**flags: Any) -> None:
    """List every contract: id, level, seam, title."""
    from trivet.engine.registry import Registry
    from trivet.render.catalogue import listing

    click.echo(listing(list(Registry(settings_of(**flags).plugins).listed.values())))


@main.command()
@click.argument("identifier", metavar="ID")
@click.option("--plugin", "plugins", multiple=True, help="A module with additional contracts; repeatable.")
def explain(identifier: str, **flags: Any) -> None:
    """Explain a contract: reason, remedy, sources."""
    from trivet.engine.registry import Registry
    from trivet.engine.required import REQUIRED
    from trivet.errors import unknown
    from trivet.render.catalogue import explain as explanation

    listed = {**Registry(settings_of(**flags).plugins).listed, REQUIRED.id: REQUIRED}
    if identifier not in listed:
        raise unknown("contract", identifier, listed)
    click.echo(explanation(listed[identifier]))


main.add_command(lint)
main.add_command(fleet)
main.add_command(check)
main.add_command(diff)
main.add_command(waivers)
main.add_command(matrix)
main.add_command(verdict)
main.add_command(detect)
main.add_command(monitor)
main.add_command(gate)
main.add_command(deploy)
main.add_command(canary)


@main.group()
def stack() -> None:
    """List stacks, and lock their roles."""


@stack.command("list")
def stack_list() -> None:
    """List the stacks shipped with trivet."""
    from trivet.render.inventory import stacks
    from trivet.stacks.read import load_stack, shipped_stacks

    click.echo(stacks([load_stack(name) for name in shipped_stacks()]))


@stack.command("lock")
@click.argument("folder", metavar="STACK")
@click.option(
    "--cutoff", metavar="YYYY-MM-DD", help="Ignore packages published after this day; written into stack.toml."
)
@click.option("--role", "roles", multiple=True, help="Lock only this role; repeatable.")
def stack_lock(folder: str, cutoff: str | None, roles: Sequence[str]) -> None:
    """Resolve a stack's roles into hashed locks, and generate the data of its KServe version."""
    from trivet.render.inventory import lock_changes
    from trivet.stacks.lock import lock_stack
    from trivet.stacks.read import stack_folder

    changes = lock_stack(
        stack_folder(folder), cutoff=cutoff, roles=roles or None, progress=lambda text: click.echo(text, err=True)
    )
    click.echo(lock_changes(changes))


@main.group()
def images() -> None:
    """List, build, save, load and prune images."""


def _image_set_options(function: Function) -> Function:
    """Options that name a set of images."""

    @click.option("--stack", help="Name of a shipped stack, or a stack's folder (default: current).")
    @click.option(
        "--addon", metavar="NAME", help="The images of this add-on, such as pipelines, instead of the stack's."
    )
    @composition_option
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


@images.command("list")
@_image_set_options
def images_list(**flags: Any) -> None:
    """List the images of a stack, with their sizes and whether they are built."""
    from trivet.provision.images.build import image_states
    from trivet.render.images import images_table

    click.echo(images_table(image_states(_images(flags))))


@images.command("build")
@click.argument("names", nargs=-1, metavar="[IMAGE]…")
@_image_set_options
def images_build(names: Sequence[str], **flags: Any) -> None:
    """Build the missing images of a stack, or of an add-on: all, or those given by path, such as kindest/node.

    trivet/operations, in which a platform runs trivet itself, is built only when it is given.
    """
    from trivet.provision.images.build import build
    from trivet.provision.images.operations import OPERATIONS, operations_image
    from trivet.render.images import step_line

    images = _images(flags)
    only = [operations_image() if name == OPERATIONS else images.image(name) for name in names] or None
    build(images, only=only, on_step=lambda event: click.echo(step_line(event)))


@images.command("save")
@click.argument("archive", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@_image_set_options
def images_save(archive: Path, **flags: Any) -> None:
    """Save all images of a stack to one archive, for a machine that cannot build them."""
    from trivet.provision.images.archive import save
    from trivet.render.images import step_line

    size = save(_images(flags), archive, on_step=lambda event: click.echo(step_line(event)))
    click.echo(f"wrote {archive}, {size / 1e6:.0f} MB")


@images.command("load")
@click.argument("archive", type=click.Path(path_type=Path), metavar="FILE")
def images_load(archive: Path) -> None:
    """Load the images of an archive into the image store."""
    from trivet.provision.images.archive import load
    from trivet.render.images import step_line

    loaded = load(archive, on_step=lambda event: click.echo(step_line(event)))
    click.echo(f"loaded {len(loaded)} images")


@images.command("prune")
@click.option("--stack", "stacks", multiple=True, help="The folder of another stack whose images to keep; repeatable.")
@click.option(
    "--shipped/--no-shipped", default=True, help="Keep the images of every shipped stack; by default they are kept."
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and its size, without removing it.")
def images_prune(stacks: Sequence[str], shipped: bool, dry_run: bool) -> None:
    """Remove images that neither the shipped stacks, nor the stack in the settings, nor an existing cluster needs."""
    from trivet.provision.prune import prune
    from trivet.render.images import pruned
    from trivet.stacks.read import load_stack, shipped_stacks

    names = dict.fromkeys((*(shipped_stacks() if shipped else ()), settings_of().stack, *stacks))
    click.echo(pruned(prune([load_stack(name) for name in names], dry_run=dry_run), dry_run=dry_run))


def _images(flags: Any) -> Any:
    from dataclasses import replace

    from trivet.provision.images.recipes import addon_images, load_images

    addon, parts = flags.pop("addon"), flags.pop("parts")
    stack = composed_stack(settings_of(**flags), parts, target="kind")

    def images_for(one: Any) -> Any:
        return addon_images(one, addon) if addon else load_images(one)

    images = images_for(stack)
    # Nodes ask for the trainer's image in the set of their cluster's own stack.
    return replace(images, key=images_for(stack.cluster_of).key) if stack.cluster_of else images


@main.group()
def scenario() -> None:
    """List, plan and run scenarios of incidents."""


def _scenario_options(function: Function) -> Function:
    """Options of the commands that select scenarios."""

    @click.argument("patterns", nargs=-1, metavar="[ID…]")
    @target_options
    @click.option(
        "--allow-faults",
        is_flag=True,
        help="Allow fault injection on a cluster that trivet did not create; needs --context.",
    )
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


@scenario.command("list")
@click.option("--plugin", "plugins", multiple=True, help="A module with additional scenarios; repeatable.")
@click.option("--target", help="Also show which scenarios this target cannot play: local, kind or existing.")
def scenario_list(**flags: Any) -> None:
    """List every scenario and its variants."""
    from trivet.engine.registry import Registry
    from trivet.render.scenarios import listing

    settings = settings_of(**flags)
    registry = Registry(settings.plugins, settings=settings)
    target = target_of(registry, flags["target"]) if flags["target"] else None
    click.echo(listing(list(registry.scenarios.values()), target), nl=False)


def _records_option(function: Function) -> Function:
    """Options of the commands that read records of scenarios."""

    @click.option(
        "--records",
        type=click.Path(path_type=Path, file_okay=False),
        default="scenarios/records",
        show_default=True,
        metavar="DIR",
        help="The folder of the records, one file per scenario.",
    )
    @click.option("--plugin", "plugins", multiple=True, help="A module with additional scenarios; repeatable.")
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


@scenario.command("pages")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@_records_option
@click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    multiple=True,
    help="A directory written by `trivet scenario run --report DIR`, to merge into the records first; repeatable.",
)
def scenario_pages(directory: Path, records: Path, reports: Sequence[Path], **flags: Any) -> None:
    """Write the pages of the catalogue below DIR.

    There is a page per scenario, and the ledger of published claims. A --report replaces the records of exactly those variants that
    it contains, with their charts below DIR.
    """
    from trivet.engine.registry import Registry
    from trivet.render import scenario_json
    from trivet.render.records import drawings, merged, read_all, write
    from trivet.render.scenario_pages import DRAWINGS, pages
    from trivet.render.writers import write_texts

    scenarios = Registry(settings_of(**flags).plugins).scenarios
    kept = read_all(records)
    drawn: dict[str, str] = {}
    played: set[str] = set()
    for path in (folder / scenario_json.filename for folder in reports):
        try:
            report = scenario_json.read(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            remedy = "pass the directory that `trivet scenario run --report` wrote"
            raise UsageError(f"cannot read {path}: {error}", remedy=remedy) from error
        kept = merged(kept, report, scenarios)
        drawn |= {f"{DRAWINGS}/{name}": text for name, text in drawings(report).items()}
        played |= {result.id for result in report.scenarios}
    written = write_texts({f"{name}.json": write(kept[name]) for name in sorted(played)}, records)
    for path in (*written, *write_texts({**pages(list(scenarios.values()), kept), **drawn}, directory)):
        click.echo(f"wrote {path}")


@scenario.command("stale")
@_records_option
def scenario_stale(records: Path, **flags: Any) -> None:
    """List the variants with a stale record.

    A record is stale if the code no longer has one of its messages; variants without a record are listed too. One per line, for
    `trivet scenario stale | xargs -r trivet scenario run --target kind --report DIR`; reasons go to standard error.
    """
    from trivet.engine.registry import Registry, use_registry
    from trivet.render.records import read_all, stale

    registry = Registry(settings_of(**flags).plugins)
    with use_registry(registry):
        found = list(stale(list(registry.scenarios.values()), read_all(records)))
    for one in found:
        click.echo(str(one))
        click.echo(f"{one}: {one.reason}", err=True)
    minutes = sum(one.seconds for one in found) / 60
    click.echo(
        f"{len(found)} stale; those with a record took {minutes:.0f} minutes" if found else "no record is stale",
        err=True,
    )


@scenario.command("plan")
@_scenario_options
def scenario_plan(patterns: Sequence[str], allow_faults: bool, **flags: Any) -> None:
    """Show variants and affected objects of scenarios.

    It starts nothing, and also shows whether a guard refuses the scenarios. An ID may be a glob pattern, or one variant: ID[VARIANT].
    """
    _plan_scenarios(settings_of(**flags), patterns, allow_faults)


def _plan_scenarios(settings: Any, patterns: Sequence[str], allow_faults: bool) -> None:
    from trivet.engine.registry import Registry
    from trivet.engine.scenarios.choose import choose
    from trivet.engine.scenarios.guards import check_target
    from trivet.render.scenarios import planned
    from trivet.stacks.read import load_stack

    registry = Registry(settings.plugins, settings=settings)
    target = target_of(registry, settings.target)
    check_target(target, allow_faults=allow_faults, context=settings.existing.context)
    chosen = choose(registry.scenarios, patterns)
    click.echo(planned(chosen, {}, target.plan(load_stack(settings.stack)), target), nl=False)


@scenario.command("run")
@_scenario_options
@click.option("--dry-run", is_flag=True, help="Show the affected objects, without changing them.")
@click.option(
    "--require", "required", type=click.Choice(["protected"]), help="Exit with 1 if the platform is vulnerable."
)
@click.option("--report", metavar="DIR", help="Write scenarios.json and scenarios.html to DIR.")
@click.option(
    "--alerts",
    "prometheus",
    metavar="URL",
    help="A Prometheus with the rules of `trivet monitor render`: also measure when the alerts of each incident fire.",
)
@click.option(
    "--alert-wait",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for an alert.",
)
def scenario_run(
    patterns: Sequence[str],
    allow_faults: bool,
    dry_run: bool,
    required: str | None,
    prometheus: str | None,
    alert_wait: float,
    **flags: Any,
) -> int | None:
    """Run scenarios on a cluster: all of them, or those given.

    An ID may be a glob pattern, or one variant: ID[VARIANT]. Extended variants run only if their pattern names variants; '*[*]' runs all.

    Exit codes: 0 every verdict is as expected and required, 1 one is not, 2 inconclusive, 3 refused by a guard.
    """
    from trivet.engine.registry import Registry, use_registry
    from trivet.engine.scenarios.choose import choose
    from trivet.engine.scenarios.play import run as play
    from trivet.render.scenario_files import write_files
    from trivet.render.terminal import watch
    from trivet.stacks.read import load_stack

    settings = settings_of(**flags)
    if dry_run:
        _plan_scenarios(settings, patterns, allow_faults)
        return None
    registry = Registry(settings.plugins, settings=settings)
    target = target_of(registry, settings.target)
    chosen = choose(registry.scenarios, patterns)
    stack = load_stack(settings.stack)
    directory = report_directory(settings.report)
    alerts = _incident_alerts(prometheus, stack, alert_wait) if prometheus else None
    with use_registry(registry), watch(sys.stdout) as emit:
        report = play(
            chosen,
            target=target,
            stack=stack,
            emit=emit,
            allow_faults=allow_faults,
            context=settings.existing.context,
            required=required or "",
            command="trivet scenario run",
            alerts=alerts,
        )
    if directory:
        for path in write_files(report, directory):
            click.echo(f"wrote {path}")
    return report.exit_code


def _incident_alerts(url: str, stack: Any, wait: float) -> Any:
    """The alerts of incidents, in the Prometheus at ``url``."""
    from trivet.engine.scenarios.alerts import IncidentAlerts
    from trivet.integration.prometheus import Prometheus
    from trivet.operations.monitor.firing import check_rules, firing_for
    from trivet.operations.monitor.platform import MonitoredPlatform, metrics_endpoint
    from trivet.operations.monitor.rules import alerts_by_scenario

    port, path = metrics_endpoint(stack)
    platform = MonitoredPlatform(stack=stack.name, metrics_port=port, metrics_path=path)
    prometheus = Prometheus(url)
    check_rules(prometheus)
    reader = partial(firing_for, prometheus)
    return IncidentAlerts(by_scenario=alerts_by_scenario(platform), firing=reader, wait=wait)


@main.command()
@click.option("--clean", is_flag=True, help="Remove leftovers of killed runs, and incomplete environments.")
@click.option(
    "--target",
    help="kind: also check the requirements of a kind cluster. existing: also check the cluster of [tool.trivet.existing].",
)
@click.option("--images", help="For the target kind: pull or build.")
@click.option("--context", metavar="NAME", help="The kubeconfig context, for the target existing.")
@click.option("--rbac", is_flag=True, help="Print the RBAC manifest that the target existing needs, and exit.")
@click.option("--detect", is_flag=True, help="With --rbac: the manifest that `trivet detect` needs.")
@click.option("--fleet", is_flag=True, help="With --rbac: the manifest that `trivet fleet --context` needs.")
def doctor(clean: bool, rbac: bool, detect: bool, fleet: bool, **flags: Any) -> int:
    """Check this machine and leftovers of runs."""
    from trivet.engine.doctor import examine
    from trivet.render.inventory import doctor_checks

    if wrong := next((name for name, value in (("--detect", detect), ("--fleet", fleet)) if value and not rbac), ""):
        raise UsageError(f"{wrong} chooses an RBAC manifest, and none is printed", remedy="pass --rbac too, or omit it")
    if detect and fleet:
        raise UsageError(
            "--detect and --fleet are two RBAC manifests, and one is printed", remedy="call it once for each"
        )
    settings = settings_of(**flags)
    if rbac:
        from trivet.targets.existing.rbac import manifest_for

        click.echo(manifest_for(settings.existing, detect=detect, fleet=fleet))
        return 0
    checks = examine(
        clean=clean,
        existing=settings.existing if settings.target == "existing" else None,
        images=settings.images if settings.target == "kind" else "",
    )
    click.echo(doctor_checks(checks))
    return 0 if all(check.ok for check in checks) else 2
