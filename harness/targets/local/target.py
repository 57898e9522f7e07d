"""The local target itself: starting a session and, on every way out, ending everything that it started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from trivet.errors import PlatformError
from trivet.host.journal import Run, clean, leftovers, remove_remains
from trivet.host.processes import Processes
from trivet.host.signals import interruptible, uninterruptible
from trivet.model.events import Emit
from trivet.model.stack import ROLES, Stack
from trivet.targets.local.backing import DATABASES, Backing
from trivet.targets.local.session import LocalSession


class LocalTarget:
    """A stack as processes on this machine: needs no cluster, and no Docker unless ``backing`` says so."""

    name = "local"
    clients = frozenset(LocalSession.CLIENTS)

    def __init__(self, backing: Backing = Backing()) -> None:  # noqa: B008 - it is frozen
        self._backing = backing

    def plan(self, stack: Stack) -> Sequence[str]:
        """The role environments and the processes, in the order in which they come to be."""
        parts = stack.components
        return (
            *self._backing.plan(stack),
            *(
                f"{name} environment: Python {stack.roles[name].python}, {len(stack.roles[name].pins)} packages"
                for name in ROLES
            ),
            f"tracking server: mlflow server {parts['mlflow']} on {DATABASES[self._backing.database].title}, on a free port of 127.0.0.1",
            f"pipeline: the example pipeline under the KFP SDK {parts['kfp']}",
            f"storage initializer: the code of KServe {parts['kserve']}, into empty directories",
            f"runtime: MLServer {parts['runtime']} as {stack.settings['serving']['runtime']} starts it, on free ports of 127.0.0.1",
        )

    @contextmanager
    @uninterruptible
    def start(self, stack: Stack, emit: Emit) -> Iterator[LocalSession]:
        """A session on ``stack``. Cleans first what a killed run left behind. Raises PlatformError when the machine does not allow it."""
        _clean_leftovers()
        with (
            Run() as run,
            # The store of a session has its own address and keys; what the user has for another one must not mix with them.
            closing(Processes(run, foreign=("AWS_", "S3_", "awsAnonymousCredential"))) as processes,
            self._backing.open(stack, run, processes.closed, emit) as (database, artifacts),
        ):
            try:
                session = LocalSession(stack, run, processes, emit, database=database, artifacts=artifacts)
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


@interruptible
def _clean_leftovers() -> None:
    for leftover in leftovers():
        clean(leftover)
    remove_remains()
