"""Maps a function over items in forked processes, with the results in order."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from trivet.errors import PlatformError
from trivet.host.signals import interruptible, uninterruptible

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_PROCESSES = 8
"""Containers often see more processors than their CPU limit lets them use."""
_PR_SET_PDEATHSIG = 1
"""include/uapi/linux/prctl.h."""


def map_in_processes(work: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
    """The results of ``work`` for every item, in the order of the items.

    The processes inherit ``work``, so only results must be picklable; state that ``work`` keeps between items is not shared. Closing the
    iterator ends the processes, and the kernel does when this one is killed: they have its open files, and so the lock of its run. Runs in
    this process when there is one item or processor, when other threads run (a fork would copy their locks), and on other systems than
    Linux (macOS's libraries are not fork-safe). Raises PlatformError when a process cannot be started, and when one dies.
    """
    number = min(len(items), len(os.sched_getaffinity(0)), MAX_PROCESSES) if sys.platform == "linux" else 1
    if number < 2 or threading.active_count() > 1:
        yield from map(work, items)
        return
    yield from _in_processes(work, items, number)


@uninterruptible
def _in_processes(work: Callable[[Item], Result], items: Sequence[Item], number: int) -> Generator[Result, None, None]:
    from multiprocessing import Pipe, get_context  # loaded where there is something to share

    context = get_context("fork")
    workers = []
    try:
        for index in range(number):
            try:
                reader, writer = Pipe(duplex=False)
                worker = context.Process(
                    target=_send, args=(os.getpid(), reader, writer, work, items[index::number]), daemon=True
                )
                worker.start()
            except OSError as error:
                raise PlatformError(
                    f"cannot start a worker process: {error}",
                    remedy="check this machine's memory and its limits of processes and open files (ulimit -u, ulimit -n)",
                ) from error
            writer.close()
            workers.append((worker, reader))
        for index in range(len(items)):
            yield _received(workers[index % number][1])
    except EOFError:
        raise PlatformError(
            "a worker process died", remedy="see its output above, and check whether the machine ran out of memory"
        ) from None
    finally:
        for worker, reader in workers:
            worker.terminate()
            worker.join()
            reader.close()


@interruptible
def _received(reader: Connection) -> Any:
    return reader.recv()


def _send(
    parent: int, reader: Connection, writer: Connection, work: Callable[[Item], Result], items: Sequence[Item]
) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # killed before that
        os._exit(1)
    # Ctrl-C and a closed terminal signal every process of the terminal; the parent handles them and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    reader.close()
    with suppress(BrokenPipeError):
        for item in items:
            writer.send(work(item))
