"""The command ``trivet verdict``: its options, the runs of its mixes, where its output goes, and its exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trivet.cell_runs import CellRuns, Judging, cell_folder
from trivet.cli_options import (
    MEBIBYTE,
    InputPath,
    contracts_option,
    place_options,
    stream_beside,
)
from trivet.errors import UsageError, unknown

if TYPE_CHECKING:
    from trivet.engine.fleet import Selection
    from trivet.engine.lint import LintResult
    from trivet.engine.registry import Registry
    from trivet.engine.upgrade_inputs import Stage
    from trivet.engine.verdict import Upgrade
    from trivet.model.fleet import FleetReport
    from trivet.model.settings import Settings
    from trivet.model.stack import Stack


@click.command()
@click.option("--from", "old_name", required=True, metavar="STACK", help="What runs: the name or folder of a stack.")
@click.option("--to", "new_name", required=True, metavar="STACK", help="What shall run: the name or folder of a stack.")
@click.argument("paths", nargs=-1, type=InputPath(path_type=Path, readable=False), metavar="[FILES]…")
@place_options
@click.option(
    "--fleet", "server", metavar="URL", default="", help="Also judge the registered models of this MLflow server."
)
@click.option(
    "--max-size",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    metavar="MiB",
    help="With --fleet: download at most this much of each model.",
)
@contracts_option
@click.option(
    "--results", metavar="DIR", help="The results store (default: one in the cache); what it has is not judged again."
)
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Mixes at a time (default: by this machine's cores and memory)."
)
@click.option(
    "--report",
    metavar="DIR",
    help="Write verdict.json, verdict.html, verdict.md, junit.xml, verdict.sarif, and the report of each mix to DIR.",
)
@click.option(
    "--format",
    "output",
    help="Print this format to standard output, and but for github nothing else: json, html, markdown, junit, sarif or github.",
)
@click.option("--dry-run", is_flag=True, help="Show the steps, and how many mixes may be judged; start nothing.")
def verdict(
    old_name: str,
    new_name: str,
    paths: Sequence[Path],
    server: str,
    max_size: int,
    contracts: Sequence[str],
    results: str | None,
    jobs: int | None,
    output: str | None,
    dry_run: bool,
    **flags: Any,
) -> int:
    """Judge an upgrade: what breaks, and in which order it is safe.

    Runs the stack in mixes of old and new versions until an order of the components is found whose every mix is conformant. FILES are
    manifests, pipelines and model directories, as for lint; they are judged by the old and the new stack.

    Results are kept in a results store: an interrupted call continues where it was.

    Exit codes: 0 a safe order, and nothing newly fails, 1 no order is safe or something newly fails, 2 inconclusive, 3 wrong usage.
    """
    from trivet.engine.matrix import Matrix
    from trivet.engine.run import Recorder
    from trivet.engine.upgrade_inputs import judge_files, judge_models
    from trivet.engine.verdict import Upgrade, upgrade_steps
    from trivet.host.child_runs import ChildRuns
    from trivet.render import verdict_text
    from trivet.render.verdict_writers import WRITERS, write_verdict
    from trivet.stacks.composed import PARTS
    from trivet.stacks.read import load_stack

    if output and output not in WRITERS:
        raise unknown("format of a verdict", output, WRITERS)
    say = partial(click.echo, file=stream_beside([output] if output else []))
    flags["stack"] = old_name
    judging = Judging.prepare(flags, parts=PARTS, patterns=contracts, results=results)
    settings, registry, target, plan, store = (
        judging.settings,
        judging.registry,
        judging.target,
        judging.plan,
        judging.store,
    )
    directory = judging.directory
    old, new = judging.base, load_stack(new_name)
    for stack in (old, new):
        _refuse_unknown_roles(stack)
    lint = _linting(registry, settings, paths) if paths else None
    fleet = _judging_models(registry, settings, server, max_size * MEBIBYTE) if server else None
    if lint:
        _refuse_unreadable(lint(old))
    if fleet and not dry_run:
        _refuse_unreachable(server)

    def note(text: str) -> None:
        click.echo(text, err=True)

    recorder = Recorder(lambda event: None)
    names = (old_name, new_name)
    steps = upgrade_steps(old, new, names, note)
    upgrade = Upgrade(
        old,
        new,
        names,
        steps,
        contracts=plan.contracts,
        target=target,
        store=store,
        accepted=judging.accepted,
        folder=lambda values: cell_folder(values) if directory else "",
    )
    say(verdict_text.opening(old.name, new.name, target.name, steps, len(plan.contracts), str(store.folder)))
    if dry_run:
        say(verdict_text.remaining(steps))
        return 0
    with ChildRuns() as children:
        cell_runs = CellRuns(
            judging=judging,
            missing=Matrix((), plan.contracts, target, store).missing,
            children=children,
            command="trivet verdict",
        )
        upgrade.judge(
            cell_runs.judge,
            jobs or judging.cells_at_once(2 ** len(steps)),
            lambda event: say(verdict_text.progress(event.mix)),
            note,
            children.close,
        )
    stages = _stages(upgrade)
    files = judge_files(lint, [str(path) for path in paths], old, stages) if lint else None
    models = judge_models(fleet, server, old, stages) if fleet else None
    report = upgrade.verdict(recorder.provenance("trivet verdict"), files, models)
    say(verdict_text.summary(report), nl=False)
    if directory:
        for path in write_verdict(report, directory):
            say(f"wrote {path}")
    if output:
        click.echo(WRITERS[output].write(report), nl=False)
    return report.exit_code


def _linting(registry: Registry, settings: Settings, paths: Sequence[Path]) -> Callable[[Stack], LintResult]:
    """Lint of the files by a stack, each judged once."""
    from trivet.engine.acceptance import Waivers
    from trivet.engine.lint import lint
    from trivet.engine.lint_platform import configured
    from trivet.settings import settings_folder
    from trivet.toolkit.subjects import read_once
    from trivet.toolkit.walking import PathPatterns

    folder = settings_folder(Path.cwd())
    inputs = [read_once(path) for path in paths]
    chosen = [contract for contract in registry.contracts.values() if contract.static or contract.unrunnable]

    @cache
    def judged(digest: str) -> LintResult:
        return lint(
            inputs,
            chosen,
            stacks[digest],
            configured(settings.lint),
            exclude=[PathPatterns(settings.lint.exclude, folder)],
            waivers=Waivers(settings.waivers, folder),
            known=registry.contracts.keys(),
            command="trivet verdict",
        )

    stacks: dict[str, Stack] = {}

    def of(stack: Stack) -> LintResult:
        stacks[stack.digest] = stack
        return judged(stack.digest)

    return of


def _refuse_unknown_roles(stack: Stack) -> None:
    """Raise CannotTell, with what settles it, when a role of a detected stack is unknown: no mix with it could run."""
    from trivet.errors import CannotTell
    from trivet.model.stack import ROLES

    for name in ROLES:
        try:
            stack.roles[name]
        except CannotTell as error:
            raise CannotTell(
                error.message,
                remedy=f"write [roles.{name}] with what it requires into {stack.folder}/stack.toml, delete its line under [unknown.roles], "
                f"and lock it: trivet stack lock {stack.folder} --role {name}",
            ) from error


def _refuse_unreadable(result: LintResult) -> None:
    """Raise the first error of files that cannot be read: minutes of runs would not answer for them."""
    for error in result.errors:
        if error.exit_code == UsageError.exit_code:
            raise error


def _refuse_unreachable(server: str) -> None:
    """Raise PlatformError for a server that lists no models to this user, before mixes are run for many minutes."""
    from trivet.integration import TrackingApi

    next(TrackingApi(server, retries=2).all_registered_models(), None)


def _judging_models(
    registry: Registry, settings: Settings, server: str, max_bytes: int
) -> Callable[[Stack, Selection], FleetReport]:
    from trivet.engine.acceptance import Waivers
    from trivet.engine.fleet import judge_fleet
    from trivet.settings import settings_folder

    waivers = Waivers(settings.waivers, settings_folder(Path.cwd()))
    static = [contract for contract in registry.contracts.values() if contract.static]

    def of(stack: Stack, selection: Selection) -> FleetReport:
        return judge_fleet(server, static, stack, selection=selection, max_bytes=max_bytes, waivers=waivers)

    return of


def _stages(upgrade: Upgrade) -> list[Stage]:
    """The stacks on the way: those of the safe order, or where there is none each step by itself; the new stack last."""
    from trivet.engine.upgrade_inputs import Stage
    from trivet.engine.upgrade_order import passed_through

    order = upgrade.order()
    mixes = passed_through(order) if order else [frozenset({name}) for name in upgrade.names]
    stages = [
        Stage(step=step, stack=stack)
        for step, mix in zip(order or upgrade.names, mixes, strict=True)
        if (stack := upgrade.cell(mix).stack) is not None
    ]
    last = stages[-1].step if order else ""
    return [*(stages[:-1] if order else stages), Stage(step=last, stack=upgrade.new)]
