"""A target on a cluster: opens the access, starts a session, and deletes everything that the session created."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace

from trivet.errors import PlatformError
from trivet.host.journal import Run, clean, clean_up, leftovers, remove_remains
from trivet.host.processes import Processes
from trivet.host.signals import interruptible, uninterruptible
from trivet.model.events import Emit
from trivet.model.results import ResultInputs
from trivet.model.stack import Stack
from trivet.provision.access import ClusterAccess
from trivet.targets.cluster.session import ClusterSession

Open = Callable[[Stack, Emit], AbstractContextManager[ClusterAccess]]


class ClusterTarget:
    """The target ``name``. ``open_access`` creates or finds the cluster; ``steps`` describes that, one line per step.

    ``owns_cluster``: whether trivet creates the cluster, for itself alone. ``runner`` says where the example pipeline runs.
    ``result_inputs`` says what results rest on, where they can be kept.
    """

    clients = frozenset(ClusterSession.CLIENTS)

    def __init__(
        self,
        name: str,
        open_access: Open,
        steps: Callable[[Stack], Sequence[str]],
        *,
        owns_cluster: bool = False,
        runner: str = "in the trainer pod",
        result_inputs: Callable[[Stack], ResultInputs] | None = None,
    ) -> None:
        self._runner = runner
        self.result_inputs = result_inputs
        self.name = name
        self.owns_cluster = owns_cluster
        self._open = open_access
        self._steps = steps

    def plan(self, stack: Stack) -> Sequence[str]:
        """The steps of the cluster, then those of the session, one line each."""
        return (
            *self._steps(stack),
            "trainer pod, initializer pod and runtime pod, from the images of these roles",
            f"pipeline: the example pipeline under the KFP SDK {stack.version('kfp')}, {self._runner}",
            f"InferenceService: what the pipeline handed over, under KServe {stack.version('kserve')}",
            "at the end: everything that the session created on the cluster is deleted",
        )

    @contextmanager
    @uninterruptible
    def start(self, stack: Stack, emit: Emit) -> Iterator[ClusterSession]:
        """A session on ``stack``, after a clean-up of what killed runs left behind.

        Raises PlatformError when the session cannot be started, or when a fault of a killed run cannot be reverted.
        """
        _clean_leftovers()
        with (
            self._open(stack, emit) as opened,
            ExitStack() as afterwards,
            Run() as run,
            closing(Processes(run)) as processes,
        ):
            session: ClusterSession | None = None
            # In a session of its own, so that a second Ctrl-C does not end the kubectl that cleans up after the first.
            access = replace(opened, kubectl=replace(opened.kubectl, mark=run.id))
            try:
                try:
                    session = ClusterSession(stack, run, processes, emit, access, self.name)
                except OSError as error:
                    raise PlatformError(
                        f"cannot prepare the session in {run.directory}: {error}",
                        remedy="free some disk space, or set TRIVET_CACHE to another disk",
                    ) from error
                yield session
            except BaseException:
                # Without a session, the commands of the journal delete what was created.
                if session is None:
                    run.keep()
                    afterwards.callback(clean_up, run.id)
                raise
            finally:
                if session is not None:
                    session.delete_artifacts()
                    session.remove_runs()
                    processes.close()
                    session.close()
                    if session.remove():
                        run.keep()


@interruptible
def _clean_leftovers() -> None:
    for leftover in leftovers():
        if (failure := clean(leftover)) and leftover.required:
            raise PlatformError(
                f"cannot revert a fault that run {leftover.run} left behind: {failure}",
                remedy=f"make its cluster reachable; if the cluster no longer exists, delete {leftover.directory}",
            )
    remove_remains()
