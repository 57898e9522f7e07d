"""The local target: starts a session, and ends everything that the session started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from trivet.errors import PlatformError
from trivet.host.journal import Run, clean_leftovers
from trivet.host.processes import Processes
from trivet.host.signals import uninterruptible
from trivet.model.events import Emit
from trivet.model.results import ResultInputs
from trivet.model.stack import ROLES, Stack
from trivet.stacks.composed import INITIALIZER
from trivet.targets.common.session import CODE
from trivet.targets.local.backing import DATABASES, Backing
from trivet.targets.local.session import LocalSession


class LocalTarget:
    """A stack as processes on this machine, without a cluster; Docker is needed only for containers of ``backing``."""

    name = "local"
    clients = frozenset(LocalSession.CLIENTS)

    def __init__(self, backing: Backing = Backing()) -> None:  # noqa: B008 - it is frozen
        self._backing = backing

    def plan(self, stack: Stack) -> Sequence[str]:
        """The role environments and the processes, in the order in which they are started."""
        parts = stack.components
        initializer = parts.get(INITIALIZER, parts["kserve"])
        return (
            *self._backing.plan(stack),
            *(
                f"{name} environment: Python {stack.roles[name].python}, {len(stack.roles[name].pins)} packages"
                for name in ROLES
            ),
            f"tracking server: mlflow server {parts['mlflow']} on {DATABASES[self._backing.database].title}, on a free port of 127.0.0.1",
            f"pipeline: the example pipeline under the KFP SDK {parts['kfp']}",
            f"storage initializer: the code of KServe {initializer}, into empty directories",
            f"runtime: MLServer {parts['runtime']} as {stack.settings['serving']['runtime']} starts it, on free ports of 127.0.0.1",
        )

    def result_inputs(self, stack: Stack) -> ResultInputs:
        """What results rest on: the roles behind each client, database and store, and the code that makes the clients."""
        return ResultInputs(
            parts=LocalSession.PARTS, options=self._backing.options(stack), code=(*CODE, "trivet.targets.local")
        )

    @contextmanager
    @uninterruptible
    def start(self, stack: Stack, emit: Emit) -> Iterator[LocalSession]:
        """A session on ``stack``, after a clean-up of what killed runs left behind. Raises PlatformError when it cannot be started."""
        clean_leftovers()
        with (
            Run() as run,
            # The session's store has its own address and keys; the user's variables for other stores must not apply.
            closing(Processes(run, foreign=("AWS_", "S3_", "awsAnonymousCredential"))) as processes,
            self._backing.open(stack, run, processes.closed, emit) as (database, artifacts),
        ):
            try:
                session = LocalSession(stack, run, processes, emit, database=database, artifacts=artifacts)
            except OSError as error:
                raise PlatformError(
                    f"cannot prepare the session in {run.directory}: {error}",
                    remedy="free some disk space, or set TRIVET_CACHE to another disk",
                ) from error
            try:
                yield session
            finally:
                processes.close()
                session.close()
