"""The targets and report writers that trivet itself registers through its hooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trivet.hookspecs import hookimpl

if TYPE_CHECKING:
    from trivet.model.settings import Settings
    from trivet.model.target import Target
    from trivet.model.writer import Writer


@hookimpl
def trivet_targets(settings: Settings) -> Mapping[str, Target]:
    """The targets of trivet."""
    from trivet.targets.existing.target import existing_target
    from trivet.targets.kind import kind_target
    from trivet.targets.local import Backing, LocalTarget

    backing = Backing(store=settings.store, database=settings.database, images=settings.images, mirror=settings.mirror)
    return {
        "local": LocalTarget(backing),
        "kind": kind_target(settings.images, settings.mirror, addons=settings.addons, as_is=settings.as_is),
        "existing": existing_target(settings.existing),
    }


@hookimpl
def trivet_writers() -> Mapping[str, Writer]:
    """The report writers of trivet."""
    from trivet.render.builtin import writers

    return writers()
