"""Health checks for `trivet doctor`: what a kind cluster needs of this machine, and the state of the existing clusters. Changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trivet.errors import PlatformError
from trivet.provision.kind import limits
from trivet.provision.kind.machine import capacity, docker_info, shortages
from trivet.provision.kind.nodes import node_containers
from trivet.provision.kind.state import CREATING, DELETING, READY, Busy, known_clusters
from trivet.provision.kind.tools import kind_on_path
from trivet.stacks.go_modules import find_go


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """The result of one check: what was observed, and the remedy; an empty remedy means that the check passed."""

    name: str
    observed: str
    remedy: str = ""


def check_health(source: str) -> Iterator[HealthCheck]:
    """Docker and its capacity, the tools that the image source (``build`` or ``pull``) needs, and every cluster of trivet's."""
    try:
        info = docker_info()
    except PlatformError as error:
        yield HealthCheck(name="docker", observed=error.message, remedy=error.remedy)
        return
    memory, disk = capacity(info)
    free = "" if disk is None else f", {disk / 2**30:.0f} GiB free"
    yield HealthCheck(
        name="docker",
        observed=f"{info.get('ServerVersion')}, {info.get('NCPU')} CPUs, {memory / 2**30:.0f} GiB of memory{free}",
    )
    for observed, remedy in shortages(memory, disk):
        yield HealthCheck(name="docker", observed=observed, remedy=remedy)
    yield _tool("go", find_go)
    if source == "build":
        yield _program("mmdebstrap", "install it: trivet builds the Debian root file systems of images with it")
    else:
        yield _tool("kind", lambda: str(kind_on_path()))
        yield _program("kubectl", "install kubectl (https://kubernetes.io/docs/tasks/tools)")
    yield from _clusters()


def _clusters() -> Iterator[HealthCheck]:
    folders = known_clusters()
    for folder in folders:
        name = f"cluster {folder.name}"
        try:
            with folder.locked(0):
                state = folder.read()
        except Busy:
            yield HealthCheck(name=name, observed="another trivet process is creating or deleting it")
            continue
        if state is None:
            continue
        states = ", ".join(sorted({node.state for node in node_containers(folder.name)})) or "no node"
        if state.stage in (CREATING, DELETING):
            yield HealthCheck(
                name=name,
                observed=f"its creation or deletion was interrupted (node: {states})",
                remedy=f"run `{state.command('up')}` to create it again, or `trivet down --all` to delete it",
            )
        elif states != "running":
            yield HealthCheck(
                name=name,
                observed=f"not running (node: {states})",
                remedy=f"run `{state.command('up')}` to start it again, or `{state.command('down')}` to delete it",
            )
        else:
            interrupted = f"its installation was interrupted; `{state.command('up')}` completes it"
            complete = "complete" if state.stage == READY else interrupted
            yield HealthCheck(
                name=name, observed=f"running, {complete}, images: {state.source}, digest {state.digest[:12]}"
            )
    if not folders:
        yield HealthCheck(name="clusters", observed="no cluster of trivet's")


def _tool(name: str, find: Callable[[], str]) -> HealthCheck:
    try:
        path = find()
        version = subprocess.run(
            [path, "version"], capture_output=True, text=True, timeout=limits.VERSION
        ).stdout.strip()
    except PlatformError as error:
        return HealthCheck(name=name, observed=error.message, remedy=error.remedy)
    except (OSError, subprocess.SubprocessError) as error:
        return HealthCheck(name=name, observed=f"does not run: {error}", remedy=f"reinstall {name}")
    return HealthCheck(name=name, observed=version.splitlines()[0] if version else path)


def _program(name: str, remedy: str) -> HealthCheck:
    path = shutil.which(name)
    return (
        HealthCheck(name=name, observed=path)
        if path
        else HealthCheck(name=name, observed="not on this machine", remedy=remedy)
    )
