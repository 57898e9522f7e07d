"""A target on a cluster: opening the way to it, a session there, and on every way out the end of everything that the session made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace

from trivet.errors import PlatformError
from trivet.host.journal import Run, clean, clean_up, leftovers, remove_remains
from trivet.host.processes import Processes
from trivet.host.signals import interruptible, uninterruptible
from trivet.model.events import Emit
from trivet.model.stack import Stack
from trivet.provision.access import ClusterAccess
from trivet.targets.cluster.session import ClusterSession

Open = Callable[[Stack, Emit], AbstractContextManager[ClusterAccess]]


class ClusterTarget:
    """The target ``name``; ``open_access`` brings the cluster up, or finds it, and ``steps`` says what it would do, a line each."""

    clients = frozenset(ClusterSession.CLIENTS)

    def __init__(self, name: str, open_access: Open, steps: Callable[[Stack], Sequence[str]]) -> None:
        self.name = name
        self._open = open_access
        self._steps = steps

    def plan(self, stack: Stack) -> Sequence[str]:
        """The cluster first, then the session's namespaces, pods and service."""
        parts = stack.components
        return (
            *self._steps(stack),
            "trainer pod, initializer pod and runtime pod, from the images of these roles",
            f"pipeline: the example pipeline under the KFP SDK {parts['kfp']}, in the trainer pod",
            f"InferenceService: what the pipeline handed over, under KServe {parts['kserve']}",
            "at the end: everything that the session made on the cluster is removed",
        )

    @contextmanager
    @uninterruptible
    def start(self, stack: Stack, emit: Emit) -> Iterator[ClusterSession]:
        """A session on ``stack``. Cleans first what a killed run left behind.

        Raises PlatformError when the cluster does not allow it, or when a fault that was left behind cannot be reverted.
        """
        _clean_leftovers()
        with (
            self._open(stack, emit) as opened,
            ExitStack() as afterwards,
            Run() as run,
            closing(Processes(run)) as processes,
        ):
            session: ClusterSession | None = None
            # Out of reach of the terminal's Ctrl-C: the second one would otherwise end the kubectl that cleans up after the first.
            access = replace(opened, kubectl=replace(opened.kubectl, mark=run.id))
            try:
                try:
                    session = ClusterSession(stack, run, processes, emit, access, self.name)
                except OSError as error:
                    raise PlatformError(
                        f"the session could not be prepared in {run.directory}: {error}",
                        remedy="free some disk space; TRIVET_CACHE names another place",
                    ) from error
                yield session
            except BaseException:
                # When not even the session came to be, what it made is removed by the commands in the journal.
                if session is None:
                    run.keep()
                    afterwards.callback(clean_up, run.id)
                raise
            finally:
                if session is not None:
                    session.forget()
                    processes.close()
                    session.close()
                    if session.remove():
                        run.keep()


@interruptible
def _clean_leftovers() -> None:
    for leftover in leftovers():
        if (trouble := clean(leftover)) and leftover.required:
            raise PlatformError(
                f"a fault that run {leftover.run} left behind cannot be reverted: {trouble}",
                remedy=f"make its cluster reachable; if there is no such cluster any more, remove {leftover.directory}",
            )
    remove_remains()
