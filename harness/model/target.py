"""The protocols of a target and of the session that it starts. A session returns clients by name (``trivet.model.clients``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from trivet.model.events import Emit
from trivet.model.stack import Stack
from trivet.model.subjects import CompiledPipeline, ModelDirectory, Resource


class Session(Protocol):
    """A stack that runs on a target. Clients are created in parallel; requesting one waits until it is available.

    ``client`` raises NotOffered when the target does not offer the client (SKIPPED), CannotTell when its creation failed (INCONCLUSIVE).
    A session that knows more of the platform than its stack says has a method ``observed_platform(described)``, which returns the
    PlatformConfig ``described`` with that.
    """

    def client(self, name: str) -> Any:
        """The client called ``name``."""

    def subjects(self, kind: str) -> Sequence[Resource | ModelDirectory | CompiledPipeline]:
        """The subjects of this kind from the handover, for static contracts."""

    def features(self) -> Mapping[str, str]:
        """Feature name → how it was measured."""

    def describe(self) -> Mapping[str, str]:
        """A description of the handover, for the report."""

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        """File name in the report → text file of the handover: ``inferenceservice.yaml`` …

        With ``everything``, for runs in which a contract did not pass, also evidence that explains why, collected now.
        """


class Target(Protocol):
    """Where a stack runs.

    A target that creates its cluster for trivet alone can have the attribute ``owns_cluster = True``: scenarios inject faults there without
    ``--allow-faults``. A target whose results can be kept has a method ``result_inputs(stack)``, which returns what they rest on
    (``trivet.model.results.ResultInputs``).
    """

    name: str

    @property
    def clients(self) -> Collection[str]:
        """The names of the clients that its sessions offer, a subset of ``trivet.model.clients.CLIENTS`` (see ``declare_client``).

        A contract that requests another client is SKIPPED on this target.
        """

    def plan(self, stack: Stack) -> Sequence[str]:
        """The steps of ``start``, one line each; does nothing."""

    def start(self, stack: Stack, emit: Emit) -> AbstractContextManager[Session]:
        """Start the stack for the block. Everything that was started is stopped afterwards, also after an exception or a signal."""
