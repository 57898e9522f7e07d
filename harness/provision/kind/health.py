"""Looking at what a kind cluster needs of this machine, and at the clusters that there are. Changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trivet.errors import PlatformError
from trivet.provision.go_modules import find_go
from trivet.provision.kind import limits
from trivet.provision.kind.docker import engine, nodes, room, shortages
from trivet.provision.kind.state import CREATING, DELETING, READY, Busy, known
from trivet.provision.kind.tools import kind_on_path


@dataclass(frozen=True, kw_only=True)
class Look:
    """One thing looked at: what was seen, and the remedy when it is not well (empty when it is)."""

    name: str
    seen: str
    remedy: str = ""


def look(source: str) -> Iterator[Look]:
    """Docker, its room, the tools that ``source`` of images needs, and every cluster of ours."""
    try:
        facts = engine()
    except PlatformError as error:
        yield Look(name="docker", seen=error.message, remedy=error.remedy)
        return
    memory, disk = room(facts)
    free = "" if disk is None else f", {disk / 2**30:.0f} GiB free"
    yield Look(
        name="docker",
        seen=f"{facts.get('ServerVersion')}, {facts.get('NCPU')} CPUs, {memory / 2**30:.0f} GiB of memory{free}",
    )
    for seen, remedy in shortages(memory, disk):
        yield Look(name="docker", seen=seen, remedy=remedy)
    yield _tool("go", find_go)
    if source == "build":
        yield _program("mmdebstrap", "install it: Debian root file systems of images are made with it")
    else:
        yield _tool("kind", lambda: str(kind_on_path()))
        yield _program("kubectl", "install kubectl (https://kubernetes.io/docs/tasks/tools)")
    yield from _clusters()


def _clusters() -> Iterator[Look]:
    found = known()
    for folder in found:
        name = f"cluster {folder.name}"
        try:
            with folder.locked(0):
                state = folder.read()
        except Busy:
            yield Look(name=name, seen="another trivet is bringing it up or down")
            continue
        if state is None:
            continue
        states = ", ".join(sorted({node.state for node in nodes(folder.name)})) or "no node"
        if state.stage in (CREATING, DELETING):
            yield Look(
                name=name, seen=f"half made or half deleted ({states})", remedy="trivet up, or trivet down --all"
            )
        elif states != "running":
            yield Look(
                name=name, seen=f"its node: {states}", remedy="trivet up starts it again, trivet down deletes it"
            )
        else:
            complete = "complete" if state.stage == READY else "its installation was cut off; trivet up completes it"
            yield Look(name=name, seen=f"running, {complete}, images: {state.source}, digest {state.digest[:12]}")
    if not found:
        yield Look(name="clusters", seen="none of trivet's")


def _tool(name: str, find: Callable[[], str]) -> Look:
    try:
        path = find()
        said = subprocess.run([path, "version"], capture_output=True, text=True, timeout=limits.VERSION).stdout.strip()
    except PlatformError as error:
        return Look(name=name, seen=error.message, remedy=error.remedy)
    except (OSError, subprocess.SubprocessError) as error:
        return Look(name=name, seen=f"does not run: {error}", remedy=f"install {name} anew")
    return Look(name=name, seen=said.splitlines()[0] if said else path)


def _program(name: str, remedy: str) -> Look:
    path = shutil.which(name)
    return Look(name=name, seen=path) if path else Look(name=name, seen="not on this machine", remedy=remedy)
