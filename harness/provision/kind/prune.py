"""Removing the images that no known stack and no cluster needs, while nobody builds them and nobody brings a cluster up or down."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from trivet.host.journal import under_way
from trivet.model.stack import Stack
from trivet.provision.images.prune import Garbage, Needed, garbage, look, remove
from trivet.provision.images.recipes import images_of
from trivet.provision.images.store import pruning, set_behind
from trivet.provision.kind.cluster import HOSTS
from trivet.provision.kind.state import Busy, known, met
from trivet.provision.kind.tools import PACKAGES, tool_layer
from trivet.stacks.drawing import drawing_role
from trivet.stacks.environments import environment_folder
from trivet.stacks.platform import load_platform


def prune(stacks: Sequence[Stack], *, dry_run: bool = False) -> Garbage:
    """Remove what neither ``stacks`` nor a cluster that there is needs, unless it is a ``dry_run``; what that is.

    Raises PlatformError when somebody is at images or at a cluster just now, and without Docker; nothing is removed then.
    """
    with _left_alone():
        gone = garbage(look(run_under_way=under_way()), needed(stacks, cluster_sets()))
        if not dry_run:
            remove(gone)
    return gone


def needed(stacks: Sequence[Stack], keys: Collection[str] = ()) -> Needed:
    """What ``stacks`` are made of, and the sets called ``keys``."""
    return Needed(
        sets=[images_of(stack) for stack in stacks],
        keys=keys,
        programs=[
            tool_layer(tool, platform)
            for platform in (load_platform(stack) for stack in stacks if stack.platform)
            for tool, (wrapper, _) in PACKAGES.items()
            if wrapper in platform.table.get("go", {})
        ],
        environments={
            environment_folder(role)
            for role in (drawing_role(), *(role for stack in stacks for role in stack.roles.values()))
        },
    )


def cluster_sets() -> set[str]:
    """The keys of the sets that clusters pull their images from, stopped and half-made clusters included."""
    files = [folder.path / HOSTS for folder in known()]
    return {key for file in files if file.is_file() and (key := set_behind(file.read_text(encoding="utf-8")))}


@contextmanager
def _left_alone() -> Iterator[None]:
    with ExitStack() as held:
        for folder in met():
            try:
                held.enter_context(folder.locked(0))
            except Busy as error:
                raise Busy(
                    f"another trivet brings the cluster {folder.name} up or down, which must not lose an image meanwhile",
                    remedy="prune when it is through",
                ) from error
        held.enter_context(pruning())
        yield
