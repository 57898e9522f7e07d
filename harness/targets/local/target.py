"""The local target itself: starting a session and, on every way out, ending everything that it started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from trivet.engine.events import Emit
from trivet.errors import PlatformError
from trivet.model.stack import Stack
from trivet.targets.local.journal import Run, clean, leftovers
from trivet.targets.local.processes import Processes
from trivet.targets.local.session import LocalSession


class LocalTarget:
    """A stack as processes on this machine: needs no Docker and no cluster."""

    name = "local"

    @contextmanager
    def start(self, stack: Stack, emit: Emit) -> Iterator[LocalSession]:
        """A session on ``stack``. Cleans first what a killed run left behind. Raises PlatformError when the machine does not allow it."""
        for leftover in leftovers():
            clean(leftover)
        with Run() as run, closing(Processes(run)) as processes:
            try:
                session = LocalSession(stack, run, processes, emit)
            except OSError as error:
                raise PlatformError(
                    f"the session could not be prepared in {run.directory}: {error}",
                    remedy="free some disk space; TRIVET_CACHE names another place",
                ) from error
            try:
                yield session
            finally:
                processes.close()
                session.close()
