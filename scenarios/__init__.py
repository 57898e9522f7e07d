"""The scenarios: one module per incident, one ``@scenario`` generator per cause. Scenarios share the modules with ``_``."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from trivet.hookspecs import hookimpl

MODULES = (
    "tracking_unreachable",
    "tracking_failure",
    "kfp_backend",
    "model_not_found",
    "rollback",
    "bad_canary",
    "ready_not_loaded",
    "store_outage",
    "out_of_memory",
    "environment_skew",
    "unlocked_image",
    "alias_moved",
    "signature_changed",
)


@hookimpl
def trivet_scenarios() -> Iterable[ModuleType]:
    """The modules of this package, in the order of the report."""
    return [import_module(f"trivet.scenarios.{name}") for name in MODULES]
