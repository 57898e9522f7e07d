"""Removes the images that no known stack and no cluster needs, while no other process builds images or creates or deletes a cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from trivet.host.journal import run_in_progress
from trivet.model.stack import Stack
from trivet.provision.images.prune import Garbage, Needed, find_garbage, remove, take_inventory
from trivet.provision.images.recipes import addon_images, addon_roles, images_of
from trivet.provision.images.store import exclusive_lock, set_keys_of
from trivet.provision.kind.cluster import HOSTS
from trivet.provision.kind.state import Busy, all_folders, known_clusters
from trivet.provision.kind.tools import PACKAGES, tool_layer
from trivet.stacks.drawing import drawing_role
from trivet.stacks.environments import environment_folder
from trivet.stacks.platform import load_addon, load_platform, shipped_addons


def prune(stacks: Sequence[Stack], *, dry_run: bool = False) -> Garbage:
    """Remove what neither ``stacks`` nor an existing cluster needs, and return it. With ``dry_run``, only return it.

    Raises PlatformError, before anything is removed, when another process uses the image store or a cluster, or Docker is not available.
    """
    with _exclusive_use():
        garbage = find_garbage(take_inventory(run_in_progress=run_in_progress()), needed(stacks, cluster_sets()))
        if not dry_run:
            remove(garbage)
    return garbage


def needed(stacks: Sequence[Stack], keys: Collection[str] = ()) -> Needed:
    """What ``stacks`` need, and the sets with these ``keys``."""
    return Needed(
        sets=[
            *(images_of(stack) for stack in stacks),
            *(addon_images(stack, addon) for stack in stacks if stack.platform for addon in shipped_addons()),
        ],
        keys=keys,
        programs=[
            tool_layer(tool, platform)
            for platform in (load_platform(stack) for stack in stacks if stack.platform)
            for tool, (wrapper, _) in PACKAGES.items()
            if wrapper in platform.table.get("go", {})
        ],
        environments={
            environment_folder(role)
            for role in (
                drawing_role(),
                *(role for stack in stacks for role in stack.roles.values()),
                *(role for addon in shipped_addons() for role in addon_roles(load_addon(addon)).values()),
            )
        },
    )


def cluster_sets() -> set[str]:
    """The keys of the sets that clusters pull their images from, including stopped and incomplete clusters."""
    files = [folder.path / HOSTS for folder in known_clusters()]
    return {key for file in files if file.is_file() for key in set_keys_of(file.read_text(encoding="utf-8"))}


@contextmanager
def _exclusive_use() -> Iterator[None]:
    """The image store locked exclusively, and every cluster locked."""
    with ExitStack() as held:
        for folder in all_folders():
            try:
                held.enter_context(folder.locked(0))
            except Busy as error:
                raise Busy(
                    f"another trivet process is creating or deleting the cluster {folder.name}, and a prune could delete its images",
                    remedy="prune after it has finished",
                ) from error
        held.enter_context(exclusive_lock())
        yield
