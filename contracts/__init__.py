"""The contracts: one module per topic, one ``@contract`` function per requirement."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from trivet.authoring import (
    hookimpl,
)

MODULES = (
    "components",
    "paths",
    "model_files",
    "environment",
    "signatures",
    "pipelines",
    "pipeline_backend",
    "mlflow_plugin",
    "manifests",
    "validation",
    "serving",
    "lineage",
    "admission",
    "deployment",
    "rollout",
    "scaling",
    "network",
    "monitoring",
)


@hookimpl
def trivet_contracts() -> Iterable[ModuleType]:
    """The modules of this package, in the order of the report."""
    return [import_module(f"trivet.contracts.{name}") for name in MODULES]
