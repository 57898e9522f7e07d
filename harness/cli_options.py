"""Options that several commands have, and what becomes of them. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from trivet.errors import UsageError, unknown

MEBIBYTE = 2**20
TRACKING_URI = "MLFLOW_TRACKING_URI"
"""The variable by which MLflow's own clients know the tracking server."""

FORMAT_HELP = "Print this format to standard output. With another one than github, all else goes to standard error."

Function = TypeVar("Function", bound=Callable[..., Any])


class InputPath(click.Path):
    """A path that is not empty: an unset variable of a shell must not mean the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


require_feature_option = click.option(
    "--require-feature",
    "require_features",
    multiple=True,
    metavar="NAME",
    help="Fail if the target lacks this feature, such as ScaleToZero; repeatable.",
)


def _refuse_features(context: click.Context, parameter: click.Parameter, names: Sequence[str]) -> None:
    if names:
        raise UsageError(
            f"trivet {context.info_name} judges models and no platform, so that it cannot require the feature {names[0]!r}",
            remedy="require features of a platform: trivet run --target kind --require-feature NAME",
        )


no_feature_option = click.option(
    "--require-feature", "require_features", multiple=True, hidden=True, expose_value=False, callback=_refuse_features
)
"""For commands without a platform: refuses what other commands take, and says why. The setting ``require_features`` is about runs alone."""


def namespaces_option(text: str) -> Callable[[Function], Function]:
    """``--namespace`` of commands that look at several namespaces of a cluster."""
    return click.option("-n", "--namespace", "namespaces", multiple=True, metavar="NAME", help=text)


contracts_option = click.option(
    "--contract", "contracts", multiple=True, metavar="GLOB", help="Only contracts whose id matches; repeatable."
)
server_option = click.option(
    "--mlflow",
    "server",
    metavar="URL",
    envvar=TRACKING_URI,
    default="",
    help=f"The tracking server (default: {TRACKING_URI}).",
)


addon_option = click.option(
    "--addon",
    "addons",
    multiple=True,
    metavar="NAME",
    help="Also have this on the kind cluster: pipelines (Kubeflow Pipelines); repeatable.",
)


stack_option = click.option("--stack", help="Name of a shipped stack, or a stack's folder (default: current).")


def contract_set_options(function: Function) -> Function:
    """Options that say which contracts there are."""

    @click.option(
        "--profile", help="The contracts to judge: core (default on local), cluster (all; default elsewhere) or static."
    )
    @click.option("--plugin", "plugins", multiple=True, help="A module with additional contracts; repeatable.")
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


def stack_options(function: Function) -> Function:
    """Options of every command that needs a stack."""
    return stack_option(contract_set_options(function))


def target_options(function: Function) -> Function:
    """Options of every command that needs a target, including those of the stack."""
    return stack_option(place_options(function))


def place_options(function: Function) -> Function:
    """Options that say where stacks run, and which contracts there are."""

    @contract_set_options
    @click.option("--target", help="Where the stack runs: local (default), kind or existing.")
    @click.option("--context", metavar="NAME", help="The kubeconfig context, for the target existing.")
    @click.option("--store", help="The artifact store of the target local: files (default), or s3 in a container.")
    @click.option(
        "--database", help="MLflow's database on the target local: sqlite (default), or postgresql in a container."
    )
    @click.option("--images", help="How to get container images: pull (default), or build from packages.")
    @addon_option
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


def composition_option(function: Function) -> Function:
    """``--with``, for commands that can start a composed stack."""

    @click.option(
        "--with",
        "parts",
        multiple=True,
        metavar="ROLE=STACK|VERSION",
        help="Take one role from another stack, or in another version: trainer, tracking, initializer, runtime, sdk or kserve; repeatable.",
    )
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


def results_option(function: Function) -> Function:
    """``--results``, for commands that judge contracts on a target."""

    @click.option(
        "--results",
        metavar="DIR",
        help="Reuse results of the results store in DIR that still hold, and keep new ones there.",
    )
    @wraps(function)
    def wrapped(**options: Any) -> Any:
        return function(**options)

    return wrapped  # type: ignore[return-value]


def planned_run(registry: Any, settings: Any, target: Any, stack: Any, patterns: Sequence[str]) -> Any:
    """The contracts that a run judges with these settings. Raises UsageError when there are none."""
    from trivet.engine.plan import make_plan

    return make_plan(
        registry,
        profile=settings.profile,
        stack=stack,
        target=target,
        patterns=patterns,
        features=settings.require_features,
    )


def results_store(name: str | None, target: Any, stack: Any) -> Any:
    """The results store in a folder, None without one. Raises UsageError when the target's results cannot be kept."""
    from trivet.engine.results_store import ResultsStore, inputs_of

    if not name:
        return None
    inputs_of(target, stack)
    return ResultsStore(Path(name).expanduser())


