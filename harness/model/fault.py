"""A fault: a reversible change of the platform, as data and two functions. It changes nothing but its affected objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trivet.model.declaration import Declaration
from trivet.model.probe import Probed

PIPELINES, SERVING, PLATFORM, BACKEND = ROLES = "pipelines", "serving", "platform", "backend"
"""The namespaces that a fault may affect, by role: where pipelines run, where InferenceServices are, where MLflow, the store and the
database are, and where KFP's backend and its runs are."""


class Verb(StrEnum):
    """What a fault does to an object, and so how it is reverted: deleted, patched back, or recreated by the controller that owns it."""

    CREATE = "create"
    PATCH = "patch"
    REPLACE = "replace"


@dataclass(frozen=True, kw_only=True)
class AffectedObject:
    """Up to ``count`` objects that a fault changes. ``namespace`` is one of the roles above.

    ``name`` may end in ``*``: objects whose names are only known when the fault is made, such as pods.
    """

    verb: Verb
    kind: str
    name: str
    namespace: str
    count: int = 1

    def __post_init__(self) -> None:
        declared = Declaration("AffectedObject")
        if not isinstance(self.verb, Verb):
            declared.refuse(f"verb is {self.verb!r}", f"write one of Verb.{', Verb.'.join(Verb.__members__)}")
        declared.texts(kind=self.kind, name=self.name)
        declared.known("role of a namespace", self.namespace, ROLES)
        if not isinstance(self.count, int) or self.count < 1:
            declared.refuse(f"count is {self.count!r}", "give the number of objects at most, 1 or more")

    def covers(self, verb: Verb, kind: str, name: str, namespace: str) -> bool:
        """Whether this declares the change of an object."""
        named = name.startswith(self.name[:-1]) if self.name.endswith("*") else name == self.name
        return named and (self.verb, self.kind.lower(), self.namespace) == (verb, kind.lower(), namespace)

    def __str__(self) -> str:
        some = "" if self.count == 1 else f"up to {self.count} "
        return f"{self.verb} {some}{self.kind}/{self.name} in the {self.namespace} namespace"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A disturbance.

    ``inject`` makes it through the ``trivet.model.clients.FaultInjector`` that it is given, which journals how each change is reverted
    before it makes it, and refuses objects that are not among ``affected_objects``. It returns why a gate refused the change, if one did;
    the watch has that as its ``refusal`` then, and nothing is verified. ``verify_injected`` is a probe (``trivet.model.probe``) of whether
    the fault is injected; it is polled for ``budget`` seconds. The injector reverts every change, so that no fault can
    forget to.
    """

    name: str
    affected_objects: tuple[AffectedObject, ...]
    inject: Callable[[Any], str | None]
    verify_injected: Callable[[Any], Probed]
    budget: float = 45.0

    def __post_init__(self) -> None:
        declared = Declaration("Fault")
        declared.texts(name=self.name)
        declared.sequence("affected_objects", self.affected_objects, AffectedObject)
        declared.callables(inject=self.inject, verify_injected=self.verify_injected)
        declared.positive(budget=self.budget)
