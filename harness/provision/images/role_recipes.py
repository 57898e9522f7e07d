"""By which recipe the image of a composed stack's role is made: that of the platform of the stack that the role is from. Builds nothing.

A platform says what is around a role: its file system, KServe's entry script, the name under which upstream published the image. All of
this follows the role and not the rest of the stack, so that the image is that of the other stack's own cluster, and is built once for both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from trivet.model.stack import Role, Stack
from trivet.provision.images.names import parse_reference
from trivet.stacks.composed import stack_of, version_of
from trivet.stacks.platform import Platform, load_platform
from trivet.stacks.read import load_stack, shipped_stacks

INITIALIZER = "initializer"
OF_PLATFORM = ("tracking", INITIALIZER, "runtime")
"""The roles that run in the platform's own pods, or in those of InferenceServices."""
SEPARATE_PACKAGE = (0, 16)
"""From this KServe on, its first candidate included, the entry script imports ``kserve_storage``, before it ``kserve.storage``
(kserve v0.15.2 and v0.16.0-rc0 python/storage-initializer/scripts/initializer-entrypoint). Those of 0.14.1 and 0.20.0 use nothing that
0.13.0 and 0.16.0 lack."""


@dataclass(frozen=True, kw_only=True)
class RoleRecipe:
    """The table ``[[image]]`` of a role, and the platform with the tables that it refers to.

    ``published`` is whether upstream's image of this name is what the lock describes.
    """

    entry: Mapping[str, Any]
    platform: Platform
    published: bool


def recipe_of(entry: Mapping[str, Any], platform: Platform, stack: Stack) -> RoleRecipe:
    """The recipe of a role's image for the composed ``stack``; ``entry`` is the one of its own platform."""
    role = stack.roles[entry["role"]]
    home = stack_of(role)
    if home and home.platform:
        theirs = load_platform(home)
        if len(found := _entries(theirs, role.name)) == 1:
            return RoleRecipe(entry=found[0], platform=theirs, published=home.shipped)
    if role.name == INITIALIZER:
        platform, entry = _with_fitting_script(role, entry, platform, stack)
    return RoleRecipe(entry=_of_lock(entry, role), platform=platform, published=False)


def _entries(platform: Platform, role: str) -> list[Mapping[str, Any]]:
    return [one for one in platform.table.get("image", ()) if one.get("role") == role]


def _of_lock(entry: Mapping[str, Any], role: Role) -> Mapping[str, Any]:
    """The entry for a role of which no platform has an image: in the role's version. What is pulled is the image that its stack names."""
    reference, version = parse_reference(entry["name"]), version_of(role)
    prefix = "v" if reference.tag.startswith("v") else ""
    tag = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{prefix}{version}") if version else reference.tag
    return {**entry, "name": f"{reference.registry}/{reference.path}:{tag}", "pull": role.image}


def _with_fitting_script(
    role: Role, entry: Mapping[str, Any], platform: Platform, stack: Stack
) -> tuple[Platform, Mapping[str, Any]]:
    """The platform, with its entry, whose entry script imports the package that the role has: of the newest KServe up to the role's, else
    of the oldest after it.
    """
    wanted = _parsed(version_of(role))
    if wanted is None:
        return platform, entry
    fitting = [
        (version, place, candidate, found)
        for place, (version, candidate, found) in enumerate(_scripts(entry, platform, stack))
        if (version.release >= SEPARATE_PACKAGE) == (wanted.release >= SEPARATE_PACKAGE)
    ]
    if not fitting:
        return platform, entry
    not_newer = [one for one in fitting if one[0] <= wanted]
    # Of one version, the first: that of the stack's own platform.
    _, _, candidate, found = (
        max(not_newer, key=lambda one: (one[0], -one[1])) if not_newer else min(fitting, key=lambda one: one[:2])
    )
    return candidate, found


def _scripts(
    entry: Mapping[str, Any], platform: Platform, stack: Stack
) -> Iterator[tuple[Version, Platform, Mapping[str, Any]]]:
    """The initializers' recipes that are known, with the version of their KServe: of the stack's own platform first."""
    if version := _parsed(stack.version("kserve")):
        yield version, platform, entry
    for other in (one for one in map(load_stack, shipped_stacks()) if one.platform):
        theirs, version = load_platform(other), _parsed(other.version("kserve"))
        if version and len(found := _entries(theirs, INITIALIZER)) == 1:
            yield version, theirs, found[0]


def _parsed(version: str) -> Version | None:
    try:
        return Version(version)
    except InvalidVersion:
        return None