def refuse_composition(target: str, parts: Iterable[str], *, on_one_cluster: bool = False) -> None:
    """Raise UsageError for a part of a stack that cannot be from elsewhere on a target.

    ``on_one_cluster`` is for several stacks, which share the cluster of a target that makes one.
    """
    from trivet.stacks.composed import BACKEND, OF_TRAINER

    for part in parts:
        if target == "kind" and part == BACKEND:
            raise UsageError(
                "the pipelines of a stack cannot be from elsewhere on the target kind: KFP's backend there is that of the add-on, whatever "
                "a stack says of it",
                remedy="use the target local, or a stack of your own with this [pipelines]",
            )
        if target == "existing":
            raise UsageError(
                f"the {part} of a stack cannot be from elsewhere on the target existing: what runs on your cluster is what is installed "
                "there",
                remedy="use the target local or kind; `trivet detect` writes the stack of what is installed",
            )
        if target == "kind" and on_one_cluster and part not in OF_TRAINER:
            raise UsageError(
                f"the {part} of a stack cannot be from elsewhere on the target kind here: the stacks of one call share a cluster, which is "
                f"made from it; {' and '.join(OF_TRAINER)} can be",
                remedy=f"use the target local, or judge one after the other: trivet run --target kind --with {part}=VERSION",
            )


def composed_stack(settings: Any, parts: Sequence[str], *, target: str = "") -> Any:
    """The stack of the settings, with the ``parts`` that ``--with`` names. Says on standard error what is locked.

    Raises UsageError for a part that cannot be from elsewhere on ``target``, by default that of the settings.
    """
    from trivet.stacks.composed import compose, read_parts
    from trivet.stacks.read import load_stack

    given = read_parts(parts)
    refuse_composition(target or settings.target, given)
    return compose(load_stack(settings.stack), given, progress=lambda text: click.echo(text, err=True))


def settings_of(**flags: Any) -> Any:
    """The settings that apply in the working directory, with the options of a command."""
    from trivet.settings import load_settings

    return load_settings(Path.cwd(), **flags)


def target_of(registry: Any, name: str) -> Any:
    """The registered target called ``name``."""
    if name not in registry.targets:
        raise unknown("target", name, registry.targets)
    return registry.targets[name]


def writers_of(registry: Any, formats: Sequence[str]) -> list[Any]:
    """The registered writers of ``formats``."""
    for name in formats:
        if name not in registry.writers:
            raise unknown("report format", name, registry.writers)
    return [registry.writers[name] for name in formats]


def stream_beside(formats: Iterable[str]) -> TextIO:
    """Where what people read goes: standard error if one of ``formats`` shall have standard output for itself.

    GitHub reads annotations among other lines, and shows those.
    """
    return sys.stderr if any(name != "github" for name in formats) else sys.stdout


def report_directory(name: str) -> Path | None:
    """The directory for reports, created before the run, so that an unwritable directory does not waste a run."""
    if not name:
        return None
    directory = Path(name)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--report {name!r}: {error.strerror}", remedy="pass a directory that can be created or written"
        ) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise UsageError(f"--report {name!r} is not writable", remedy="pass a directory that can be created or written")
    return directory
