"""Examining this machine: what a local run needs, and what an interrupted one left behind. Changes nothing unless asked to clean."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from trivet.errors import PlatformError, TrivetError, UsageError
from trivet.host.journal import clean as clean_leftover
from trivet.host.journal import leftovers, remove_remains
from trivet.model.settings import Existing
from trivet.provision.kind.health import check_health
from trivet.stacks.environments import (
    cache_directory,
    environments,
    find_python,
    incomplete_environments,
    remove_environment,
    uv_version,
)
from trivet.stacks.read import load_stack, shipped_stacks
from trivet.targets.existing.rbac import lacking
from trivet.targets.existing.target import kubectl_of

ROOM_NEEDED = 6 * 2**30
"""Bytes that the role environments of one stack, its caches and a run need at most; measured at under 3 GiB per shipped stack."""


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """One thing looked at: whether it is well, what was seen, and the remedy when it is not."""

    name: str
    well: bool
    seen: str
    remedy: str = ""


def examine(*, clean: bool = False, existing: Existing | None = None, images: str = "") -> list[Symptom]:
    """Everything that a local run depends on, the user's own cluster when ``existing`` names it, and what a kind cluster needs when
    ``images`` names where its images come from.

    With ``clean``, leftovers and half-made environments are removed on the way.
    """
    theirs = _cluster(existing) if existing else ()
    ours = _kind(images) if images else ()
    return [*_tools(), *_room(), *_stacks(), *_environments(clean), *_leftovers(clean), *theirs, *ours]


def _kind(images: str) -> Iterator[Symptom]:
    for one in check_health(images):
        yield Symptom(name=one.name, well=not one.remedy, seen=one.observed, remedy=one.remedy)


def _tools() -> Iterator[Symptom]:
    yield Symptom(
        name="python", well=True, seen=f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    try:
        yield Symptom(name="uv", well=True, seen=uv_version())
    except TrivetError as error:
        yield Symptom(name="uv", well=False, seen=error.message, remedy=error.remedy)


def _room() -> Iterator[Symptom]:
    folder = cache_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Symptom(
            name="cache", well=False, seen=f"{folder}: {error}", remedy="set TRIVET_CACHE to a writable directory"
        )
        return
    writable = os.access(folder, os.W_OK)
    room = f"{folder}: {free / 2**30:.1f} GiB free"
    if not writable:
        yield Symptom(
            name="cache",
            well=False,
            seen=f"{folder} is not writable",
            remedy="set TRIVET_CACHE to a writable directory",
        )
    elif free < ROOM_NEEDED:
        remedy = f"free some space (a stack needs up to {ROOM_NEEDED // 2**30} GiB) or set TRIVET_CACHE to another disk"
        yield Symptom(name="cache", well=False, seen=room, remedy=remedy)
    else:
        yield Symptom(name="cache", well=True, seen=room)


def _stacks() -> Iterator[Symptom]:
    wanted: set[str] = set()
    for name in shipped_stacks():
        try:
            stack = load_stack(name)
        except TrivetError as error:
            yield Symptom(name=f"stack {name}", well=False, seen=error.message, remedy=error.remedy)
        else:
            yield Symptom(name=f"stack {name}", well=True, seen=f"readable, digest {stack.digest[:12]}")
            wanted |= {role.python for role in stack.roles.values()}
    for version in sorted(wanted):
        try:
            yield Symptom(name=f"python {version}", well=True, seen=f"for the stacks' roles: {find_python(version)}")
        except PlatformError:
            yield Symptom(
                name=f"python {version}",
                well=False,
                seen="the stacks' roles need it, and it is not on this machine",
                remedy=f"install Python {version}, or `uv python install {version}` where the network allows it",
            )


def _environments(clean: bool) -> Iterator[Symptom]:
    for folder in incomplete_environments():
        if clean:
            remove_environment(folder)
            yield Symptom(name="environment", well=True, seen=f"removed the half-made {folder}")
        else:
            yield Symptom(
                name="environment",
                well=False,
                seen=f"{folder} is half-made",
                remedy="trivet doctor --clean, or run again",
            )
    yield Symptom(name="environments", well=True, seen=f"{len(environments())} complete")


def _cluster(existing: Existing) -> Iterator[Symptom]:
    """The cluster that the target existing would run on: reached, and each permission that is lacking."""
    try:
        kubectl = kubectl_of(existing)
        answer = kubectl.raw("/version")
        namespaces = (existing.pipeline_namespace, existing.serving_namespace)
        if not all(namespaces):
            raise UsageError(
                "no namespaces are named",
                remedy="name pipeline_namespace and serving_namespace in [tool.trivet.existing]",
            )
        denied = lacking(kubectl, namespaces)
    except TrivetError as error:
        yield Symptom(name="cluster", well=False, seen=error.message, remedy=error.remedy)
        return
    yield Symptom(name="cluster", well=True, seen=f"{existing.context}: Kubernetes {json.loads(answer)['gitVersion']}")
    for line in denied:
        yield Symptom(
            name="permission",
            well=False,
            seen=f"lacking: {line}",
            remedy="apply what `trivet doctor --target existing --rbac` prints",
        )
    if not denied:
        yield Symptom(name="permissions", well=True, seen=f"all that is needed in {' and '.join(namespaces)}")


def _leftovers(clean: bool) -> Iterator[Symptom]:
    if clean:
        remove_remains()
    found = leftovers()
    for leftover in found:
        if clean and (trouble := clean_leftover(leftover)):
            yield Symptom(
                name="leftover",
                well=False,
                seen=f"{leftover}; not all of it could be removed: {trouble}",
                remedy="see to what is named, and run trivet doctor --clean again",
            )
        elif clean:
            yield Symptom(name="leftover", well=True, seen=f"cleaned {leftover}")
        else:
            yield Symptom(name="leftover", well=False, seen=str(leftover), remedy="trivet doctor --clean, or run again")
    if not found:
        yield Symptom(name="leftovers", well=True, seen="none of an earlier run")
