"""Finding what is registered: contracts, scenarios, targets and report writers, ours and other people's, through the same hooks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from trivet import hookspecs
from trivet.errors import UsageError, unknown
from trivet.model.contract import Contract
from trivet.model.scenario import Scenario

if TYPE_CHECKING:
    from trivet.model.settings import Settings
    from trivet.model.target import Target
    from trivet.model.writer import Writer

Named = TypeVar("Named", Contract, Scenario)


HOOKS = ("trivet_contracts", "trivet_scenarios", "trivet_targets", "trivet_writers")


def offers(plugin: object) -> bool:
    """Whether a plugin of pytest's, such as a ``conftest.py``, has something for the registry: a hook, a contract or a scenario."""
    if any(hasattr(plugin, hook) for hook in HOOKS):
        return True
    return isinstance(plugin, ModuleType) and any(
        isinstance(one, (Contract, Scenario)) for one in vars(plugin).values()
    )


class Registry:
    """Everything registered for one run. ``plugins`` are module names beyond the installed entry points.

    A registered module offers the contracts and scenarios that are made in it; its hooks name other modules that do. Targets are made
    for ``settings``, so they are only there when these are given.
    """

    def __init__(
        self, plugins: Iterable[str] = (), modules: Iterable[object] = (), *, settings: Settings | None = None
    ) -> None:
        self._settings = settings
        self._manager = pluggy.PluginManager("trivet")
        self._manager.add_hookspecs(hookspecs)
        self._manager.load_setuptools_entrypoints("trivet")
        for name in plugins:
            try:
                module = importlib.import_module(name)
            except Exception as error:
                # Importing runs the module: any error of its author's comes up here.
                raise UsageError(
                    f"plugin {name!r} does not import: {type(error).__name__}: {error}",
                    remedy="correct 'plugins' in [tool.trivet], or put the module on the import path",
                ) from error
            if not self._manager.is_registered(module):
                self._manager.register(module)
        for implementation in modules:
            if not self._manager.is_registered(implementation):
                self._manager.register(implementation)

    @cached_property
    def contracts(self) -> Mapping[str, Contract]:
        """Every contract by id, in the order of the modules and of their source."""
        return self._made("contract", self._manager.hook.trivet_contracts(), Contract, lambda one: one.check)

    @cached_property
    def scenarios(self) -> Mapping[str, Scenario]:
        """Every scenario by id, in the same order."""
        return self._made("scenario", self._manager.hook.trivet_scenarios(), Scenario, lambda one: one.stage)

    def contract(self, identifier: str) -> Contract:
        """The contract called ``identifier``."""
        try:
            return self.contracts[identifier]
        except KeyError:
            raise unknown("contract", identifier, self.contracts) from None

    @cached_property
    def targets(self) -> Mapping[str, Target]:
        """Every target by name."""
        return self._merged("target", self._manager.hook.trivet_targets(settings=self._settings))

    @cached_property
    def writers(self) -> Mapping[str, Writer]:
        """Every report writer by format."""
        return self._merged("report format", self._manager.hook.trivet_writers())

    def _made(
        self,
        what: str,
        groups: list[Iterable[ModuleType]],
        kind: type[Named],
        function: Callable[[Named], Callable[..., Any]],
    ) -> dict[str, Named]:
        """What the decorator of a kind made in the modules that the hooks name and in those that are registered, in this order and each
        module once. It belongs to the module that it was made in, wherever else it is imported."""
        found: dict[str, Named] = {}
        named: list[ModuleType] = [module for group in reversed(groups) for module in group]
        registered: list[ModuleType] = [
            plugin for _, plugin in self._manager.list_name_plugin() if isinstance(plugin, ModuleType)
        ]
        for module in dict.fromkeys([*named, *registered]):
            for value in vars(module).values():
                if not isinstance(value, kind) or function(value).__module__ != module.__name__:
                    continue
                if value.id in found:
                    first = function(found[value.id]).__module__
                    raise UsageError(
                        f"two {what}s have the id {value.id!r}: in {first} and {module.__name__}",
                        remedy="rename one of the modules or functions; an id is module.function",
                    )
                found[value.id] = value
        return found

    def _merged(self, kind: str, groups: list[Mapping[str, Any]]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for group in reversed(groups):
            for name, value in group.items():
                if name in merged:
                    raise UsageError(
                        f"two plugins register the {kind} {name!r}", remedy="uninstall or rename one of them"
                    )
                merged[name] = value
        return merged
