"""Finds the registered contracts, scenarios, targets and report writers, trivet's own and those of plugins, through the same hooks."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from trivet import hookspecs
from trivet.engine.ignored import COMMENTS
from trivet.errors import TrivetError, UsageError, choices, unknown
from trivet.model.clients import CLIENTS, OWN_CLIENT
from trivet.model.contract import Contract
from trivet.model.declaration import Declaration, place_of
from trivet.model.scenario import Scenario
from trivet.model.settings import Settings

if TYPE_CHECKING:
    from trivet.model.target import Target
    from trivet.model.writer import Writer

Named = TypeVar("Named", Contract, Scenario)

BUILTIN = "trivet.builtin"
"""The plugin that registers trivet's own targets."""
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

    A registered module provides the contracts and scenarios defined in it; its hooks name further modules. Targets are built for
    ``settings``, by default for the default settings. An invalid plugin raises UsageError: one that cannot be imported, has a wrong
    declaration, or returns something other than contracts, scenarios, targets or writers.
    """

    def __init__(
        self, plugins: Iterable[str] = (), modules: Iterable[object] = (), *, settings: Settings | None = None
    ) -> None:
        self._settings = settings or Settings()
        self._manager = pluggy.PluginManager("trivet")
        self._manager.add_hookspecs(hookspecs)
        for entry in entry_points(group="trivet"):
            origin = f"entry point {entry.name!r} ({entry.value})"
            self._register(_loaded(origin, entry.load, "correct or uninstall the distribution that it comes from"))
        for name in plugins:
            remedy = "correct 'plugins' in [tool.trivet], or put the module on the import path"
            self._register(_loaded(f"plugin {name!r}", partial(importlib.import_module, name), remedy))
        for implementation in modules:
            self._register(implementation)

    def _register(self, plugin: object) -> None:
        if self._manager.is_registered(plugin):
            return
        name = self._manager.get_canonical_name(plugin)
        for attribute in vars(plugin) if isinstance(plugin, ModuleType) else dir(plugin):
            marked = self._manager.parse_hookimpl_opts(plugin, attribute) is not None
            if attribute in HOOKS and not marked and inspect.isroutine(getattr(plugin, attribute)):
                raise UsageError(f"{attribute} of {name} is not marked as a hook", remedy="put @hookimpl before it")
            if marked and attribute not in HOOKS:
                raise UsageError(f"{name} implements an unknown hook {attribute!r}", remedy=choices(attribute, HOOKS))
        try:
            self._manager.register(plugin)
        except pluggy.PluginValidationError as error:
            raise UsageError(
                f"{name} implements a hook wrongly: {error}", remedy="take the parameters of trivet.hookspecs"
            ) from error

    @cached_property
    def contracts(self) -> Mapping[str, Contract]:
        """Every contract by id, in the order of the modules and of their source; ``unrunnable`` where no target can judge it."""
        return self._made("contract", Contract, lambda one: one.check)

    @property
    def listed(self) -> Mapping[str, Contract]:
        """The contracts, and the one that lint itself judges and no run can: that comments which ignore findings are used."""
        return {**self.contracts, COMMENTS.id: COMMENTS}

    @cached_property
    def scenarios(self) -> Mapping[str, Scenario]:
        """Every scenario by id, in the same order."""
        return self._made("scenario", Scenario, lambda one: one.stage)

    def contract(self, identifier: str) -> Contract:
        """The contract called ``identifier``."""
        try:
            return self.contracts[identifier]
        except KeyError:
            raise unknown("contract", identifier, self.contracts) from None

    @cached_property
    def targets(self) -> Mapping[str, Target]:
        """Every target by name."""
        return self._merged("target", self._targets)

    @cached_property
    def core_clients(self) -> frozenset[str]:
        """The clients that every target that comes with trivet offers."""
        builtin = [group for plugin, group in self._targets if plugin == BUILTIN]
        return frozenset.intersection(*(frozenset(one.clients) for group in builtin for one in group.values()))

    @cached_property
    def writers(self) -> Mapping[str, Writer]:
        """Every report writer by format."""
        groups = []
        for plugin, declared, group in self._given("trivet_writers"):
            declared.instance("what it returns", group, Mapping)
            for name, writer in group.items():
                _has(declared, f"the writer {name!r}", writer, ("filename", "write"))
            groups.append((plugin, group))
        return self._merged("report format", groups)

    @cached_property
    def _targets(self) -> list[tuple[str, Mapping[str, Target]]]:
        """By plugin, the targets that it registers."""
        groups = []
        for plugin, declared, group in self._given("trivet_targets", settings=self._settings):
            declared.instance("what it returns", group, Mapping)
            for name, target in group.items():
                _has(declared, f"the target {name!r}", target, ("name", "clients", "plan", "start"))
                declared.instance(f"clients of the target {name!r}", target.clients, Collection)
                for client in target.clients:
                    declared.known(f"client of the target {name!r}", client, CLIENTS, otherwise=OWN_CLIENT)
            groups.append((plugin, group))
        return groups

    def _given(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Declaration, Any]]:
        """What each plugin's implementation of a hook returns, in the order of registration. Raises UsageError when one breaks."""
        for one in getattr(self._manager.hook, hook).get_hookimpls():
            declared = Declaration(f"{hook} of {one.plugin_name}", place_of(one.function))
            give = partial(_given_by, one.function, *(arguments[name] for name in one.argnames))
            yield one.plugin_name, declared, _loaded(declared.what, give, "correct that plugin", failure="failed")

    def _made(self, what: str, kind: type[Named], function: Callable[[Named], Callable[..., Any]]) -> dict[str, Named]:
        """What the decorator of a kind made in the modules that the hooks name and in those that are registered, in this order and each
        module once. It belongs to the module that it was made in, wherever else it is imported."""
        found: dict[str, Named] = {}
        modules: dict[ModuleType, Declaration | None] = {}
        for _, declared, group in self._given(f"trivet_{what}s"):
            if isinstance(group, str) or not isinstance(group, Iterable):
                declared.refuse(f"it returns {group!r}", "return a list of modules, such as [sys.modules[__name__]]")
            for module in group:
                declared.instance("what it names", module, ModuleType)
                modules.setdefault(module, declared)
        for _, plugin in self._manager.list_name_plugin():
            if isinstance(plugin, ModuleType):
                modules.setdefault(plugin, None)
        for module, hook in modules.items():
            made = [one for one in vars(module).values() if isinstance(one, kind)]
            own = [one for one in made if function(one).__module__ == module.__name__]
            if hook and not own:
                hook.refuse(
                    f"it names {module.__name__}, in which no {what} is made",
                    f"name the module in which @{what} stands",
                )
            for value in own:
                if value.id in found:
                    first = function(found[value.id]).__module__
                    raise UsageError(
                        f"two {what}s have the id {value.id!r}: in {first} and {module.__name__}",
                        remedy="rename one of the modules or functions; an id is module.function",
                    )
                found[value.id] = self.checked(value)
        return found

    def checked(self, one: Named) -> Named:
        """``one``, with ``unrunnable`` where no registered target offers a client that it asks for."""
        # Targets are only made when a client is asked for that is not trivet's own: that takes longer than to lint a file.
        asked = [name for name in one.clients if name in CLIENTS.added]
        missing = [name for name in asked if not any(name in target.clients for target in self.targets.values())]
        reasons = [
            f"no registered target offers the client {name} ({CLIENTS[name]}); name the plugin that registers one"
            for name in missing
        ]
        return replace(one, unrunnable="; ".join(reasons))

    @staticmethod
    def _merged(kind: str, groups: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for _, group in groups:
            for name, value in group.items():
                if name in merged:
                    raise UsageError(
                        f"two plugins register the {kind} {name!r}", remedy="uninstall or rename one of them"
                    )
                merged[name] = value
        return merged


_in_use: list[Registry] = []


@contextmanager
def use_registry(registry: Registry) -> Iterator[None]:
    """Make ``registry`` the one of :func:`registry_in_use` during the block."""
    _in_use.append(registry)
    try:
        yield
    finally:
        _in_use.remove(registry)


def registry_in_use() -> Registry:
    """The registry of the run that plays scenarios, with its plugins; outside one, what the installed distributions register."""
    return _in_use[-1] if _in_use else Registry()


def _loaded(origin: str, load: Callable[[], Any], remedy: str, *, failure: str = "does not import") -> Any:
    """What ``load`` returns. It runs a plugin author's code, any exception of which becomes a UsageError that says ``failure``."""
    try:
        return load()
    except TrivetError as error:
        raise UsageError(f"{origin}: {error.message}", remedy=error.remedy) from error
    except Exception as error:
        raise UsageError(f"{origin} {failure}: {type(error).__name__}: {error}", remedy=remedy) from error


def _given_by(hook: Callable[..., Any], *arguments: Any) -> Any:
    """What a hook returns, read to its end: a generator runs the plugin's code too."""
    value = hook(*arguments)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _has(declared: Declaration, what: str, value: object, attributes: Sequence[str]) -> None:
    for name in attributes:
        if not hasattr(value, name):
            declared.refuse(f"{what} has no {name!r}", f"it needs {', '.join(attributes)}")
