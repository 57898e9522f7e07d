"""Checks this machine for the requirements of a run, and for leftovers of interrupted runs. Changes nothing unless asked to clean up."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from trivet.errors import PlatformError, TrivetError
from trivet.host.journal import clean as clean_leftover
from trivet.host.journal import leftovers, remove_remains
from trivet.integration.pipeline_api import PipelineApi
from trivet.model.redaction import redact
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
from trivet.targets.existing.rbac import CLUSTER, FLEET, detect_permissions, missing_permissions, needed_permissions
from trivet.targets.existing.target import kubectl_of

ROOM_NEEDED = 6 * 2**30
"""Bytes that the role environments of one stack, its caches and a run need at most; measured at under 3 GiB per shipped stack."""


@dataclass(frozen=True, kw_only=True)
class DoctorCheck:
    """The result of one check: whether it passed, what was observed, and the remedy if it failed."""

    name: str
    ok: bool
    observed: str
    remedy: str = ""


def examine(*, clean: bool = False, existing: Existing | None = None, images: str = "") -> list[DoctorCheck]:
    """Check the requirements of a local run, of the user's cluster if ``existing`` is given, and of a kind cluster if ``images`` (pull or
    build) is given.

    With ``clean``, leftovers and incomplete environments are removed.
    """
    theirs = _cluster(existing) if existing else ()
    ours = _kind(images) if images else ()
    return [*_tools(), *_room(), *_stacks(), *_environments(clean), *_leftovers(clean), *theirs, *ours]


def _kind(images: str) -> Iterator[DoctorCheck]:
    for one in check_health(images):
        yield DoctorCheck(name=one.name, ok=not one.remedy, observed=one.observed, remedy=one.remedy)


def _tools() -> Iterator[DoctorCheck]:
    yield DoctorCheck(
        name="python", ok=True, observed=f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    try:
        yield DoctorCheck(name="uv", ok=True, observed=uv_version())
    except TrivetError as error:
        yield DoctorCheck(name="uv", ok=False, observed=error.message, remedy=error.remedy)


def _room() -> Iterator[DoctorCheck]:
    folder = cache_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield DoctorCheck(
            name="cache", ok=False, observed=f"{folder}: {error}", remedy="set TRIVET_CACHE to a writable directory"
        )
        return
    writable = os.access(folder, os.W_OK)
    room = f"{folder}: {free / 2**30:.1f} GiB free"
    if not writable:
        yield DoctorCheck(
            name="cache",
            ok=False,
            observed=f"{folder} is not writable",
            remedy="set TRIVET_CACHE to a writable directory",
        )
    elif free < ROOM_NEEDED:
        remedy = f"free some space (a stack needs up to {ROOM_NEEDED // 2**30} GiB) or set TRIVET_CACHE to another disk"
        yield DoctorCheck(name="cache", ok=False, observed=room, remedy=remedy)
    else:
        yield DoctorCheck(name="cache", ok=True, observed=room)


def _stacks() -> Iterator[DoctorCheck]:
    wanted: set[str] = set()
    for name in shipped_stacks():
        try:
            stack = load_stack(name)
        except TrivetError as error:
            yield DoctorCheck(name=f"stack {name}", ok=False, observed=error.message, remedy=error.remedy)
        else:
            yield DoctorCheck(name=f"stack {name}", ok=True, observed=f"readable, digest {stack.digest[:12]}")
            wanted |= {role.python for role in stack.roles.values()}
    for version in sorted(wanted):
        try:
            yield DoctorCheck(
                name=f"python {version}", ok=True, observed=f"for the stacks' roles: {find_python(version)}"
            )
        except PlatformError:
            yield DoctorCheck(
                name=f"python {version}",
                ok=False,
                observed="the stacks' roles need it, and it is not on this machine",
                remedy=f"install Python {version}, or `uv python install {version}` where the network allows it",
            )


def _environments(clean: bool) -> Iterator[DoctorCheck]:
    for folder in incomplete_environments():
        if clean:
            remove_environment(folder)
            yield DoctorCheck(name="environment", ok=True, observed=f"removed the incomplete {folder}")
        else:
            yield DoctorCheck(
                name="environment",
                ok=False,
                observed=f"{folder} is incomplete",
                remedy="trivet doctor --clean, or run again",
            )
    yield DoctorCheck(name="environments", ok=True, observed=f"{len(environments())} complete")


def _pipelines(existing: Existing) -> DoctorCheck:
    try:
        health = PipelineApi(existing.kfp_url).health()
    except TrivetError as error:
        return DoctorCheck(name="kfp", ok=False, observed=error.message, remedy=error.remedy)
    users = "several users" if health.get("multi_user") else "one user"
    where = redact(existing.kfp_url)
    return DoctorCheck(
        name="kfp", ok=True, observed=f"{where}: release {health.get('tag_name') or 'unknown'}, for {users}"
    )


def _cluster(existing: Existing) -> Iterator[DoctorCheck]:
    """The cluster that the target existing would run on: reached, and each permission that is lacking.

    What `trivet fleet --context` reads needs no namespaces in the settings.
    """
    namespaces = (existing.pipeline_namespace, existing.serving_namespace)
    try:
        kubectl = kubectl_of(existing)
        answer = kubectl.raw("/version")
        yield DoctorCheck(
            name="cluster", ok=True, observed=f"{existing.context}: Kubernetes {json.loads(answer)['gitVersion']}"
        )
        if all(namespaces):
            yield from _granted(existing, missing_permissions(kubectl, needed_permissions(existing)))
        else:
            yield DoctorCheck(
                name="permissions",
                ok=False,
                observed="not asked: no namespaces are named",
                remedy="name pipeline_namespace and serving_namespace in [tool.trivet.existing]",
            )
        if existing.kfp_url:
            yield _pipelines(existing)
        yield from _readable(
            "trivet detect",
            missing_permissions(kubectl, detect_permissions(filter(None, namespaces))),
            otherwise="stays unknown",
            complete="may read all that it looks for",
        )
        yield from _readable(
            "trivet fleet",
            missing_permissions(kubectl, {CLUSTER: FLEET}),
            otherwise="--context is refused",
            complete="may read the services of the cluster",
        )
    except TrivetError as error:
        yield DoctorCheck(name="cluster", ok=False, observed=error.message, remedy=error.remedy)


def _readable(command: str, unread: list[str], *, otherwise: str, complete: str) -> Iterator[DoctorCheck]:
    """What a command that only reads may not, and what follows from that; none of it is needed by a run."""
    for line in unread:
        yield DoctorCheck(name=command, ok=True, observed=f"may not {line}: {otherwise}")
    if not unread:
        yield DoctorCheck(name=command, ok=True, observed=complete)


def _granted(existing: Existing, denied: list[str]) -> Iterator[DoctorCheck]:
    """The permissions that a run needs in the namespaces of the settings, of which those ``denied`` are lacking."""
    for line in denied:
        yield DoctorCheck(
            name="permission",
            ok=False,
            observed=f"lacking: {line}",
            remedy="apply what `trivet doctor --target existing --rbac` prints",
        )
    if not denied:
        observed = f"all that is needed in {existing.pipeline_namespace} and {existing.serving_namespace}"
        yield DoctorCheck(name="permissions", ok=True, observed=observed)


def _leftovers(clean: bool) -> Iterator[DoctorCheck]:
    if clean:
        remove_remains()
    found = leftovers()
    for leftover in found:
        if clean and (errors := clean_leftover(leftover)):
            yield DoctorCheck(
                name="leftover",
                ok=False,
                observed=f"{leftover}; not all of it could be removed: {errors}",
                remedy="correct what is named, and run trivet doctor --clean again",
            )
        elif clean:
            yield DoctorCheck(name="leftover", ok=True, observed=f"cleaned {leftover}")
        else:
            yield DoctorCheck(
                name="leftover", ok=False, observed=str(leftover), remedy="trivet doctor --clean, or run again"
            )
    if not found:
        yield DoctorCheck(name="leftovers", ok=True, observed="none of an earlier run")
