"""A target and the session that it starts, as protocols. The session gives clients by name (``trivet.model.clients``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from trivet.model.events import Emit
from trivet.model.stack import Stack
from trivet.model.subjects import CompiledPipeline, Manifest, ModelDirectory


class Session(Protocol):
    """A stack that runs on a target. Clients come into being side by side; asking for one waits until it is there.

    ``client`` raises NotOffered when the target has none of that name (SKIPPED), CannotTell when it could not be had this
    time (INCONCLUSIVE).
    """

    def client(self, name: str) -> Any:
        """The client called ``name``, one of those that the target offers."""

    def subjects(self, kind: str) -> Sequence[Manifest | ModelDirectory | CompiledPipeline]:
        """What the hand-off made that static contracts read."""

    def features(self) -> Mapping[str, str]:
        """Feature name → how it was measured."""

    def describe(self) -> Mapping[str, str]:
        """The hand-off in words, for the report."""

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        """The texts that the hand-off made, by the names that the report gives them: ``inferenceservice.yaml`` …

        ``everything`` is asked for when something did not pass: what explains it beyond the hand-off, collected now.
        """


class Target(Protocol):
    """Where a stack runs."""

    name: str

    @property
    def clients(self) -> Collection[str]:
        """The names of the clients that its sessions offer: some of ``trivet.model.clients.CLIENTS``, to which ``declare_client`` adds.

        A contract that asks for another one is SKIPPED on this target.
        """

    def plan(self, stack: Stack) -> Sequence[str]:
        """What ``start`` would do, a line each, without doing it."""

    def start(self, stack: Stack, emit: Emit) -> AbstractContextManager[Session]:
        """Bring the stack up; leaving the block stops everything that was started, on every way out."""
