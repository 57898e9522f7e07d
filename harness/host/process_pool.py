"""One function over many pieces of work in forked processes, results in order. Knows nothing of what the work is."""

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

Piece = TypeVar("Piece")
Result = TypeVar("Result")

MOST = 8
"""Processes at once, at most: a container is often allowed fewer processors than it sees."""


def map_in_processes(work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Generator[Result, None, None]:
    """``work`` of every piece, in the order of the pieces.

    ``work`` is inherited by the processes, so only results need be picklable; what it remembers from piece to piece is
    not shared. Closing the iterator ends the processes, and they end by themselves when nobody reads them any more.
    Works in this process where there is one piece or processor, where threads run (a fork would copy their locks), and
    elsewhere than on Linux (macOS's own libraries do not survive a fork). Raises PlatformError when a process vanishes.
    """
    number = min(len(pieces), len(os.sched_getaffinity(0)), MOST) if sys.platform == "linux" else 1
    if number < 2 or threading.active_count() > 1:
        yield from map(work, pieces)
        return
    yield from _in_processes(work, pieces, number)


@uninterruptible
def _in_processes(
    work: Callable[[Piece], Result], pieces: Sequence[Piece], number: int
) -> Generator[Result, None, None]:
    from multiprocessing import Pipe, get_context  # loaded where there is something to share

    context = get_context("fork")
    workers = []
    try:
        for index in range(number):
            reader, writer = Pipe(duplex=False)
            worker = context.Process(target=_send, args=(reader, writer, work, pieces[index::number]), daemon=True)
            worker.start()
            writer.close()
            workers.append((worker, reader))
        for index in range(len(pieces)):
            yield _received(workers[index % number][1])
    except EOFError:
        raise PlatformError(
            "a process that shared the work vanished", remedy="see above, or whether memory ran out"
        ) from None
    finally:
        for worker, reader in workers:
            worker.terminate()
            worker.join()
            reader.close()


@interruptible
def _received(reader: Connection) -> Any:
    return reader.recv()


def _send(reader: Connection, writer: Connection, work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> None:
    # Ctrl-C and hanging up reach every process of a terminal: the parent answers them, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    reader.close()
    with suppress(BrokenPipeError):
        for piece in pieces:
            writer.send(work(piece))
