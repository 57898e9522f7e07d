"""A fake target: its clients are plain values. For tests of the engine and the plugin themselves, never of a contract.

It registers through the same hooks as a third party's would, as the target ``fake``, together with three contracts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.errors import NotOffered
from trivet.hookspecs import hookimpl
from trivet.model.clients import CLIENTS, declare_client
from trivet.model.finding import Finding, failed, passed
from trivet.model.stack import Stack

declare_client("colour", "what the paper looks like")
declare_client("grams", "what a square metre of the paper weighs")
declare_client("tray", "where the printer takes paper from")

STACK = Stack(
    name="fake",
    title="No software at all",
    folder=Path(),
    components={"mlflow": "2.17.2"},
    roles={},
    digest="0" * 64,
    api_schemas=Path(),
)


class FakeSession:
    def __init__(self, clients: Mapping[str, Any]) -> None:
        self.clients = clients

    def client(self, name: str) -> Any:
        if name not in self.clients:
            raise NotOffered(f"no client {name}")
        if isinstance(self.clients[name], Exception):
            raise self.clients[name]
        return self.clients[name]

    def subjects(self, kind: str) -> Sequence[Any]:
        found: Sequence[Any] = self.clients.get(kind, ())
        return found

    def features(self) -> Mapping[str, str]:
        return {}

    def describe(self) -> Mapping[str, str]:
        return {}

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        return {}


class FakeTarget:
    name = "fake"

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.clients = frozenset(given) & frozenset(CLIENTS)
        self.stopped = False

    def plan(self, stack: Stack) -> Sequence[str]:
        return ("nothing to start",)

    @contextmanager
    def start(self, stack: Stack, emit: Any) -> Iterator[FakeSession]:
        try:
            yield FakeSession(self.given)
        finally:
            self.stopped = True


@contract(
    title="Paper must be white",
    level=MUST,
    seam=("mlflow", "kserve"),
    rationale="so that one can write",
    remedy="bleach",
)
def white(colour: str) -> Iterator[Finding]:
    yield passed("white") if colour == "white" else failed(f"the paper is {colour}")


@contract(
    title="Paper should be thick",
    level=SHOULD,
    seam=("mlflow", "kserve"),
    rationale="so that it lasts",
    remedy="two sheets",
)
def thick(grams: int) -> Iterator[Finding]:
    yield passed("thick") if grams > 80 else failed(f"{grams} g is thin")


@contract(
    title="Paper must be in the tray",
    level=MUST,
    seam=("mlflow", "kserve"),
    rationale="else none comes",
    remedy="fill it",
)
def loaded(tray: str) -> Iterator[Finding]:
    yield passed(tray)


@hookimpl
def trivet_contracts() -> Iterable[ModuleType]:
    return [sys.modules[__name__]]


@hookimpl
def trivet_targets() -> Mapping[str, Any]:
    return {"fake": FakeTarget(colour="white", grams=70), "printer": FakeTarget(tray="full")}
