"""The command ``trivet lint``: its options, where its output goes, and its exit code."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from trivet.cli_options import (
    InputPath,
    contracts_option,
    report_directory,
    settings_of,
    stack_options,
    writers_of,
)
from trivet.errors import TrivetError, UsageError

if TYPE_CHECKING:
    from trivet.model.platform_config import PlatformConfig
    from trivet.model.settings import Settings
    from trivet.toolkit.walking import TextStream

STDIN = Path("-")

P = ParamSpec("P")


@click.command()
@stack_options
# Lint reports an unreadable path and judges the others; click would reject the whole command.
@click.argument("paths", nargs=-1, type=InputPath(path_type=Path, readable=False), metavar="PATH…")
@contracts_option
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Leave out paths that match, as in a .gitignore; repeatable."
)
@click.option("--no-gitignore", is_flag=True, help="Also read files that .gitignore names.")
@click.option("--markdown", is_flag=True, help="Also read the code blocks of Markdown pages in directories.")
@click.option(
    "--kustomize",
    "kustomizations",
    multiple=True,
    type=InputPath(path_type=Path),
    metavar="DIR",
    help="Judge what kustomize, or kubectl, builds from DIR; repeatable.",
)
@click.option(
    "--helm",
    "charts",
    multiple=True,
    type=InputPath(path_type=Path),
    metavar="CHART",
    help="Judge what helm renders from CHART with its default values; repeatable.",
)
@click.option("--context", metavar="NAME", help="Ask this cluster for KServe's configuration and runtimes; read only.")
@click.option("--fix", is_flag=True, help="Correct files where the remedy is mechanical, then judge them again.")
@click.option("--diff", is_flag=True, help="Print what --fix would change, and nothing else.")
@click.option(
    "--report", metavar="DIR", help="Write report.json, junit.xml, report.html, report.sarif and report.md to DIR."
)
@click.option(
    "--format",
    "output",
    default="text",
    help="Print text (default), or nothing but this format: json, junit, sarif, github, html or markdown.",
)
@click.option(
    "--baseline",
    type=InputPath(path_type=Path),
    metavar="FILE",
    help="Ignore the findings in this report.json of lint: only what is new fails.",
)
@click.option("--quiet", is_flag=True, help="Print only what fails.")
@click.option(
    "--max-advice", type=click.IntRange(0), metavar="N", help="Print at most this many advice lines (default: 20)."
)
def lint(
    paths: Sequence[Path],
    contracts: Sequence[str],
    exclude: Sequence[str],
    no_gitignore: bool,
    markdown: bool,
    kustomizations: Sequence[Path],
    charts: Sequence[Path],
    context: str | None,
    fix: bool,
    diff: bool,
    output: str,
    baseline: Path | None,
    quiet: bool,
    max_advice: int | None,
    **flags: Any,
) -> int:
    """Judge files, without starting anything.

    Files are InferenceService manifests and the objects beside them, compiled pipelines and model directories; - is standard input.

    Exit codes: 0 conformant, 1 a contract failed, 2 inconclusive, 3 a file could not be read or wrong usage.
    """
    from trivet.engine.acceptance import Waivers, check_waivers
    from trivet.engine.fixes import fixes
    from trivet.engine.ignored import COMMENTS
    from trivet.engine.lint import lint as engine_lint
    from trivet.engine.plan import make_plan
    from trivet.engine.registry import Registry
    from trivet.host.renderers import helm_template, kustomize_build
    from trivet.render.baseline import read_baseline
    from trivet.render.linting import LintText, difference, fixed_lines
    from trivet.render.writers import write_files
    from trivet.settings import settings_folder
    from trivet.stacks.read import load_stack
    from trivet.toolkit.subjects import read_once
    from trivet.toolkit.walking import PathPatterns

    others = {f"--format {output}": output != "text", "--fix": fix, "--report": bool(flags["report"])}
    if diff and (wrong := next((name for name, given in others.items() if given), "")):
        raise UsageError(f"--diff and {wrong} exclude each other", remedy="omit one of them")
    if not (paths or kustomizations or charts):
        raise click.UsageError("Missing argument 'PATH…'.", click.get_current_context())
    if COMMENTS.id in contracts:
        raise UsageError(
            f"{COMMENTS.id} cannot be chosen: it judges the comments about the contracts that are chosen",
            remedy="omit it, it is part of every call",
        )
    settings = settings_of(**{**flags, "profile": flags["profile"] or "static"})
    registry = Registry(settings.plugins, settings=settings)
    (writer,) = [None] if output == "text" else writers_of(registry, [output])
    stack = load_stack(settings.stack)
    made = make_plan(registry, profile=settings.profile, stack=stack, patterns=contracts)
    check_waivers(settings.waivers, registry)
    directory = None if diff else report_directory(settings.report)
    folder = settings_folder(Path.cwd())
    text = LintText(quiet=quiet, max_advice=settings.lint.max_advice if max_advice is None else max_advice)

    def echo(lines: str) -> None:
        if lines and not writer:
            click.echo(lines)

    inputs: list[Path | TextStream | TrivetError] = [
        _or_error(_standard_input) if path == STDIN else read_once(path) for path in paths
    ]
    inputs += [_or_error(_rendered, f"<kustomize {path}>", kustomize_build, path) for path in kustomizations]
    inputs += [_or_error(_rendered, f"<helm {path}>", helm_template, path) for path in charts]
    errors = [one for one in inputs if isinstance(one, TrivetError)]
    if len(errors) == len(inputs):
        raise errors[0]
    judge = partial(
        engine_lint,
        inputs,
        made.contracts,
        stack,
        _platform(settings, context),
        stacks=[(PathPatterns([one.glob], folder), load_stack(one.stack)) for one in settings.lint.paths],
        exclude=[PathPatterns(settings.lint.exclude, folder), PathPatterns(exclude, Path.cwd())],
        gitignore=not no_gitignore,
        markdown=markdown,
        baseline=read_baseline(baseline) if baseline else (),
        waivers=Waivers(settings.waivers, folder),
        known=registry.contracts.keys(),
    )
    gc.freeze()  # What is loaded by now stays: no collection need look at it again, here or in the processes that judge.
    if fix or diff:
        before = judge()
        corrected = fixes(finding for one in before.report.contracts for finding in one.findings)
        if diff:
            click.echo(difference(corrected), nl=False)
            _echo_errors(before.errors)
            return before.exit_code
        for one in corrected:
            one.write()
            echo(fixed_lines(one))
    result = judge(emit=lambda deviations: echo(text.lines(deviations)))
    echo(text.summary(result))
    _echo_errors(result.errors)
    if directory:
        for path in write_files(result.report, directory, registry.writers):
            if not quiet:
                echo(f"wrote {path}")
    if writer:
        click.echo(writer.write(result.report), nl=False)
    return result.exit_code


def _or_error(read: Callable[P, TextStream], *given: P.args, **named: P.kwargs) -> TextStream | TrivetError:
    """What ``read`` returns, or the error that it raises, beside which the other inputs are judged."""
    try:
        return read(*given, **named)
    except TrivetError as error:
        return error


def _echo_errors(errors: Iterable[TrivetError]) -> None:
    for error in errors:
        click.echo(f"trivet: {error}", err=True)


def _standard_input() -> TextStream:
    from trivet.toolkit.subjects import read_stream

    if sys.stdin is None:
        raise UsageError("standard input is closed", remedy="pipe manifests into the command, or leave out -")
    return read_stream("<stdin>", sys.stdin.buffer)


def _rendered(name: str, render: Callable[[Path], bytes], path: Path) -> TextStream:
    from trivet.toolkit.walking import TextStream

    return TextStream(name, render(path))


def _platform(settings: Settings, context: str | None) -> PlatformConfig:
    from trivet.engine.lint_platform import configured, of_cluster

    if not context:
        return configured(settings.lint)
    from trivet.host.kubectl import Kubectl, find_kubectl

    kubeconfig = settings.existing.kubeconfig
    return of_cluster(
        Kubectl(context=context, kubeconfig=Path(kubeconfig) if kubeconfig else None, binary=find_kubectl())
    )
